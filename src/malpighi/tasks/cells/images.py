"""Stages 1 and 2: labels of whole images, learnt on one side of a fold and scored on the other; and where they are seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.errors import DataError
from malpighi.recipes.cells import CellsRecipe
from malpighi.sampling.cell_batches import ImageItems
from malpighi.sampling.cell_data import CellData
from malpighi.sampling.folds import Fold
from malpighi.tasks.cells.classifier import load_classifier, score_rows
from malpighi.tasks.cells.training import Stage, label_scores, measured_intensity, train_stage
from malpighi.tasks.prepare import machine_facts
from malpighi.tasks.talk import Talk


def train_images(data: CellData, fold: Fold, recipe: CellsRecipe, run: Path, talk: Talk) -> dict[str, Any]:
    """Train the classifier of whole images into `run`; see `train_stage`.

    Its score is the mean average precision over the classes of the held-out images.

    Args:
        fold: rows of `data`; images of which nobody said what they show are on neither side.

    Raises:
        DataError: no labelled image on one of the sides.
    """
    train, held = (known_rows(data, rows, side) for rows, side in zip(fold, ("training", "validation"), strict=True))
    targets = data.targets[held]
    stage = Stage(
        "image classifier",
        ImageItems(data, recipe.image.model.masked),
        data.targets,
        train,
        held,
        lambda scores: label_scores(scores, targets, data.classes),
        measured_intensity(data, train.tolist(), recipe.intensity),
        {"classes": data.classes, "channels": data.channels, "side": data.side, "dtype": data.dtype},
    )
    return train_stage(stage, recipe.image, run, talk)


def score_images(run: Path, data: CellData, recipe: CellsRecipe, talk: Talk) -> np.ndarray:
    """(image, class) float32 probabilities of all images.

    Raises:
        DataError: no weights, or images of another kind than those it was trained on.
    """
    network, intensity, facts = load_classifier(run, recipe.image.model)
    require_same(data, facts, run, ("channels", "side", "dtype"))
    rows, device = np.arange(len(data)), machine_facts().device
    with talk.bar("scoring images", total=len(data)) as advance:
        items = ImageItems(data, recipe.image.model.masked)
        scores = score_rows(network, items, rows, intensity, recipe.image, device, advance)
    return scores.reshape(len(data), len(facts["classes"]))


def map_cells(run: Path, data: CellData, recipe: CellsRecipe, talk: Talk) -> np.ndarray:
    """Stage 2: (cell, class) float32 of 0 … 1, how much of each class the maps of the image classifier show in each cell.

    Raises:
        DataError: no weights, or images of another kind than those it was trained on.
    """
    from malpighi.inference.maps import cell_maps

    network, intensity, facts = load_classifier(run, recipe.image.model)
    require_same(data, facts, run, ("channels", "side", "dtype"))
    device = machine_facts().device
    with talk.bar("mapping classes", total=len(data)) as advance:
        return cell_maps(
            network.to(device),
            intensity.apply,
            data,
            recipe.maps,
            batch=recipe.image.train.batch,
            device=device,
            softmax=recipe.image.loss.name == "ce",
            on_progress=advance,
        )


def known_rows(data: CellData, rows: Sequence[int], side: str) -> np.ndarray:
    """Of some images those of which somebody said what they show.

    Raises:
        DataError: there is none.
    """
    known = np.array([i for i in rows if not np.isnan(data.targets[i]).all()], np.int64)
    if not len(known):
        raise DataError(f"{data.folder}: no image of the {side} set has labels; label more images, or use fewer folds")
    return known


def require_same(data: CellData, facts: dict[str, Any], run: Path, names: Sequence[str]) -> None:
    """Refuse images that the network of `run` was not trained for.

    Raises:
        DataError: says what differs.
    """
    have = {"channels": data.channels, "side": data.side, "crop": data.crop_side, "dtype": data.dtype}
    for name in names:
        if have[name] != facts[name]:
            raise DataError(
                f"{data.folder}: {name} {have[name]!r}, and {run} was trained with {facts[name]!r}; "
                "prepare the images with the recipe of the run"
            )
