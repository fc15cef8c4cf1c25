"""Voxels that prediction and truth share, by class: counts that add, and the scores made from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from malpighi.errors import DataError

UNLABELLED = 255
"""Value of a truth where nobody said what is there; such voxels are not scored."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Counts of voxels by class: true and false positives, false and true negatives. Counts of blocks, images or donors add.

    Scores are (class,) float64. Where a class has no scored voxel at all (nobody annotated it) every score is NaN, never
    0 or 1.
    """

    tp: tuple[int, ...]
    fp: tuple[int, ...]
    fn: tuple[int, ...]
    tn: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.tp) == len(self.fp) == len(self.fn) == len(self.tn):
            raise DataError(
                f"counts of {len(self.tp)}, {len(self.fp)}, {len(self.fn)} and {len(self.tn)} classes do not go together"
            )

    @classmethod
    def none(cls, classes: int = 1) -> Overlap:
        """Nothing counted yet."""
        zero = (0,) * classes
        return cls(zero, zero, zero, zero)

    def __add__(self, other: Overlap) -> Overlap:
        if len(self.tp) != len(other.tp):
            raise DataError(f"counts of {len(self.tp)} classes cannot be added to counts of {len(other.tp)}")
        return Overlap(*(tuple(a + b for a, b in zip(x, y, strict=True)) for x, y in zip(self._all, other._all, strict=True)))

    def of(self, index: int) -> Overlap:
        """The counts of one class."""
        return Overlap(*((values[index],) for values in self._all))

    @property
    def _all(self) -> tuple[tuple[int, ...], ...]:
        return self.tp, self.fp, self.fn, self.tn

    @property
    def voxels(self) -> np.ndarray:
        """(class,) scored voxels."""
        return np.array(self._all, np.int64).sum(0)

    @property
    def dice(self) -> np.ndarray:
        """2|X∩Y| / (|X| + |Y|); 1 where neither has a voxel (HuBMAP's rule)."""
        tp, fp, fn, _ = self._floats()
        return self._ratio(2 * tp, 2 * tp + fp + fn, empty=1.0)

    @property
    def iou(self) -> np.ndarray:
        """|X∩Y| / |X∪Y|; 1 where neither has a voxel."""
        tp, fp, fn, _ = self._floats()
        return self._ratio(tp, tp + fp + fn, empty=1.0)

    @property
    def precision(self) -> np.ndarray:
        """Share of the predicted voxels that are true; NaN where nothing was predicted."""
        tp, fp, _, _ = self._floats()
        return self._ratio(tp, tp + fp, empty=np.nan)

    @property
    def recall(self) -> np.ndarray:
        """Share of the true voxels that were predicted; NaN where nothing is true."""
        tp, _, fn, _ = self._floats()
        return self._ratio(tp, tp + fn, empty=np.nan)

    @property
    def accuracy(self) -> np.ndarray:
        """Share of the scored voxels that are right, background included."""
        tp, fp, fn, tn = self._floats()
        return self._ratio(tp + tn, tp + fp + fn + tn, empty=np.nan)

    def _floats(self) -> tuple[np.ndarray, ...]:
        return tuple(np.array(values, np.float64) for values in self._all)

    def _ratio(self, part: np.ndarray, whole: np.ndarray, empty: float) -> np.ndarray:
        score = np.where(whole > 0, part / np.maximum(whole, 1), empty)
        return np.where(self.voxels > 0, score, np.nan)


def count(prediction: np.ndarray, truth: np.ndarray, rank: int | None = None, unlabelled: int = UNLABELLED) -> Overlap:
    """Count one block of masks.

    Args:
        prediction: (class, *spatial) or (*spatial) of one class; bool or integer, anything but 0 is foreground.
        truth: same shape; bool, or integer 0, 1 and `unlabelled`.
        rank: number of spatial axes; None: a 2-D array is one class, one of more axes has the class first.

    Raises:
        DataError: shapes differ, an array holds floating-point numbers, or truth holds another value.
    """
    if prediction.shape != truth.shape:
        raise DataError(f"prediction has shape {prediction.shape}, truth {truth.shape}; both must show the same voxels")
    for name, array in (("prediction", prediction), ("truth", truth)):
        if array.dtype != bool and not np.issubdtype(array.dtype, np.integer):
            raise DataError(f"{name} is {array.dtype}; threshold it first: overlap is counted on bool or integer masks")
    spatial = rank or max(2, truth.ndim - 1)
    if truth.ndim == spatial:
        prediction, truth = prediction[None], truth[None]
    if truth.ndim != spatial + 1:
        raise DataError(f"masks of shape {truth.shape}: give (class, *spatial) or (*spatial) with {spatial} spatial axes")
    counts = [_count_class(p, t, unlabelled) for p, t in zip(prediction, truth, strict=True)]
    return Overlap(*(tuple(values) for values in zip(*counts, strict=True))) if counts else Overlap.none(0)


def _count_class(prediction: np.ndarray, truth: np.ndarray, unlabelled: int) -> tuple[int, int, int, int]:
    p = prediction if prediction.dtype == bool else prediction != 0
    t = truth if truth.dtype == bool else truth == 1
    predicted, true = int(np.count_nonzero(p)), int(np.count_nonzero(t))
    labelled = truth.size
    if truth.dtype != bool:
        other = int(np.count_nonzero(truth)) - true  # neither 0 nor 1
        if other:
            unknown = truth == unlabelled
            if int(np.count_nonzero(unknown)) != other:
                values = np.setdiff1d(truth, [0, 1, unlabelled])[:3].tolist()
                raise DataError(f"truth holds {values}; a class layer holds 0, 1 and {unlabelled} (unlabelled) only")
            labelled -= other
            predicted -= int(np.count_nonzero(p & unknown))
    both = int(np.count_nonzero(p & t))
    return both, predicted - both, true - both, labelled - predicted - true + both


def combined(counts: Sequence[Overlap]) -> Overlap:
    """The sum of counts of the same classes; nothing of one class where the list is empty."""
    total = counts[0] if counts else Overlap.none()
    for more in counts[1:]:
        total = total + more
    return total
