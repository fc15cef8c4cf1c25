"""Which predicted object is which true one, and the scores made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from malpighi.errors import DataError

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
"""IoU .50, .55 … .95."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Objects of prediction and truth, and the overlaps that are not nothing.

    Attributes:
        predicted, true: (object,) areas; voxels or the square of the coordinates' unit.
        p, t: (pair,) rows of `predicted` and `true`; a pair occurs once.
        shared: (pair,) area of the intersection.
    """

    predicted: np.ndarray
    true: np.ndarray
    p: np.ndarray
    t: np.ndarray
    shared: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """(pair,) intersection over union."""
        return self.shared / (self.predicted[self.p] + self.true[self.t] - self.shared)

    @property
    def dice(self) -> np.ndarray:
        """(pair,) twice the intersection over the sum of areas."""
        return 2 * self.shared / (self.predicted[self.p] + self.true[self.t])


class Intersections:
    """Shared voxels of two label images of any size, gathered block by block.

    Memory grows with the number of overlapping pairs, not with the image. Where the truth is not labelled, set both to 0
    before, or objects there count as made up.
    """

    def __init__(self, merge_above: int = 1_000_000) -> None:
        self._keys: list[np.ndarray] = []
        self._counts: list[np.ndarray] = []
        self._waiting = 0
        self._merge_above = merge_above  # pairs of blocks that may wait before equal ones are summed

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Count one block.

        Args:
            prediction, truth: integer labels of the same voxels, 0 in the background, a label the same in all blocks.
        """
        if prediction.shape != truth.shape:
            raise DataError(f"prediction has shape {prediction.shape}, truth {truth.shape}; both must show the same voxels")
        for name, array in (("prediction", prediction), ("truth", truth)):
            if not np.issubdtype(array.dtype, np.integer):
                raise DataError(f"{name} is {array.dtype}; objects are given as integer labels")
            if array.size and (array.min() < 0 or array.max() >= 1 << 32):
                raise DataError(f"{name} holds labels outside 0 … 2³²-1")
        if truth.size == 0:
            return
        # runs of one pair along the rows are far fewer than voxels, and sorting is what costs
        p, t = prediction.ravel(), truth.ravel()
        starts = np.flatnonzero(np.concatenate([[True], (p[1:] != p[:-1]) | (t[1:] != t[:-1])]))
        keys = p[starts].astype(np.uint64) << np.uint64(32) | t[starts].astype(np.uint64)
        self._put(keys, np.diff(starts, append=p.size))

    def _put(self, keys: np.ndarray, counts: np.ndarray) -> None:
        self._keys.append(keys)
        self._counts.append(counts)
        self._waiting += len(keys)
        if self._waiting > max(self._merge_above, len(self._keys[0])):
            self._merge()

    def _merge(self) -> None:
        keys, inverse = np.unique(np.concatenate(self._keys), return_inverse=True)
        self._counts = [np.bincount(inverse, weights=np.concatenate(self._counts), minlength=len(keys))]
        self._keys, self._waiting = [keys], 0

    def pairs(self) -> Pairs:
        """The objects met so far; rows are in order of label."""
        if not self._keys:
            none = np.zeros(0)
            return Pairs(none, none, none.astype(int), none.astype(int), none)
        self._merge()
        keys, counts = self._keys[0], self._counts[0]
        p, t = (keys >> np.uint64(32)).astype(np.int64), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
        (names_p, predicted), (names_t, true) = _areas(p, counts), _areas(t, counts)
        both = (p > 0) & (t > 0)
        return Pairs(predicted, true, np.searchsorted(names_p, p[both]), np.searchsorted(names_t, t[both]), counts[both])


def _areas(labels: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    names, inverse = np.unique(labels, return_inverse=True)
    areas = np.bincount(inverse, weights=counts)
    return names[names > 0], areas[names > 0]


def pairs_of_shapes(predicted: Sequence[BaseGeometry], true: Sequence[BaseGeometry]) -> Pairs:
    """Overlaps of two lists of valid shapely geometries, found through a spatial index."""
    import shapely

    a, b = np.array(predicted, object), np.array(true, object)
    for name, shapes in (("prediction", a), ("truth", b)):
        for i in np.flatnonzero(~shapely.is_valid(shapes)) if len(shapes) else ():
            raise DataError(f"{name}: outline {i} is not valid ({shapely.is_valid_reason(shapes[i])}); repair it first")
    if not len(a) or not len(b):
        return Pairs(_area(a), _area(b), np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    p, t = shapely.STRtree(b).query(a, predicate="intersects")
    shared = shapely.area(shapely.intersection(a[p], b[t]))
    kept = shared > 0
    return Pairs(_area(a), _area(b), p[kept], t[kept], shared[kept])


def _area(shapes: np.ndarray) -> np.ndarray:
    import shapely

    return shapely.area(shapes) if len(shapes) else np.zeros(0)


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """Objects found (tp), made up (fp) and missed (fn) at one IoU threshold; scores of images add.

    Where there is neither a true nor a predicted object, F1, AP and PQ are 1, as Dice is.
    """

    tp: int
    fp: int
    fn: int
    iou_sum: float = 0.0

    def __add__(self, other: ObjectScore) -> ObjectScore:
        return ObjectScore(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.iou_sum + other.iou_sum)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN)."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn, 1.0)

    @property
    def precision(self) -> float:
        """Share of the predicted objects that are true; NaN without any."""
        return _ratio(self.tp, self.tp + self.fp, float("nan"))

    @property
    def recall(self) -> float:
        """Share of the true objects that were found; NaN without any."""
        return _ratio(self.tp, self.tp + self.fn, float("nan"))

    @property
    def average_precision(self) -> float:
        """TP / (TP + FP + FN), as the Data Science Bowl 2018 and Sartorius call it."""
        return _ratio(self.tp, self.tp + self.fp + self.fn, 1.0)

    @property
    def pq(self) -> float:
        """Panoptic quality: Σ IoU of the matches / (TP + FP/2 + FN/2) (Kirillov et al. 2019)."""
        return _ratio(self.iou_sum, self.tp + (self.fp + self.fn) / 2, 1.0)


def _ratio(part: float, whole: float, empty: float) -> float:
    return part / whole if whole else empty


def match(pairs: Pairs, threshold: float = 0.5) -> ObjectScore:
    """Match objects one to one where IoU > `threshold`.

    From .5 on a match is unique: two objects cannot both share more than half of a third. Below, the largest number of
    matches is taken, and of those the largest sum of IoU.
    """
    if not 0 <= threshold < 1:
        raise DataError(f"IoU threshold {threshold}: give a number from 0 up to, not including, 1")
    iou = pairs.iou
    good = np.flatnonzero(iou > threshold)
    if threshold < 0.5:
        good = _assigned(pairs, good, iou)
    tp = len(good)
    return ObjectScore(tp, len(pairs.predicted) - tp, len(pairs.true) - tp, float(iou[good].sum()))


def _assigned(pairs: Pairs, good: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """Pairs of `good` such that no object occurs twice, as many as can be, then with the largest sum of IoU."""
    from scipy.optimize import linear_sum_assignment

    rows, p = np.unique(pairs.p[good], return_inverse=True)
    columns, t = np.unique(pairs.t[good], return_inverse=True)
    gain = np.zeros((len(rows), len(columns)))
    gain[p, t] = 1 + iou[good] / (min(gain.shape, default=0) + 1)
    row, column = linear_sum_assignment(gain, maximize=True)
    index = np.full(gain.shape, -1)
    index[p, t] = good
    chosen = index[row, column]
    return chosen[chosen >= 0]


def average_precisions(pairs: Pairs, thresholds: Sequence[float] = THRESHOLDS) -> dict[float, float]:
    """TP / (TP + FP + FN) at every IoU threshold; their mean is the competitions' score of an image."""
    return {t: match(pairs, t).average_precision for t in thresholds}


def object_dice(pairs: Pairs) -> float:
    """Object-level Dice of GlaS (Sirinukunwattana et al. 2017): each object against the one it shares most with, by area.

    1 where there is no object on either side, 0 where on one only.
    """
    if not len(pairs.predicted) and not len(pairs.true):
        return 1.0
    sides = ((pairs.p, pairs.predicted), (pairs.t, pairs.true))
    return sum(_best_dice(pairs, side, areas) for side, areas in sides) / 2


def _best_dice(pairs: Pairs, side: np.ndarray, areas: np.ndarray) -> float:
    if not len(areas):
        return 0.0
    order = np.lexsort([pairs.shared, side])
    last = np.flatnonzero(np.append(side[order][1:] != side[order][:-1], True)) if len(order) else order
    best = np.zeros(len(areas))
    best[side[order][last]] = pairs.dice[order][last]
    return float(np.average(best, weights=areas))
