"""Cells with their scores → HPA's submission or COCO JSON, image by image."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from malpighi.annotations.files import replacing
from malpighi.annotations.hpa_table import Cell, write_hpa
from malpighi.annotations.rle import RunLengths
from malpighi.errors import DataError
from malpighi.tasks.cells.labelled_tables import CLASSES


@dataclass(frozen=True, eq=False)
class ScoredCells:
    """The cells of one image as they are exported.

    Attributes:
        image: its id.
        labels: (y, x) integers, 0 outside of cells, at the image's full resolution.
        number: (cell,) which number each row of `scores` is; None: 1, 2, ….
        scores: (cell, class) confidences.
    """

    image: str
    labels: np.ndarray
    scores: np.ndarray
    number: np.ndarray | None = None


def write_submission(
    path: Path, images: Iterable[ScoredCells], classes: Sequence[str] = (), *, least: float = 0.0, most: int = 0
) -> int:
    """Write HPA's submission: a row an image, each cell's mask once a label that it is given; `classes.json` beside it.

    Mean average precision ranks confidences, so unlikely labels cost nothing but size: keep them (`least` 0) for the
    competition, and leave them out where people read the file.

    Args:
        path: of the CSV, replaced only when all is written.
        images: taken one after the other.
        classes: names of the scores' columns; written beside the table where given.
        least: a cell is given the labels with a confidence above this.
        most: labels a cell at most, the likeliest first; 0: any number.

    Returns:
        How many rows were written.

    Raises:
        DataError: an image occurs twice, or scores are not of its cells.
    """
    path = Path(path)
    count = write_hpa(path, ((one.image, _shape(one), _hpa_cells(one, least, most)) for one in _once(images, len(classes))))
    if classes:
        with replacing(path.parent / CLASSES) as part:
            part.write_text(json.dumps(list(classes), indent=1, ensure_ascii=False), encoding="utf-8")
    return count


def write_cells_coco(
    path: Path, images: Iterable[ScoredCells], classes: Sequence[str], *, least: float = 0.0, most: int = 0
) -> int:
    """Write COCO JSON: an annotation a cell and label, with its score; as `write_submission` else.

    Returns:
        How many annotations were written.
    """
    from malpighi.annotations.coco import write_coco
    from malpighi.annotations.instances import Instance

    def objects(one: ScoredCells) -> Iterator[Instance]:
        for cell in _hpa_cells(one, least, most):
            yield Instance(classes[cell.label], cell.runs, cell.confidence)

    return write_coco(Path(path), ((one.image, _shape(one), objects(one)) for one in _once(images, len(classes))), classes)


def _hpa_cells(one: ScoredCells, least: float, most: int) -> Iterator[Cell]:
    masks = mask_runs(one.labels)
    for cell, label in given_labels(one.scores, least, most):
        number = cell + 1 if one.number is None else int(one.number[cell])
        if number not in masks:
            raise DataError(f"{one.image}: cell {number} has scores but no pixel; scores and labels must be of the same cells")
        yield Cell(label, float(one.scores[cell, label]), masks[number])


def given_labels(scores: np.ndarray, least: float = 0.0, most: int = 0) -> list[tuple[int, int]]:
    """(row, class) of the labels each cell is given: above `least`, the `most` likeliest; ordered by cell, then by class."""
    scores = np.asarray(scores)
    given = scores > least
    if most:
        rank = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
        given &= rank < most
    return [(int(row), int(c)) for row, c in zip(*np.nonzero(given), strict=True)]


def mask_runs(labels: np.ndarray) -> dict[int, RunLengths]:
    """Cell number → its runs down the columns, all cells in one pass."""
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"labels have shape {labels.shape} of {labels.dtype}; cells are a (y, x) image of integers")
    flat = np.ascontiguousarray(labels.T).ravel()
    if not flat.size:
        return {}
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    stops, values = np.append(starts[1:], flat.size), flat[starts]
    order = np.argsort(values, kind="stable")
    numbers, first = np.unique(values[order], return_index=True)
    parts = np.split(order, first[1:])
    shape = (int(labels.shape[0]), int(labels.shape[1]))
    return {
        int(n): RunLengths(starts[part].astype(np.int64), stops[part].astype(np.int64), shape, "F")
        for n, part in zip(numbers.tolist(), parts, strict=True)
        if n > 0
    }


def _once(images: Iterable[ScoredCells], classes: int = 0) -> Iterator[ScoredCells]:
    seen: set[str] = set()
    for one in images:
        if one.image in seen:
            raise DataError(f"{one.image} is given twice; write each image once")
        if one.scores.ndim != 2 or (one.number is not None and len(one.number) != len(one.scores)):
            raise DataError(f"{one.image}: scores have shape {one.scores.shape}; they are (cell, class), a row a number")
        if classes and one.scores.shape[1] != classes:
            raise DataError(f"{one.image}: scores of {one.scores.shape[1]} classes, {classes} are named")
        seen.add(one.image)
        yield one


def _shape(one: ScoredCells) -> tuple[int, int]:
    return int(one.labels.shape[0]), int(one.labels.shape[1])
