"""Stage 4: labels of single cells, from their crops and the pseudo-labels of the stage before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from malpighi.errors import DataError
from malpighi.inference.fuse import pool
from malpighi.recipes.cells import CellsRecipe
from malpighi.sampling.cell_batches import CropItems
from malpighi.sampling.cell_data import CellData
from malpighi.sampling.folds import Fold
from malpighi.sampling.intensity import Intensity
from malpighi.tasks.cells.classifier import load_classifier, read_facts, score_rows
from malpighi.tasks.cells.images import known_rows, require_same
from malpighi.tasks.cells.training import Stage, label_scores, measured_intensity, train_stage
from malpighi.tasks.prepare import machine_facts
from malpighi.tasks.talk import Talk

NONE = "none"
"""Name of the last column of labels that have one more than the data has classes: the cell shows none of them."""


def train_cells(
    data: CellData, targets: np.ndarray, fold: Fold, recipe: CellsRecipe, run: Path, start: Path | None, talk: Talk
) -> dict[str, Any]:
    """Train the classifier of cells into `run`; see `train_stage`.

    Nobody knows the labels of held-out cells, so it is scored by what is known of their images: the highest score of any cell
    of an image, against the image's labels, as mean average precision.

    Args:
        targets: (cell, class), or (cell, class + 1) with "none of these" last; a row of NaN alone is not learnt from.
        fold: rows of the images of `data`.
        start: run of the classifier of images whose weights are taken where they fit, and whose intensity is; None: neither.

    Raises:
        DataError: targets that do not match, no labelled cell to learn from, or no labelled image with cells to score.
    """
    names = _names(data, targets)
    train = np.flatnonzero(np.isin(data.image_of, fold.train) & ~np.isnan(targets).all(1))
    if not len(train):
        raise DataError(
            f"{data.folder}: no cell of the training set has a label; lower pseudo.threshold, or train the image classifier longer"
        )
    images = known_rows(data, fold.validation, "validation")
    held = np.flatnonzero(np.isin(data.image_of, images))
    if not len(held):
        raise DataError(f"{data.folder}: no held-out image has cells, so nothing can be scored; use fewer folds")
    classes = len(data.classes)

    def score(scores: np.ndarray) -> dict[str, Any]:
        best = pool(scores[:, :classes], data.image_of[held], len(data))[images]
        return label_scores(best, data.targets[images], data.classes)

    stage = Stage(
        "cell classifier",
        CropItems(data, recipe.data.masked, recipe.cell.model.masked),
        np.asarray(targets, np.float32),
        train,
        held,
        score,
        _intensity(data, fold, recipe, start),
        {
            "classes": names,
            "channels": data.channels,
            "crop": data.crop_side,
            "dtype": data.dtype,
            "masked": recipe.data.masked,
        },
        start,
    )
    return train_stage(stage, recipe.cell, run, talk)


def score_cells(run: Path, data: CellData, recipe: CellsRecipe, talk: Talk) -> np.ndarray:
    """(cell, class) float32 probabilities of all cells; "none of these" is left out.

    Raises:
        DataError: no weights, or crops of another kind than those it was trained on.
    """
    network, intensity, facts = load_classifier(run, recipe.cell.model)
    require_same(data, facts, run, ("channels", "crop", "dtype"))
    items = CropItems(data, facts["masked"], recipe.cell.model.masked)
    with talk.bar("scoring cells", total=data.cells) as advance:
        scores = score_rows(network, items, np.arange(data.cells), intensity, recipe.cell, machine_facts().device, advance)
    scores = scores.reshape(data.cells, len(facts["classes"]))
    return np.ascontiguousarray(scores[:, : len(facts["classes"]) - (facts["classes"][-1] == NONE)])


def _names(data: CellData, targets: np.ndarray) -> tuple[str, ...]:
    """What the network's outputs are called."""
    classes = len(data.classes)
    if targets.ndim != 2 or len(targets) != data.cells or targets.shape[1] not in (classes, classes + 1):
        raise DataError(
            f"{data.folder}: labels of shape {targets.shape} for {data.cells} cells and {classes} classes; "
            "a row a cell, a column a class, and one more for none of them"
        )
    return data.classes if targets.shape[1] == classes else (*data.classes, NONE)


def _intensity(data: CellData, fold: Fold, recipe: CellsRecipe, start: Path | None) -> Intensity:
    """The image classifier's, whose weights expect it; measured where there is none."""
    if start is not None:
        return Intensity.from_dict(read_facts(start)["intensity"])
    return measured_intensity(data, list(fold.train), recipe.intensity)
