"""Are vessels whole? clDice on centre lines, and the number of pieces (Betti-0)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box

Read = Callable[[Box], np.ndarray]
"""Reads one box, which lies inside the image, of a mask: (*spatial), bool or integer, anything but 0 is foreground."""

WHOLE = 1 << 27
"""Voxels up to which a mask is thinned in one piece: half a gigabyte of memory."""
BLOCK = {2: 8192, 3: 384}
"""Side of the boxes in which larger masks are thinned, by rank."""
HALO = 48
"""Voxels that such a box is grown by before it is thinned: at least the radius of the widest vessel."""


@dataclass(frozen=True, slots=True)
class CenterlineOverlap:
    """Voxels of two masks' centre lines, and of those within the other mask. Counts of images add.

    Attributes:
        predicted, true: voxels of the skeletons.
        predicted_inside: of the prediction's skeleton that are true.
        true_inside: of the truth's skeleton that were predicted.
    """

    predicted: int = 0
    true: int = 0
    predicted_inside: int = 0
    true_inside: int = 0

    def __add__(self, other: CenterlineOverlap) -> CenterlineOverlap:
        return CenterlineOverlap(
            self.predicted + other.predicted,
            self.true + other.true,
            self.predicted_inside + other.predicted_inside,
            self.true_inside + other.true_inside,
        )

    @property
    def precision(self) -> float:
        """Topology precision: share of the predicted centre lines that is true; NaN without any."""
        return self.predicted_inside / self.predicted if self.predicted else math.nan

    @property
    def sensitivity(self) -> float:
        """Topology sensitivity: share of the true centre lines that was predicted; NaN without any."""
        return self.true_inside / self.true if self.true else math.nan

    @property
    def dice(self) -> float:
        """Centre-line Dice, clDice (Shit et al. 2021): the harmonic mean of precision and sensitivity.

        NaN (undefined) where both masks are empty; 0 where one is. TopCoW's code says 0 to both.
        """
        if not self.predicted and not self.true:
            return math.nan
        if not self.predicted_inside or not self.true_inside:
            return 0.0
        return 2 / (1 / self.precision + 1 / self.sensitivity)


def centerline_overlap(
    prediction: Read, truth: Read, shape: Sequence[int], block: Sequence[int] | None = None, halo: int = HALO
) -> CenterlineOverlap:
    """Compare the centre lines of two masks.

    Centre lines are scikit-image's `skeletonize` (Zhang's in 2-D, Lee's in 3-D), as in TopCoW's evaluation. Thinning has no
    fixed reach, so up to `WHOLE` voxels are thinned in one piece. Larger masks go in boxes that overlap by `halo` and of
    which the inner part is counted: memory is a box's, and the lines are those of the whole but for a few voxels where a
    border cuts a vessel, as long as vessels are no wider than the halo.

    Args:
        prediction, truth: where the truth is unlabelled both must be 0 (`labelled_part`).
        shape: of the image, 2-D or 3-D.
        block: sides of the boxes; default: the whole image up to `WHOLE` voxels, else `BLOCK`.
        halo: voxels.
    """
    shape = tuple(int(n) for n in shape)
    if len(shape) not in BLOCK:
        raise DataError(f"centre lines need a 2-D or 3-D mask, not one of shape {shape}")
    if block is None:
        block = shape if math.prod(shape) <= WHOLE else (BLOCK[len(shape)],) * len(shape)
    total = CenterlineOverlap()
    for core in Box.of_shape(shape).split(tuple(max(1, side) for side in block)):
        around = core.grow(halo).clip(shape)
        inner = core.relative_to(around.start).slices
        p, t = (np.asarray(read(around)) != 0 for read in (prediction, truth))
        lines_p, lines_t = skeleton(p)[inner], skeleton(t)[inner]
        p, t = p[inner], t[inner]
        counted = (lines_p, lines_t, lines_p & t, lines_t & p)
        total = total + CenterlineOverlap(*(int(np.count_nonzero(each)) for each in counted))
    return total


def skeleton(mask: np.ndarray) -> np.ndarray:
    """Centre lines of a (y, x) or (z, y, x) mask: bool of its shape. Outside the array is background."""
    from skimage.morphology import skeletonize

    out = np.zeros(mask.shape, bool)
    sides = []
    for axis in range(mask.ndim):
        used = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        if not len(used):
            return out
        sides.append(slice(int(used[0]), int(used[-1]) + 1))
    part = tuple(sides)
    out[part] = skeletonize(np.ascontiguousarray(mask[part])).astype(bool)
    return out


def betti0(mask: np.ndarray) -> int:
    """Number of connected pieces of a mask in memory; voxels meet over faces, edges and corners (26 neighbours in 3-D)."""
    from scipy import ndimage

    return int(ndimage.label(mask != 0, np.ones((3,) * mask.ndim))[1])


def labelled_part(prediction: Read, truth: Read, unlabelled: int = 255) -> tuple[Read, Read]:
    """Both masks cut to what somebody labelled: centre lines and pieces are then those of the cut masks, on both sides.

    A vessel that leaves the labelled part ends there; one that passes through unlabelled tissue is two pieces, in the truth
    and in the prediction alike.

    Args:
        prediction: anything but 0 is foreground.
        truth: 0, 1 and `unlabelled`.
    """

    def cut(box: Box) -> np.ndarray:
        return (prediction(box) != 0) & (truth(box) != unlabelled)

    def known(box: Box) -> np.ndarray:
        return truth(box) == 1

    return cut, known
