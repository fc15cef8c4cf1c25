"""A detector's boxes beside a mask: where an object is found but only part of it is in the mask, the rest is filled in.

After kidney-35th of "HuBMAP: Hacking the Kidney" (2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from malpighi.geometry import Box

ELLIPSE = math.pi / 4
"""Share of a box that the ellipse in it takes."""

Read = Callable[[Box], np.ndarray]


def pixels_of(bounds: np.ndarray, shape: Sequence[int]) -> Box:
    """The pixels of a mask of `shape` whose centres lie in a box of y0, x0, y1, x1."""
    y0, x0, y1, x1 = (math.ceil(float(v) - 0.5) for v in bounds)
    return Box.of_bounds((y0, x0), (y1, x1)).clip(shape)


def shares(read: Read, shape: Sequence[int], bounds: np.ndarray) -> np.ndarray:
    """(box,) share of each box that is mask; 0 of a box without a pixel. One box is read at a time.

    Args:
        read: box → (y, x) mask, anything but 0 is set.
        shape: (y, x) of the mask.
        bounds: (box, 4) y0, x0, y1, x1 in pixels of the mask, half-open; what lies outside the mask is not counted.
    """
    boxes = [pixels_of(each, shape) for each in bounds]
    return np.array([np.count_nonzero(read(box)) / box.volume if box.volume else 0.0 for box in boxes])


def broken(share: np.ndarray, agree: float, least: float) -> np.ndarray:
    """(box,) bool: which objects the mask has only a part of.

    Args:
        share: of each box that is mask.
        agree: less than this times the share of the ellipse in the box is a part.
        least: below this share the detector stands alone, and the mask is believed.
    """
    return (share >= least) & (share < agree * ELLIPSE)


def ellipse(bounds: np.ndarray, box: Box) -> np.ndarray:
    """(y, x) bool over `box`: the pixels whose centres lie in the ellipse inscribed in y0, x0, y1, x1."""
    (y0, x0, y1, x1), (height, width) = (float(v) for v in bounds), box.size
    rows = (np.arange(height) + box.start[0] + 0.5 - (y0 + y1) / 2) / max((y1 - y0) / 2, 1e-9)
    columns = (np.arange(width) + box.start[1] + 0.5 - (x0 + x1) / 2) / max((x1 - x0) / 2, 1e-9)
    return np.asarray(rows[:, None] ** 2 + columns**2 <= 1)


def fill(
    read: Read, write: Callable[[Box, np.ndarray], None], shape: Sequence[int], align: Sequence[int], bounds: np.ndarray
) -> None:
    """Fill the ellipse of every box into a mask; parts of the mask that no box meets are neither read nor written.

    Args:
        read: box → (y, x) mask, anything but 0 is set.
        write: given a box of the mask, cut along multiples of `align`, and its new (y, x) uint8 of 0 and 1.
        shape: (y, x) of the mask.
        align: sides of what is written at a time.
        bounds: (box, 4) y0, x0, y1, x1 in pixels of the mask.
    """
    met: dict[Box, list[int]] = {}
    for number, each in enumerate(bounds):
        inside = pixels_of(each, shape)
        if not inside.empty:
            for piece in inside.split(tuple(align)):
                met.setdefault(piece.snap(tuple(align)).clip(shape), []).append(number)
    for block in sorted(met):
        before = np.asarray(read(block)) != 0
        after = before.copy()
        for number in met[block]:
            part = pixels_of(bounds[number], shape).intersect(block)
            after[part.relative_to(block.start).slices] |= ellipse(bounds[number], part)
        if (after != before).any():
            write(block, after.view(np.uint8))
