"""Regions: how often boxes are drawn here and there in an image, by the cortex, medulla, … that somebody outlined."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from malpighi.annotations.base import Annotation
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.sampling.labelled import blocks_of


@dataclass(frozen=True, eq=False)
class Weight:
    """How often boxes of one case are drawn, relative to those of others of its size: a box counts by where its middle lies.

    Attributes:
        whole: of the case as a whole.
        cells: (*grid) float64 ≥ 0: of its cells, relative to one another and to those of other cases. None: all are 1.
        cell: size of a cell in voxels of the spacing; empty without `cells`.
    """

    whole: float = 1.0
    cells: np.ndarray | None = None
    cell: tuple[int, ...] = ()

    @property
    def mean(self) -> float:
        """Over the whole case."""
        return self.whole * (1.0 if self.cells is None else float(self.cells.mean()))

    def of(self, box: Box) -> float:
        """Of one box."""
        return float(self.of_boxes(np.array([box.start]), box.size)[0])

    def of_boxes(self, starts: np.ndarray, tile: tuple[int, ...]) -> np.ndarray:
        """(N,) float64 of boxes of size `tile`, `starts` (N, rank) in voxels."""
        return self.at(np.asarray(starts) + np.array(tile) // 2)

    def at(self, points: np.ndarray) -> np.ndarray:
        """(N,) float64 at voxels, (N, rank); one outside the image counts as the nearest inside."""
        if self.cells is None:
            return np.full(len(points), self.whole)
        last = np.array(self.cells.shape) - 1
        index = np.clip(np.asarray(points) // self.cell, 0, last)
        return self.whole * self.cells[tuple(index.T)]

    def place(self, rng: np.random.Generator) -> tuple[int, ...]:
        """A voxel, by the weight of its cell. There must be one that is not 0."""
        assert self.cells is not None, "asked for where weights differ"
        ends = self.cells.cumsum()
        number = min(int(np.searchsorted(ends, rng.random() * ends[-1], side="right")), len(ends) - 1)
        corner = np.unravel_index(number, self.cells.shape)
        return tuple(int(i) * c + int(rng.integers(c)) for i, c in zip(corner, self.cell, strict=True))


def open_regions(path: Path, space: Space) -> Annotation:
    """The outlines of a file that names what they are, on the `space` of an image.

    Raises:
        DataError: it cannot be read, or is no file of outlines.
    """
    from malpighi.annotations.open import read_outlines
    from malpighi.annotations.outlines import ShapesAnnotation

    outlines = read_outlines(path)
    if outlines is None:
        raise DataError(f"{path}: regions are outlines that have names; give a GeoJSON file (QuPath writes one)")
    return ShapesAnnotation(str(path), space, outlines)


def weigh_regions(
    annotation: Annotation,
    spacing: Spacing,
    tile: tuple[int, ...],
    weights: Sequence[tuple[str, float]],
    elsewhere: float = 1.0,
    advance: Callable[[float], object] = lambda part: None,
) -> tuple[np.ndarray, tuple[int, ...]]:
    """The weights of an image's cells, an eighth of the tile wide, each by the region that its middle lies in; and a cell's size.

    Args:
        annotation: of regions; its classes are their names.
        tile: size of training tiles in voxels of `spacing`.
        weights: (name, weight) of some of the regions; where two overlap the later one counts.
        elsewhere: of what is outside of all of them.
        advance: called with the part of the image that is done, block by block; they add up to 1.
    """
    shape = annotation.space.shape_at(spacing)
    cell = tuple(max(1, t // 8) for t in tile)
    cells = np.full([-(-n // c) for n, c in zip(shape, cell, strict=True)], float(elsewhere))
    for box in blocks_of(shape, cell):
        layers = dict(zip(annotation.classes, annotation.rasterise(box, spacing), strict=True))
        middles = np.ix_(*(_middles(n, c) for n, c in zip(box.size, cell, strict=True)))
        at = tuple(slice(a // c, -(-b // c)) for a, b, c in zip(box.start, box.stop, cell, strict=True))
        for name, weight in weights:
            if name in layers:
                cells[at][layers[name][middles] == 1] = weight
        advance(box.volume / math.prod(shape))
    return cells, cell


def _middles(size: int, cell: int) -> np.ndarray:
    """Indices of the middles of an axis' cells; the last may be cut by the border."""
    starts = np.arange(0, size, cell)
    return (starts + np.minimum(starts + cell, size)) // 2
