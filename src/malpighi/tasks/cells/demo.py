"""`demo cells`: phantom cells with labels of whole images → the cycle → cells of unseen images, scored against their truth."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.geometry import Box
from malpighi.images.open import open_image
from malpighi.phantoms.cell_patterns import HPA_CLASSES
from malpighi.phantoms.cells import CHANNELS, write_dataset
from malpighi.tasks.cells.cycle import cycle
from malpighi.tasks.cells.export import ScoredCells, write_submission
from malpighi.tasks.cells.predict import read_labels, segment_cells
from malpighi.tasks.cells.score import evaluate_cells
from malpighi.tasks.cells.table import read_cell_scores
from malpighi.tasks.talk import Talk

PATTERNS = (
    "Nucleoplasm",
    "Nuclear membrane",
    "Nucleoli",
    "Endoplasmic reticulum",
    "Golgi apparatus",
    "Microtubules",
    "Plasma membrane",
    "Mitochondria",
    "Cytosol",
    "Negative",
)
"""What the phantoms' protein does: ten of HPA's 19 classes."""
IMAGES, SEEN_LATER = 60, 12


def demo_cells(training: Path, unseen: Path, out: Path, seed: int, talk: Talk) -> dict[str, Any]:
    """The whole path in `out`; a demo that was stopped goes on.

    Returns:
        "dice": of all cells of an image together against what is between them, mean over the unseen images; "map": mean average
        precision at IoU .6 of the unseen cells; "map_stage1": that of the plain image classifier, given to
        every cell; "image_map", "cycles", "ap50" of the masks, and where things lie.
    """
    for folder, images, number in ((training, IMAGES, 2 * seed), (unseen, SEEN_LATER, 2 * seed + 1)):
        if not (folder / "train.csv").is_file():
            with talk.bar("making phantoms", total=images) as advance:
                write_dataset(folder, images, seed=number, classes=PATTERNS, progress=lambda *_, step=advance: step())
    sets = [f"{stage}.train.seed={seed}" for stage in ("image", "cell")] + [f"data.classes={list(PATTERNS)}"]
    cycled = cycle(training, "demo-cells", out / "run", overrides=sets, talk=talk)
    names = image_names(unseen)
    prediction = out / "prediction"
    paths = [unseen / "train" / f"{name}_{{{','.join(CHANNELS)}}}.png" for name in names]
    segment_cells(paths, out / "run", prediction, talk=talk)
    truth = unseen / "truth.csv"
    write_submission(truth, true_cells(unseen), HPA_CLASSES)
    dice = [_dice(read_labels(prediction / one.image) > 0, one.labels > 0) for one in true_cells(unseen)]
    scores = evaluate_cells(prediction, truth, report=out / "report.html", talk=talk)
    plain = out / "stage1" / "submission.csv"
    plain.parent.mkdir(exist_ok=True)
    write_submission(plain, stage_cells(prediction, names, cycled["classes"], "image"), cycled["classes"], least=0.001)
    first = evaluate_cells(plain, truth, talk=talk)
    talk.say(
        f"[bold]mAP of unseen cells: {scores['map']:.3f}[/bold]; the image classifier given to every cell: {first['map']:.3f}"
    )
    return {
        "dice": float(np.mean(dice)),
        "map": scores["map"],
        "map_stage1": first["map"],
        "image_map": scores["image_map"],
        "cycles": cycled["cycles"],
        "ap50": scores["ap50"],
        "run": cycled["run"],
        "outputs": [str(prediction / name) for name in names],
    }


def _dice(found: np.ndarray, true: np.ndarray) -> float:
    return float(2 * (found & true).sum() / max(1, found.sum() + true.sum()))


def image_names(folder: Path) -> list[str]:
    """Ids of train.csv, in its order."""
    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        return [row["ID"] for row in csv.DictReader(file)]


def true_cells(folder: Path) -> Iterator[ScoredCells]:
    """Every image's true cells; a label that holds has confidence 1."""
    with (folder / "truth" / "cells.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in image_names(folder):
        own = [row for row in rows if row["ID"] == name]
        scores = np.zeros((len(own), len(HPA_CLASSES)), np.float32)
        for line, row in zip(scores, own, strict=True):
            line[[int(n) for n in row["labels"].split("|") if n]] = 1
        number = np.array([int(row["cell"]) for row in own], np.int32)
        with open_image(folder / "truth" / f"{name}.png", labels=True) as source:
            labels = source.read(Box.of_shape(source.shape))[0].astype(np.int32)
        yield ScoredCells(name, labels, scores, number)


def stage_cells(prediction: Path, names: Sequence[str], classes: Sequence[str], stage: str) -> Iterator[ScoredCells]:
    """Every image's found cells with the scores of one stage alone: what the later ones are measured against."""
    for name in names:
        scores = read_cell_scores(prediction / name, classes)[f"scores {stage}"]
        yield ScoredCells(name, read_labels(prediction / name), scores)
