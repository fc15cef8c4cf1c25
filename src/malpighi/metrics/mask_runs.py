"""Overlaps of run-length masks, without drawing them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malpighi.metrics.instances import Pairs

DENSE = 1 << 18
"""Pairs of masks up to which overlaps are summed in a table of all pairs; above, only those met are sorted and kept."""


@dataclass(frozen=True, eq=False)
class MaskRuns:
    """Any number of masks of one image as runs of its flattened pixels; masks may overlap.

    Attributes:
        starts, stops: (run,) int64, half-open.
        mask: (run,) int64 which mask it is of.
        count: number of masks, empty ones too.
    """

    starts: np.ndarray
    stops: np.ndarray
    mask: np.ndarray
    count: int

    @property
    def area(self) -> np.ndarray:
        """(mask,) pixels."""
        return np.bincount(self.mask, weights=self.stops - self.starts, minlength=self.count)

    def layers(self) -> list[np.ndarray]:
        """Runs, as rows, in parts within which none overlaps another; sorted. One part where no masks overlap."""
        order = np.lexsort([self.stops, self.starts])
        if (self.starts[order][1:] >= self.stops[order][:-1]).all():
            return [order]
        return [order[self.mask[order] == m] for m in range(self.count)]


def overlaps(predicted: MaskRuns, true: MaskRuns) -> Pairs:
    """Pixels that each predicted mask shares with each true one; both flattened along the same axis.

    Each run is met only by those that overlap it, found by bisection.
    """
    found = [_met(predicted, true, part) for part in true.layers() if len(part)]
    keys = np.concatenate([k for k, _ in found]) if found else np.zeros(0, np.int64)
    shared = np.concatenate([s for _, s in found]) if found else np.zeros(0, np.int64)
    columns = max(true.count, 1)
    if predicted.count * columns <= DENSE:
        total = np.bincount(keys, weights=shared)
        pairs = np.flatnonzero(total)
        total = total[pairs]
    else:
        pairs, inverse = np.unique(keys, return_inverse=True)
        total = np.bincount(inverse, weights=shared, minlength=len(pairs))
    return Pairs(predicted.area, true.area, pairs // columns, pairs % columns, total)


def _met(predicted: MaskRuns, true: MaskRuns, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of sorted runs of the truth apart from one another: the pair of each overlap as one number, and its pixels."""
    starts, stops = true.starts[part], true.stops[part]
    low = np.searchsorted(stops, predicted.starts, "right")
    high = np.searchsorted(starts, predicted.stops, "left")
    met = np.maximum(high - low, 0)
    run = np.repeat(np.arange(len(met)), met)
    other = np.arange(len(run)) - np.repeat(np.cumsum(met) - met, met) + low[run]
    shared = np.minimum(predicted.stops[run], stops[other]) - np.maximum(predicted.starts[run], starts[other])
    keys = predicted.mask[run] * max(true.count, 1) + true.mask[part][other]
    return keys[shared > 0], shared[shared > 0]
