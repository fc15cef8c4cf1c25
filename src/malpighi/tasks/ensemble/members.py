"""The runs of an ensemble: what each was trained on, what it held out, and which of them are folds of one configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Spacing
from malpighi.reports.runfolder import read_json
from malpighi.sampling.cases import Case, CaseTable
from malpighi.sampling.layouts import find_cases
from malpighi.tasks.ensemble.choose import TAKEN
from malpighi.tasks.material import fold_of
from malpighi.tasks.model import weights_digest
from malpighi.tasks.run import Inputs, open_run

PLAN, SUMMARY = "plan.json", "summary.json"


@dataclass(frozen=True, eq=False)
class Member:
    """A finished run.

    Attributes:
        name: of its folder below ENS/members, unique in the ensemble.
        digest: of its weights, as in the manifests of its predictions.
        fold: that it held out; -1: none.
        held: id → case, of those that it held out and was not trained on.
        asked: what made it, without the fold: members of one configuration agree in it.
    """

    name: str
    path: Path
    inputs: Inputs
    digest: str
    fold: int
    held: Mapping[str, Case]
    asked: str


@dataclass(frozen=True, eq=False)
class Column:
    """Members that differ in their fold alone: of each image there is at most one held-out prediction."""

    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        """The names of its members."""
        names = [member.name for member in self.members]
        return " + ".join(names if len(names) < 4 else [names[0], "…", names[-1]])

    @property
    def held(self) -> dict[str, Member]:
        """Image → the member that was not trained on it."""
        return {case: member for member in self.members for case in member.held}


@dataclass(frozen=True, eq=False)
class Team:
    """What an ensemble is made of.

    Attributes:
        columns: configurations that held images out: their weights are fitted.
        spare: members of configurations that held nothing out; there is nothing to fit a weight on.
        cases: the images that every column holds out: everything is fitted on them.
        keys: what cases can be told apart by.
        remarks: what a reader should know: what was left out, and why.
    """

    columns: tuple[Column, ...]
    spare: tuple[Column, ...]
    cases: tuple[Case, ...]
    keys: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def members(self) -> tuple[Member, ...]:
        """All of them, column by column."""
        return tuple(member for column in (*self.columns, *self.spare) for member in column.members)

    @property
    def classes(self) -> tuple[str, ...]:
        """That every member predicts."""
        return self.members[0].inputs.classes


def gather_team(runs: Sequence[Path], data: Path | None = None) -> Team:
    """Open the runs and find what each held out.

    Args:
        runs: folders of `malpighi train`.
        data: where the data set lies now; None: where it lay in training.

    Raises:
        DataError: a run is not finished, they do not go together, the data set has changed, or no image is held out by all.
        RecipeError: a run is given twice, or tells objects apart.
    """
    tables: dict[str, CaseTable] = {}
    paths = [Path(run).resolve() for run in runs]
    if double := next((path for path in paths if paths.count(path) > 1), None):
        raise RecipeError(f"{double}: is given twice; give each run once")
    members = [_member(path, name, data, tables) for path, name in zip(paths, _names(paths), strict=True)]
    _require_alike(members)
    _require_same_images(members)
    columns = _columns(members)
    held = tuple(column for column in columns if column.held)
    spare = tuple(column for column in columns if not column.held)
    if not held:
        raise DataError(
            f"{members[0].path}: trained on all images (data.fold = -1), and so did the rest; nothing is held out to fit on: "
            "give runs with data.fold = 0, 1, …"
        )
    shared = [id for id in held[0].held if all(id in column.held for column in held)]
    if not shared:
        told = "; ".join(f"{column.name} holds out {len(column.held)}" for column in held)
        raise DataError(f"no image is held out by every configuration ({told}); train the same folds of each of them")
    every = {id: case for member in members for id, case in member.held.items()}
    known = {case.id for table in tables.values() for case in table.cases}
    keys = tuple(dict.fromkeys(key for table in tables.values() for key in table.keys()))  # noqa: SIM118 (no mapping)
    remarks = _remarks(members, held, spare, len(shared), known)
    return Team(held, spare, tuple(every[id] for id in sorted(shared)), keys, remarks)


def _member(path: Path, name: str, data: Path | None, tables: dict[str, CaseTable]) -> Member:
    plan = read_json(path / PLAN)
    opened = open_run(path)
    asked: Mapping[str, Any] = plan.get("asked") or {}
    if "data" not in asked or "recipe" not in asked:
        raise DataError(f"{path}: does not say what it was trained on ({PLAN}); give a folder that `malpighi train -o` wrote")
    if not (path / SUMMARY).is_file():
        raise DataError(f"{path}: is not finished; give the same `malpighi train` command again to go on")
    if opened.inputs.layers:
        raise RecipeError(f"{path}: tells objects apart; an ensemble joins masks, and its layers are none")
    where = data or Path(asked["data"])
    key = json.dumps([str(where), asked.get("spacing"), asked.get("only"), asked["recipe"].get("data", {}).get("classes", ())])
    if key not in tables:
        tables[key] = _table(where, asked)
    table = tables[key]
    if (trained := set(plan.get("files") or ())) and trained != {case.id for case in table.cases}:
        raise DataError(
            f"{where}: holds {len(table)} labelled images, and {path} was trained when there were {len(trained)} "
            "(or they had other names): what it held out cannot be told; restore the data set, or train again"
        )
    recipe = opened.recipe
    held = (
        {} if recipe.data.fold == -1 else {table.cases[i].id: table.cases[i] for i in fold_of(table.cases, recipe).validation}
    )
    return Member(name, path, opened.inputs, weights_digest(path), recipe.data.fold, held, _without_fold(asked))


def _table(data: Path, asked: Mapping[str, Any]) -> CaseTable:
    """The cases a run was trained with."""
    spacing = asked.get("spacing")
    given = Spacing.parse(str(spacing).replace(" × ", ",")) if spacing is not None else None
    classes = tuple(asked["recipe"].get("data", {}).get("classes", ()))
    return find_cases(data, spacing=given, classes=classes, where=asked.get("only")).require_labels()


def _without_fold(asked: Mapping[str, Any]) -> str:
    recipe = {key: dict(value) if isinstance(value, dict) else value for key, value in asked["recipe"].items()}
    recipe.get("data", {}).pop("fold", None)
    return json.dumps({**asked, "recipe": recipe}, sort_keys=True)


def _names(paths: Sequence[Path]) -> list[str]:
    """Short names, each once: of runs called alike in folders of their own (`seed1/run`), or as a way to combine, with the folder's."""
    names: list[str] = []
    for path in paths:
        alike = path.name in TAKEN or sum(other.name == path.name for other in paths) > 1
        name = f"{path.parent.name}-{path.name}" if alike else path.name
        while name in names:
            name += "-again"
        names.append(name)
    return names


def _columns(members: Sequence[Member]) -> list[Column]:
    """Members of one configuration that hold out different images; the same fold again begins another column."""
    columns: list[list[Member]] = []
    for member in sorted(members, key=lambda each: each.fold < 0):  # those that hold nothing out join a column at last
        fitting = (c for c in columns if c[0].asked == member.asked and not any(m.held.keys() & member.held.keys() for m in c))
        column = next(fitting, None)
        if column is None:
            columns.append([member])
        else:
            column.append(member)
    return [Column(tuple(column)) for column in columns]


def _require_alike(members: Sequence[Member]) -> None:
    first = members[0]
    for member in members[1:]:
        for what, one, other in (
            ("classes", first.inputs.classes, member.inputs.classes),
            ("channels", first.inputs.channels, member.inputs.channels),
            ("axes", first.inputs.spacing.rank, member.inputs.spacing.rank),
            ("unit of spacing", first.inputs.spacing.unit, member.inputs.spacing.unit),
            ("type of voxels", first.inputs.dtype, member.inputs.dtype),
        ):
            if one != other:
                raise DataError(
                    f"{member.path}: its {what}: {_words(other)}; of {first.path}: {_words(one)}; an ensemble's members are "
                    "trained on the same data for the same classes, in the same order"
                )


def _require_same_images(members: Sequence[Member]) -> None:
    """Images are told apart by their names: those of another data set may have the same."""
    first: dict[str, tuple[Path, Member]] = {}
    for member in members:
        for id, case in member.held.items():
            image = case.image.resolve()
            where, other = first.setdefault(id, (image, member))
            if image != where:
                raise DataError(
                    f"{member.path}: its image {id} is {image}, that of {other.path} {where}; an ensemble's members are trained on "
                    "the same data: where they are copies of it, say with --data which one to read"
                )


def _words(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _remarks(
    members: Sequence[Member], held: Sequence[Column], spare: Sequence[Column], shared: int, known: set[str]
) -> tuple[str, ...]:
    remarks = []
    outside = known - {id for column in held for id in column.held}
    if outside:
        remarks.append(
            f"{len(outside)} of {len(known)} images are held out by no run: nothing is fitted on them ({_some(outside)})"
        )
    if any(len(column.held) != shared for column in held):
        told = ", ".join(f"{column.name} {len(column.held)}" for column in held)
        remarks.append(f"the runs hold out different images ({told}): all is fitted on the {shared} that every one holds out")
    for member in members:
        if member.fold == -1:
            alone = any(member in column.members for column in spare)
            how = "gets the mean weight" if alone else "shares the weight of its folds"
            remarks.append(f"{member.name} was trained on all images: it says nothing for the fit, and {how}")
    return tuple(remarks)


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", …" if len(names) > 5 else "")
