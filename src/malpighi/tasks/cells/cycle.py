"""`cycle --task cells`, whole: labelled images → cells, each with classes of its own. Four stages, again while they gain.

Each step leaves a file in the run's folder and is skipped where that is there, so that the same command goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.annotations.files import replacing
from malpighi.errors import DataError
from malpighi.geometry import Spacing
from malpighi.inference.fuse import learn, pool
from malpighi.metrics.multilabel import mean_ap
from malpighi.recipes.cells import CellsRecipe
from malpighi.recipes.load import build_cells, read_raw, write_recipe
from malpighi.reports.runfolder import read_json
from malpighi.sampling.cases import CaseTable
from malpighi.sampling.cell_data import CellData
from malpighi.sampling.folds import Fold, multilabel_folds
from malpighi.sampling.layouts import find_cases
from malpighi.sampling.pseudo_cells import PseudoLabels, agreement, pseudo_labels
from malpighi.tasks.cells.run import BEST, CYCLES, IMAGE_RUN, PREPARED, cycle_folder
from malpighi.tasks.claim import asked_for, claim
from malpighi.tasks.prepare import environment, write_json
from malpighi.tasks.run import RECIPE
from malpighi.tasks.talk import Talk, peak_memory_mb

MARK, SUMMARY, FOLD = "cycle.json", "summary.json", "fold.json"


def cycle(
    data: Path,
    recipe: str,
    out: Path,
    *,
    overrides: Sequence[str] = (),
    spacing: float | Spacing | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
    overwrite: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Run the four stages on a data set of labelled images, into a run folder that `segment` takes.

    The same call on a run that was interrupted goes on with it, between stages and within them.

    Args:
        data: folder, manifest or table of images with image labels; see `find_cases`.
        recipe: name of a shipped recipe of cells, or path of a .toml file.
        out: folder to make.
        overrides: "section.key=value" of the recipe.
        spacing: level-0 µm per pixel of every image, where the files do not say.
        only: attribute → values: which cases are used.
        overwrite: begin again whatever `out` holds.
        talk: where to report.

    Returns:
        The run's summary: "run", "image_map" (held-out images, by the fused scores of the best cycle), "cycles", "best_cycle",
        "cells", "seconds", …, as in `summary.json`.

    Raises:
        MalpighiError: of the kind that says what is wrong: recipe, data, spacing or output.
    """
    talk = talk or Talk()
    began = time.monotonic()
    out = Path(out)
    raw = read_raw(recipe, overrides)
    made = build_cells(raw, recipe)
    asked = asked_for(raw, data, spacing, only)
    begun = claim(out, MARK, asked, overwrite=overwrite)
    if begun and (out / SUMMARY).is_file():
        talk.say(f"{out} is finished; cycle into another -o, or begin again with --overwrite")
        return read_json(out / SUMMARY)
    table = labelled_images(find_cases(Path(data), spacing=spacing, classes=made.data.classes, where=only), talk)
    if begun:
        talk.say(f"going on with the run in {out}")
    else:
        write_recipe(made, out / RECIPE)
        write_json(out / MARK, {"asked": asked, "environment": environment(made.image.train.seed)})
    summary = _run(table, made, out, talk)
    summary["seconds"] = round(time.monotonic() - began, 1)
    write_json(out / SUMMARY, summary)
    return summary


def labelled_images(table: CaseTable, talk: Talk) -> CaseTable:
    """The cases of which somebody said what the image shows.

    Raises:
        DataError: there are none.
    """
    for note in table.notes:
        talk.say(note)
    kept = tuple(case for case in table.cases if case.image_labels is not None)
    if not kept:
        raise DataError(
            f"{table.root}: none of the {len(table)} images has image labels; give train.csv (ID,Label) beside train/, or a "
            "column image_labels in manifest.csv"
        )
    if len(kept) < len(table):
        talk.say(f"{len(table) - len(kept)} images without image labels were left out")
    return replace(table, cases=kept)


@dataclass(frozen=True)
class Work:
    """What every step is given."""

    data: CellData
    fold: Fold
    recipe: CellsRecipe
    out: Path
    talk: Talk

    @property
    def held(self) -> np.ndarray:
        """(held-out image,) rows."""
        return np.array(self.fold.validation, np.int64)

    def taught(self) -> np.ndarray:
        """(image, class) labels of training images; NaN of the others, so that nothing of them is learnt."""
        targets = self.data.targets.copy()
        targets[self.held] = np.nan
        return targets

    def image_map(self, scores: np.ndarray) -> float:
        """Held-out mAP of (image, class) scores."""
        return mean_ap(scores[self.held], self.data.targets[self.held])

    def cell_map(self, scores: np.ndarray) -> float:
        """Held-out mAP of images, each scored by its surest cell."""
        return self.image_map(pool(scores, self.data.image_of, len(self.data)))


def _run(table: CaseTable, recipe: CellsRecipe, out: Path, talk: Talk) -> dict[str, Any]:
    """From labelled images to a finished run; returns its summary."""
    from malpighi.reports.cells import write_cycle_report
    from malpighi.tasks.cells.pictures import cycle_page
    from malpighi.tasks.cells.prepare import prepare_cells
    from malpighi.training.allocator import keep_freed_pages

    keep_freed_pages()
    data = prepare_cells(table.cases, table.classes, recipe, out / PREPARED, talk)
    work = Work(data, fold_of(table, data, recipe), recipe, out, talk)
    write_json(out / FOLD, {"held_out": [data.image_ids[i] for i in work.fold.validation]})
    image, maps = _image_stage(work)
    cycles = _cycles(work, image, maps)
    best = max(cycles, key=lambda row: row["fused_map"])
    write_json(out / CYCLES, {"cycles": cycles})
    write_json(out / BEST, {"cycle": best["cycle"], "classes": list(data.classes)})
    write_cycle_report(out / "report.html", **cycle_page(work, cycles, best))
    talk.say(f"[bold]held-out image mAP {best['fused_map']:.4f}[/bold] (image classifier alone {best['image_map']:.4f})")
    talk.say(f"report: {out / 'report.html'}")
    return {
        "run": str(out),
        "image_map": best["fused_map"],
        "classifier_map": best["image_map"],
        "cycles": len(cycles),
        "best_cycle": best["cycle"],
        "classes": list(data.classes),
        "images": len(data.image_ids),
        "cells": len(data.image_of),
        "labelled_cells": best["labelled"],
        "held_out_images": len(work.held),
        "peak_memory_mb": peak_memory_mb(),
        "report": str(out / "report.html"),
    }


def fold_of(table: CaseTable, data: CellData, recipe: CellsRecipe) -> Fold:
    """The split of the recipe, over the prepared images; the one that the data set fixes, where it fixes one."""
    split = {case.id: case.split for case in table.cases}
    fixed = np.array([split.get(name, "") for name in data.image_ids])
    if (fixed == "validation").any():
        usable = fixed != "test"
        return Fold(*(tuple(np.flatnonzero(usable & (fixed == "validation") == held).tolist()) for held in (False, True)))
    n = min(recipe.data.folds, len(set(data.groups)))
    folds = multilabel_folds(data.targets, data.groups, n, seed=0)
    return folds[min(recipe.data.fold, n - 1)]


def _image_stage(work: Work) -> tuple[np.ndarray, np.ndarray]:
    """Stages 1 and 2: (image, class) scores of the image classifier, and (cell, class) of what its maps show in each cell."""
    from malpighi.tasks.cells.images import map_cells, score_images, train_images

    run, recipe, talk = work.out / IMAGE_RUN, work.recipe, work.talk
    train_images(work.data, work.fold, recipe, run, talk)
    image = kept(work.out / "image-scores.npy", partial(score_images, run, work.data, recipe, talk))
    maps = kept(work.out / "map-scores.npy", partial(map_cells, run, work.data, recipe, talk))
    return image, maps


def _cycles(work: Work, image: np.ndarray, maps: np.ndarray) -> list[dict[str, Any]]:
    """Stages 3 and 4, again while held-out images gain; a row a cycle."""
    rows: list[dict[str, Any]] = []
    evidence, before = maps, None
    for number in range(1, work.recipe.cycle.most + 1):
        labels = _label(work, evidence, number, before)
        row = _cycle(work, labels, number, image, maps)
        cell = np.load(cycle_folder(work.out, number) / "cell-scores.npy")
        if before is not None:
            row |= _changes(agreement(before, labels))
        rows.append(row)
        work.talk.say(
            f"cycle {number}: {row['labelled']} of {len(work.data.image_of)} cells labelled, held-out image mAP "
            f"{row['fused_map']:.4f} (image classifier {row['image_map']:.4f}, maps {row['maps_map']:.4f}, cells {row['cell_map']:.4f})"
        )
        if number > 1 and row["fused_map"] < rows[-2]["fused_map"] + work.recipe.cycle.gain:
            break
        evidence, before = (maps + cell) / 2, labels
    return rows


def _changes(found: Mapping[str, Any]) -> dict[str, Any]:
    """What came and went since the cycle before."""
    return {"gained": found["gained"], "lost": found["lost"], "agreement": found["same"]}


def _label(work: Work, evidence: np.ndarray, number: int, before: PseudoLabels | None) -> PseudoLabels:
    """Stage 3."""
    data, folder = work.data, cycle_folder(work.out, number)
    folder.mkdir(parents=True, exist_ok=True)
    labels = pseudo_labels(
        evidence,
        work.taught(),
        data.image_of,
        data.border,
        work.recipe.pseudo,
        cycle=number,
        source="class maps" if number == 1 else f"class maps and the cell classifier of cycle {number - 1}",
        classes=data.classes,
        negative=work.recipe.fuse.negative,
        previous=before,
    )
    if not (labels.label >= 0).any():
        raise DataError(
            f"cycle {number}: no cell was labelled: no map passes pseudo.threshold {work.recipe.pseudo.threshold}; lower it, or "
            "train the image classifier longer"
        )
    labels.write(folder / "pseudo.parquet", data.image_ids, data.number)
    return labels


def _cycle(work: Work, labels: PseudoLabels, number: int, image: np.ndarray, maps: np.ndarray) -> dict[str, Any]:
    """Stage 4 of one cycle, and what it is worth."""
    from malpighi.tasks.cells.crops import score_cells, train_cells

    data, folder = work.data, cycle_folder(work.out, number)
    train_cells(data, labels.targets, work.fold, work.recipe, folder / "cell", work.out / IMAGE_RUN, work.talk)
    cell = kept(folder / "cell-scores.npy", partial(score_cells, folder / "cell", data, work.recipe, work.talk))
    rule, tried = learn(
        work.recipe.fuse, cell, maps, image, data.image_of, data.border, data.area, data.targets, work.held, data.classes
    )
    fused = rule.apply(cell, maps, image, data.image_of, data.border, data.area)
    return {
        "cycle": number,
        "labelled": int((labels.label >= 0).sum()),
        "counts": labels.counts(),
        "image_map": work.image_map(image),
        "maps_map": work.cell_map(maps),
        "cell_map": work.cell_map(cell),
        "fused_map": work.cell_map(fused),
        "rule": asdict(rule),
        "tried": tried,
    }


def kept(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """What `path` holds; made and written where it is not there."""
    if path.is_file():
        return np.load(path)
    value = make()
    with replacing(path) as part, part.open("wb") as file:
        np.save(file, value)
    return value
