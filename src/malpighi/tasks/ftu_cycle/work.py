"""What every step of a cycle is given, and which images it may label."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Spacing
from malpighi.images.channels import image_files
from malpighi.recipes.recipe import Recipe
from malpighi.sampling.cases import Case, CaseTable
from malpighi.sampling.folders import group_of
from malpighi.sampling.folds import Fold
from malpighi.sampling.pseudo_tiles import CycleOptions
from malpighi.tasks.asked import find_images, stem
from malpighi.tasks.talk import Talk

PSEUDO = "pseudo"


@dataclass(frozen=True)
class Network:
    """A network of a cycle.

    Attributes:
        cycle: 0 learns from people alone.
        group: which of two groups that label for one another; None: there is one.
        fold: held-out part of the training images, for networks that only label; None: the network that is scored.
    """

    cycle: int
    group: int | None = None
    fold: int | None = None

    @property
    def labels(self) -> str:
        """Folder, below `pseudo`, of the labels that it is taught with."""
        return f"cycle-{self.cycle}" + ("" if self.group is None else f"-{self.group + 1}")

    @property
    def name(self) -> str:
        """Folder of its run."""
        return self.labels + ("" if self.fold is None else f"-fold-{self.fold}")


@dataclass(frozen=True)
class Work:
    """What every step is given.

    Attributes:
        table: the cases that people labelled.
        fold: which of them teach, and which score.
        unlabelled: the cases to be labelled, by id.
        recipe: with every value filled in.
    """

    table: CaseTable
    fold: Fold
    unlabelled: tuple[Case, ...]
    recipe: Recipe
    out: Path
    asked: Mapping[str, Any]
    talk: Talk

    @property
    def options(self) -> CycleOptions:
        """Section `[cycle]` of the recipe."""
        return self.recipe.cycle

    @property
    def classes(self) -> tuple[str, ...]:
        """What networks look for."""
        return tuple(self.recipe.data.classes) or self.table.classes

    @property
    def groups(self) -> tuple[int | None, ...]:
        """The groups of a cycle."""
        return (0, 1) if self.options.groups == "alternate" else (None,)

    def scored(self, cycle: int) -> tuple[Network, ...]:
        """The networks of a cycle that held-out images score."""
        return tuple(Network(cycle, group) for group in self.groups)

    def teachers(self, network: Network) -> tuple[Network, ...]:
        """The networks that make the labels from which `network` learns: of the cycle before, of the other group."""
        group = None if network.group is None else 1 - network.group
        folds = range(self.options.folds) if self.options.folds > 1 else (None,)
        return tuple(Network(network.cycle - 1, group, fold) for fold in folds)


def require_cycle(recipe: Recipe, table: CaseTable, fold: Fold) -> None:
    """Refuse a recipe that cannot be cycled.

    Raises:
        RecipeError: another task, no held-out images, options that contradict each other, or too few donors for the folds.
    """
    options, data = recipe.cycle, recipe.data
    if recipe.task != "ftu":
        raise RecipeError(f'task "{recipe.task}": a cycle of pseudo-labels is of images and class masks, task "ftu"')
    if data.fold == -1:
        raise RecipeError(
            "data.fold -1 holds no image out, and a cycle stops by what held-out images gain; choose a fold from 0"
        )
    if options.groups == "alternate" and data.across:
        raise RecipeError(
            'cycle.groups "alternate" gives each group a working spacing, which data.across replaces by one an image; leave one out'
        )
    donors = {table.cases[i].value("group") for i in fold.train}
    if options.folds > 1 and len(donors) < options.folds:
        raise RecipeError(
            f"cycle.folds {options.folds}: the images that teach are of {len(donors)} groups (donors), and each fold needs one; "
            f"use at most {len(donors)}"
        )


def find_unlabelled(
    table: CaseTable, given: Sequence[str | Path], fold: Fold, labelled: CaseTable, spacing: float | Spacing | None = None
) -> tuple[tuple[Case, ...], dict[str, str]]:
    """The images to be labelled: the cases of a data set that have no labels, and those given beside it.

    An image of a donor of whom others are held out, or kept for testing, is left out: what it shows would be learnt of that
    donor. So is one that people labelled, and one that the data set keeps for validation or testing.

    Args:
        table: the data set, labelled or not.
        given: files, folders, patterns.
        fold: positions in `labelled`.
        labelled: the cases that people labelled.
        spacing: of the images given.

    Returns:
        The cases, by id, and id → why it was left out.

    Raises:
        DataError: two images have one id, something given is not there, or no image is left.
    """
    known = {_file(case.image): case for case in table.cases}
    drawn = {_file(case.image) for case in table.labelled}  # a table may name an image twice, once without labels
    cases = {case.id: case for case in table.cases if not case.labels}
    for path in find_images(given) if given else ():
        if _file(path) in known:
            case = known[_file(path)]
        else:
            case = Case(stem(path), path, group=group_of(stem(path)), spacing=spacing)
            other = next((case for case in table.cases if case.id == stem(path)), None)
            if other is not None:
                raise DataError(f"{path}: is called as {other.image} of the data set is; rename one of them")
        cases[case.id] = case
    scoring = [labelled.cases[i] for i in fold.validation] + [
        case for case in table.cases if case.split == "test" and case.labels
    ]
    held = {case.value("group") for case in scoring}
    left = {case.id: why for case in cases.values() if (why := _why_not(case, held, drawn))}
    kept = tuple(replace(case, image_labels=None) for name, case in sorted(cases.items()) if name not in left)
    if not kept:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(left.items())[:3])
        raise DataError(
            f"{table.root}: there is no image to label ({reasons or 'every case has labels'}); give some with --unlabelled, or "
            "list them in manifest.csv without labels"
        )
    return kept, left


def _why_not(case: Case, held: set[str], drawn: set[tuple[str, ...]]) -> str:
    """Why an image is not labelled; empty where it is."""
    if _file(case.image) in drawn:
        return "people labelled it"
    if case.split in ("test", "validation"):
        return f"the data set keeps it for {case.split}"
    if case.value("group") in held:
        return f"others of its group (donor) {case.value('group')} are held out"
    return ""


def _file(path: Path) -> tuple[str, ...]:
    """What tells an image from others, whatever links lead to it."""
    return tuple(os.path.realpath(part) for part in image_files(path)) or (os.path.realpath(path),)
