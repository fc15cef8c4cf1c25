"""Pseudo-labels: which of its image's labels each cell gets, why, and since when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from malpighi.errors import DataError, RecipeError
from malpighi.sampling.pseudo_table import LEFT_OUT, NONE, PseudoLabels, agreement, same_cells

__all__ = ["PseudoCellOptions", "PseudoLabels", "agreement", "pseudo_labels"]


@dataclass(frozen=True)
class PseudoCellOptions:
    """Which cells are labelled.

    Attributes:
        threshold: score in the cell from which it gets a label that its image has.
        none: cells whose every score of their image's labels is below this are of no class: they teach "none of these".
            Between the two a cell is left out. 0: nothing is taught.
        single: a cell gets the one label that scores highest; else all above the threshold.
        lone: every cell of an image with one label gets it, whatever its score.
        most: share of a class's cells that may be labelled, the highest first.
    """

    threshold: float = 0.5
    none: float = 0.1
    single: bool = True
    lone: bool = False
    most: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.none <= self.threshold <= 1:
            raise RecipeError(f"pseudo.none {self.none} and threshold {self.threshold}: 0 <= none <= threshold <= 1")
        if not 0 < self.most <= 1:
            raise RecipeError(f"pseudo.most {self.most}: a share above 0, up to 1")


def pseudo_labels(
    scores: np.ndarray,
    targets: np.ndarray,
    image_of: np.ndarray,
    border: np.ndarray,
    options: PseudoCellOptions,
    *,
    cycle: int,
    source: str,
    classes: Sequence[str],
    negative: str = "Negative",
    previous: PseudoLabels | None = None,
) -> PseudoLabels:
    """Give cells labels of their images.

    A cell never gets a label that its image does not have, and cells of images of which nobody said anything are left out.
    Every cell of an image without any label, or with the negative one alone, is negative: whatever is in none of its cells
    is not in this one. Where only some labels of an image are known, nothing is concluded from the others' absence.

    Args:
        scores: (cell, class) 0 … 1.
        targets: (image, class) 1, 0, NaN where nobody said.
        image_of: (cell,) row of the cell's image.
        border: (cell,) whether it touches the border; only noted.
        options: see there.
        cycle: number of the cycle, from 1.
        source: whose scores these are, for the table.
        classes: names of the columns.
        negative: name of the class of cells that show none of the others; "" or unknown: those are "none of these".
        previous: labels of the cycle before, of the same cells: `since` goes on from there.

    Raises:
        DataError: shapes do not go together, or a score is no number from 0 to 1.
    """
    classes = tuple(classes)
    _check(scores, targets, image_of, border, classes)
    column = classes.index(negative) if negative in classes else len(classes)
    given = _Given.of(np.asarray(targets, np.float64)[image_of], column)
    scores = np.asarray(scores, np.float32)
    candidates = np.where(given.present, scores, -1.0)
    best = candidates.argmax(axis=1)  # the first of equal ones
    top = candidates[np.arange(len(best)), best]

    lone = given.lone if options.lone else np.zeros(len(best), bool)
    labels = given.present & ((candidates >= options.threshold) | lone[:, None])
    if options.single:
        labels &= np.arange(len(classes)) == best[:, None]
    labels[given.negative] = False
    labels = _highest(labels, scores, given.present, options.most)

    none = given.complete & ~given.negative & ~lone & given.present.any(axis=1) & (top < options.none)
    out = _targets(labels, given, none, column, candidates, options)
    label = np.where(labels.any(axis=1), np.where(labels, scores, -1.0).argmax(axis=1), LEFT_OUT)
    label[none] = NONE
    label[given.negative] = column if column < len(classes) else NONE
    score = np.where(label >= 0, scores[np.arange(len(label)), np.maximum(label, 0)], np.where(top < 0, np.nan, top))
    since = np.where(label == LEFT_OUT, 0, cycle)
    if previous is not None:
        since = np.where((label != LEFT_OUT) & (label == same_cells(previous, label).label), previous.since, since)
    return PseudoLabels(
        classes,
        out,
        label.astype(np.int64),
        score.astype(np.float32),
        _reasons(given, labels, lone, none),
        since.astype(np.int64),
        np.asarray(border, bool),
        np.asarray(image_of, np.int64),
        tuple(_names(row, classes) for row in np.asarray(targets)),
        options.threshold,
        cycle,
        source,
    )


@dataclass(frozen=True, eq=False)
class _Given:
    """What is known of each cell from its image.

    Attributes:
        present, unknown: (cell, class) whether the image has the label; whether nobody said.
        complete: (cell,) all labels of the image are known.
        negative: (cell,) the image shows none of the labels but the negative one.
        lone: (cell,) the image has one label.
    """

    present: np.ndarray
    unknown: np.ndarray
    complete: np.ndarray
    negative: np.ndarray
    lone: np.ndarray

    @classmethod
    def of(cls, targets: np.ndarray, column: int) -> _Given:
        present, unknown = targets == 1, np.isnan(targets)
        complete = ~unknown.any(axis=1)
        others = np.arange(targets.shape[1]) != column
        said = complete | present[:, ~others].any(axis=1)
        negative = said & ~present[:, others].any(axis=1)
        return cls(present, unknown, complete, negative, complete & (present.sum(axis=1) == 1))


def _highest(labels: np.ndarray, scores: np.ndarray, present: np.ndarray, most: float) -> np.ndarray:
    """`labels` without the lowest scores of a class, so that at most this share of the cells of its images has it."""
    kept = labels.copy()
    if most == 1:
        return kept
    for c in range(labels.shape[1]):
        cells = np.flatnonzero(labels[:, c])
        allowed = math.ceil(most * int(present[:, c].sum()))
        kept[cells[np.argsort(-scores[cells, c], kind="stable")[allowed:]], c] = False
    return kept


def _targets(
    labels: np.ndarray, given: _Given, none: np.ndarray, column: int, candidates: np.ndarray, options: PseudoCellOptions
) -> np.ndarray:
    """(cell, class + 1) float32, as in `PseudoLabels`."""
    out = np.zeros((len(labels), labels.shape[1] + 1), np.float32)
    out[:, :-1] = labels
    out[:, -1] = none
    doubtful = given.unknown.copy()
    if not options.single:  # a label of the image that scores neither high nor low may be there too
        doubtful |= given.present & ~labels & (candidates >= options.none)
    out[:, :-1][doubtful] = np.nan
    out[given.negative] = np.arange(out.shape[1]) == column
    out[~(labels.any(axis=1) | none | given.negative)] = np.nan
    return out


def _reasons(given: _Given, labels: np.ndarray, lone: np.ndarray, none: np.ndarray) -> np.ndarray:
    """(cell,) why; later lines win."""
    reasons = np.full(len(labels), "left out", "U10")
    reasons[labels.any(axis=1)] = "score"
    reasons[labels.any(axis=1) & lone] = "lone"
    reasons[none] = "none"
    reasons[given.negative] = "negative"
    reasons[given.unknown.all(axis=1)] = "unlabelled"
    return reasons


def _names(row: np.ndarray, classes: tuple[str, ...]) -> tuple[str, ...] | None:
    return None if np.isnan(row).all() else tuple(name for name, value in zip(classes, row, strict=True) if value == 1)


def _check(scores: np.ndarray, targets: np.ndarray, image_of: np.ndarray, border: np.ndarray, classes: tuple[str, ...]) -> None:
    cells, wanted = len(image_of), len(classes)
    if np.shape(scores) != (cells, wanted) or np.shape(border) != (cells,) or np.shape(targets)[1:] != (wanted,):
        raise DataError(
            f"scores {np.shape(scores)}, border {np.shape(border)}, targets {np.shape(targets)}: of {cells} cells and {wanted} "
            f"classes they are ({cells}, {wanted}), ({cells},) and (image, {wanted})"
        )
    if cells and not (np.min(scores) >= 0 and np.max(scores) <= 1):
        raise DataError(f"scores lie within 0 … 1, not {np.min(scores):g} … {np.max(scores):g}; give probabilities")
    if cells and not (np.min(image_of) >= 0 and np.max(image_of) < len(targets)):
        raise DataError(f"cells lie in images {np.min(image_of)} … {np.max(image_of)}; there are {len(targets)}, from 0")
