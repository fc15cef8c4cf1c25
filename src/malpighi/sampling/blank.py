"""Blank glass: found once at low resolution, so that prediction can skip tiles that hold nothing.

The rule errs on the side of tissue: a voxel is glass only if it is bright, colourless and smooth, in one large piece with others
like it; and everything near what is not glass is kept. It is made for transmitted light; other images are taken as tissue throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Box, Spacing
from malpighi.images.base import Source

# 8-bit RGB. Glass measured 219 … 231 and within 7 of grey in a kidney slide (HuBMAP), 240 … 246 in an Aperio scan of skin.
_BRIGHT = 215  # darkest channel of glass
_GREY = 25  # most that channels of glass differ
_SMOOTH = 6  # most that a 3 × 3 neighbourhood of glass spans, in any channel
_SMALLEST = 64 * 64  # voxels: less glass than this in one piece is a lumen, a vessel or a tear, and part of the tissue
_DILATE = 4  # voxels around tissue that count as tissue
_BLOCK = 512  # side of what is read at once, in low-resolution voxels
_MOST = 1 << 22  # voxels of the mask


@dataclass(frozen=True, eq=False)
class TissueMask:
    """Where there may be tissue.

    Attributes:
        tissue: (*spatial) bool on the image's grid at `spacing`; None: everywhere.
        spacing: of `tissue`.
    """

    tissue: np.ndarray | None
    spacing: Spacing

    def any(self, box: Box, spacing: Spacing) -> bool:
        """Whether `box`, in voxels of `spacing`, may hold tissue. Depends on where the box lies in the image and nothing else."""
        if self.tissue is None:
            return True
        covered = box.scale(spacing.over(self.spacing)).clip(self.tissue.shape)
        return bool(self.tissue[covered.slices].any())

    @property
    def fraction(self) -> float:
        """Part of the image that may be tissue."""
        return 1.0 if self.tissue is None else float(self.tissue.mean())


def tissue_mask(
    source: Source, spacing: Spacing | None = None, rule: Literal["auto", "brightfield", "off"] = "auto"
) -> TissueMask:
    """Find what is not glass, reading the whole image once at low resolution, block by block.

    Args:
        spacing: low resolution to look at; 16 level-0 voxels where None, and more on slides of over 32,000 pixels a side.
        rule: "brightfield" needs 8-bit RGB in 2-D; "auto" applies it to such images, and elsewhere is "off".

    Raises:
        DataError: "brightfield" asked for an image that is not 8-bit RGB in 2-D.
    """
    spacing = spacing or source.space.spacing.times(_reduction(source.shape))
    fits = source.dtype == np.uint8 and len(source.channels) == 3 and source.space.rank == 2
    if rule not in ("auto", "brightfield", "off"):
        raise RecipeError(f"background rule {rule!r}; use 'auto', 'brightfield' or 'off'")
    if rule == "brightfield" and not fits:
        raise DataError(f"{source.name}: the brightfield rule for glass is for 8-bit RGB images; switch it to 'off'")
    if rule == "off" or not fits:
        return TissueMask(None, spacing)
    import cv2

    shape = source.space.shape_at(spacing)
    glass = np.empty(shape, np.uint8)
    for box in Box.of_shape(shape).split((_BLOCK, _BLOCK)):
        glass[box.slices] = _glass(source.read_at(box.grow(1), spacing))
    _, pieces, facts, _ = cv2.connectedComponentsWithStats(glass, connectivity=4)
    large = facts[:, cv2.CC_STAT_AREA] >= _SMALLEST
    large[0] = False  # what is not glass
    tissue = (~large[pieces]).astype(np.uint8)
    return TissueMask(cv2.dilate(tissue, np.ones((2 * _DILATE + 1,) * 2, np.uint8)).astype(bool), spacing)


def _reduction(shape: tuple[int, ...]) -> int:
    """The multiple of 16 at which the image has at most `_MOST` voxels: the mask takes megabytes, whatever the slide."""
    return 16 * max(1, math.ceil(math.sqrt(math.prod(shape) / _MOST) / 16))


def _glass(rgb: np.ndarray) -> np.ndarray:
    """(3, y + 2, x + 2) uint8 → (y, x) bool; the border of one voxel is only looked at."""
    import cv2

    pixels = np.ascontiguousarray(rgb.transpose(1, 2, 0))
    square = np.ones((3, 3), np.uint8)
    span = (cv2.dilate(pixels, square) - cv2.erode(pixels, square)).max(-1)
    darkest, brightest = pixels.min(-1), pixels.max(-1)
    glass = (darkest >= _BRIGHT) & (brightest - darkest <= _GREY) & (span <= _SMOOTH)
    return glass[1:-1, 1:-1]
