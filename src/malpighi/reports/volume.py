"""A volume at the size of a page: image and masks, read piece by piece on a coarser grid, whatever the volume's size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from malpighi.annotations.base import UNLABELLED
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images import Source
from malpighi.reports.colors import RGB

Mask = Callable[[Box, Spacing], np.ndarray]
"""(z, y, x) uint8 of a box on the image's grid at a spacing: 1 inside, 0 outside, 255 where nobody said."""
Masks = Mapping[str, Mask]
"""At most "truth" and "prediction"."""

NOTHING, AGREED, MISSED, EXCESS, SILENT = range(5)
"""What a voxel is when truth meets prediction; a mask alone is all `AGREED`."""
NAMES = ("", "right", "missed", "too much", "not labelled")
COLORS: tuple[RGB, ...] = ((0, 0, 0), (40, 200, 160), (70, 140, 255), (255, 145, 30), (128, 128, 136))
"""By code: the hues of `colors`, brighter, because volumes are dark."""

AT_ONCE = 1 << 23
"""Voxels of the file's own level read at once."""


@dataclass(frozen=True)
class VolumeView:
    """A whole volume, small.

    Attributes:
        image: (channel, z, y, x), the volume's dtype.
        codes: (z, y, x) uint8, see `compare`; all 0 where no mask is known.
        spacing: of both arrays.
        space: of the volume itself.
        masks: which were known: "truth", "prediction", both or none.
    """

    image: np.ndarray
    codes: np.ndarray
    spacing: Spacing
    space: Space
    masks: tuple[str, ...]

    @property
    def reduced(self) -> bool:
        """Whether the view is coarser than the volume."""
        return self.codes.shape != self.space.shape

    def names(self) -> dict[int, str]:
        """Code → its name, of those that can occur."""
        silent = bool((self.codes == SILENT).any())
        return {code: name for code, name in code_names(self.masks).items() if code != SILENT or silent}


def code_names(masks: tuple[str, ...]) -> dict[int, str]:
    """Code → its name, for the masks that are known."""
    if len(masks) == 1:
        return {AGREED: masks[0], SILENT: NAMES[SILENT]}
    return {code: NAMES[code] for code in (AGREED, MISSED, EXCESS, SILENT)} if masks else {}


def code_colors(masks: tuple[str, ...]) -> dict[int, RGB]:
    """Code → its colour, for the masks that are known."""
    return {code: COLORS[code] for code in code_names(masks)}


def compare(truth: np.ndarray | None, prediction: np.ndarray | None) -> np.ndarray:
    """Codes of two masks of one shape, or of the one that is known.

    Returns:
        uint8: `AGREED` where both are (or the only one is) inside, `MISSED` where only the truth is, `EXCESS` where only the
        prediction is and the truth says no, `SILENT` where the truth says nothing.
    """
    if truth is None or prediction is None:
        only = truth if prediction is None else prediction
        if only is None:
            raise DataError("neither truth nor prediction was given to compare")
        codes = (only == 1).astype(np.uint8)
        codes[only == UNLABELLED] = SILENT
        return codes
    found, one = prediction == 1, np.uint8  # typed constants: the default integers would take eight times the memory
    inside = np.where(found, one(AGREED), one(MISSED))
    codes = np.where(truth == 1, inside, np.where(found, one(EXCESS), one(NOTHING)))
    codes[truth == UNLABELLED] = SILENT
    return codes


def read_codes(masks: Masks, box: Box, spacing: Spacing) -> np.ndarray:
    """`compare` of the masks in a box on the grid at `spacing`."""
    drawn = {name: mask(box, spacing) for name, mask in masks.items()}
    return compare(drawn.get("truth"), drawn.get("prediction"))


def view_spacing(space: Space, voxels: int, longest: int) -> Spacing:
    """The finest spacing at which the volume has at most `voxels` voxels and `longest` along its longest axis.

    Axes are made equally fine first: thick slices stay as they are until the others are as thick.
    """
    own = space.spacing.values

    def at(side: float) -> Spacing:
        return Spacing(tuple(max(s, side) for s in own), space.spacing.unit)

    def fits(side: float) -> bool:
        shape = space.shape_at(at(side))
        return math.prod(shape) <= voxels and max(shape) <= longest

    fine = coarse = min(own)
    while not fits(coarse):
        fine, coarse = coarse, 2 * coarse
    for _ in range(20 if fine < coarse else 0):
        middle = (fine + coarse) / 2
        fine, coarse = (fine, middle) if fits(middle) else (middle, coarse)
    return at(coarse)


def read_view(source: Source, masks: Masks, voxels: int = 1 << 24, longest: int = 512) -> VolumeView:
    """The whole volume with its masks, at most `voxels` voxels and `longest` along an axis.

    The image is averaged over what a voxel of the view covers; masks are taken at its centre, so that truth and prediction
    are compared voxel by voxel of the volume itself. Coarser levels of a pyramid are used where the file has them.

    Raises:
        DataError: the image is no volume, or masks have other names than "truth" and "prediction".
    """
    check(source.space, masks)
    spacing = view_spacing(source.space, voxels, longest)
    shape = source.space.shape_at(spacing)
    image = np.empty((len(source.channels), *shape), source.dtype)
    codes = np.zeros(shape, np.uint8)
    for box in pieces(shape, source.space, spacing):
        image[(slice(None), *box.slices)] = source.read_at(box, spacing, pad="edge")
        if masks:
            codes[box.slices] = read_codes(masks, box, spacing)
    return VolumeView(image, codes, spacing, source.space, tuple(masks))


def check(space: Space, masks: Masks) -> None:
    """Raises `DataError` where a view cannot be made of what was given."""
    if space.rank != 3:
        raise DataError(f"an image of {space.rank} axes has no volume views; `comparison` draws images")
    if set(masks) - {"truth", "prediction"}:
        raise DataError(f"masks {', '.join(masks)}: a volume view knows truth and prediction")


def pieces(shape: tuple[int, ...], space: Space, spacing: Spacing) -> Iterator[Box]:
    """Boxes of a grid at `spacing` that read at most `AT_ONCE` voxels of the level they come from, whole rows of x first."""
    level = space.shapes[space.level_for(spacing)]
    budget = AT_ONCE / max(1.0, math.prod(level) / math.prod(shape))
    x = min(shape[2], max(1, int(budget)))
    y = min(shape[1], max(1, int(budget / x)))
    z = min(shape[0], max(1, int(budget / (x * y))))
    return iter(Box.of_shape(shape).split((z, y, x)))
