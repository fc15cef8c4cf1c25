"""Labelled: where anybody said what is there, coarsely, so that no training box is wholly unlabelled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from malpighi.annotations.base import UNLABELLED, Annotation
from malpighi.geometry import Box, Spacing


@dataclass(frozen=True, eq=False)
class Labelled:
    """The cells of one case that hold a labelled voxel, of whatever class.

    Attributes:
        cells: (*grid) bool; cell i of an axis spans voxels i·cell … (i + 1)·cell at the working spacing.
        cell: its size.
        shape: of the case.
    """

    cells: np.ndarray
    cell: tuple[int, ...]
    shape: tuple[int, ...]
    _some: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_some", np.flatnonzero(self.cells))

    def any(self, box: Box) -> bool:
        """Whether a cell that holds something lies in `box` as a whole: then the box does hold a labelled voxel."""
        inside = box.clip(self.shape)
        first = tuple(-(-a // c) for a, c in zip(inside.start, self.cell, strict=True))
        # the last cell of an axis ends with the image
        ends = zip(inside.stop, self.cell, self.shape, strict=True)
        last = tuple(math.ceil(b / c) if b == n else b // c for b, c, n in ends)
        return bool(self.cells[tuple(slice(a, max(a, b)) for a, b in zip(first, last, strict=True))].any())

    @property
    def count(self) -> int:
        """Cells that hold something."""
        return len(self._some)

    def place(self, number: int) -> Box:
        """The voxels of such a cell, `number` from 0."""
        index = np.unravel_index(int(self._some[number]), self.cells.shape)
        corner = tuple(int(i) * c for i, c in zip(index, self.cell, strict=True))
        return Box(corner, self.cell).clip(self.shape)


def find_labelled(
    annotation: Annotation, spacing: Spacing, tile: tuple[int, ...], advance: Callable[[float], object] = lambda part: None
) -> Labelled:
    """Look through the whole annotation, block by block, in cells of an eighth of the tile.

    Args:
        tile: size of training tiles in voxels of `spacing`.
        advance: called with the part of the image that is done, block by block; they add up to 1.
    """
    return find_cells(annotation, spacing, tile, lambda layers: layers != UNLABELLED, advance)


def find_cells(
    annotation: Annotation,
    spacing: Spacing,
    tile: tuple[int, ...],
    wanted: Callable[[np.ndarray], np.ndarray],
    advance: Callable[[float], object] = lambda part: None,
) -> Labelled:
    """`find_labelled`, of the voxels where `wanted` is true of a layer: (class, *spatial) uint8 → bool."""
    shape = annotation.space.shape_at(spacing)
    cell = tuple(max(1, t // 8) for t in tile)
    cells = np.zeros([-(-n // c) for n, c in zip(shape, cell, strict=True)], bool)
    for box in blocks_of(shape, cell):
        told = wanted(annotation.rasterise(box, spacing)).any(0)
        grown = np.pad(told, [(0, -n % c) for n, c in zip(told.shape, cell, strict=True)])
        split = grown.reshape([v for n, c in zip(grown.shape, cell, strict=True) for v in (n // c, c)])
        at = tuple(slice(a // c, -(-b // c)) for a, b, c in zip(box.start, box.stop, cell, strict=True))
        cells[at] = split.any(axis=tuple(range(1, 2 * len(cell), 2)))
        advance(box.volume / math.prod(shape))
    return Labelled(cells, cell, shape)


def blocks_of(shape: tuple[int, ...], cell: tuple[int, ...]) -> Iterator[Box]:
    """An image in the boxes in which it is gone through, cut along cells: some 2048 wide in 2-D, 256 in 3-D."""
    side = 2048 if len(shape) == 2 else 256
    yield from Box.of_shape(shape).split(tuple(max(c, side // c * c) for c in cell))
