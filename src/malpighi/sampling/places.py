"""Places: where boxes of one size may lie in a list of cases, and how likely each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.sampling.regions import Weight

Shapes = Sequence[tuple[int, ...]]

TRIES = 16
"""Boxes drawn anywhere in an image, each kept by chance as its region's weight asks, before one is laid over a cell chosen by weight."""
NO_WEIGHT = (
    "all {} images to train on have weight 0; give one a weight in manifest.csv, or a region of them in sampling.region_weights"
)


@dataclass(frozen=True, eq=False)
class Places:
    """Where boxes of one size may lie; see `places_of`.

    Attributes:
        ends: areas of the cases (3-D: volumes), times their weight, added up.
        weights: one a case; empty: all alike.
    """

    shapes: tuple[tuple[int, ...], ...]
    tile: tuple[int, ...]
    ends: np.ndarray
    weights: tuple[Weight, ...]

    def anywhere(self, rng: np.random.Generator) -> tuple[int, Box]:
        """One random box: (case index, box)."""
        case = chosen(self.ends, rng)
        weight = self.weights[case] if self.weights else Weight()
        if weight.cells is None:
            return case, self._inside(case, rng)
        most = weight.whole * float(weight.cells.max())
        for _ in range(TRIES):
            box = self._inside(case, rng)
            if rng.random() * most < weight.of(box):
                return case, box
        start = [middle - t // 2 for middle, t in zip(weight.place(rng), self.tile, strict=True)]
        return case, Box(kept(start, self.shapes[case], self.tile), self.tile)

    def around(self, case: int, centre: Sequence[float]) -> Box:
        """The box around a voxel, moved inside the image where it would hang over."""
        start = tuple(round(c - (t - 1) / 2) for c, t in zip(centre, self.tile, strict=True))
        return Box(kept(start, self.shapes[case], self.tile), self.tile)

    def _inside(self, case: int, rng: np.random.Generator) -> Box:
        ranges = [sorted((0, size - t)) for size, t in zip(self.shapes[case], self.tile, strict=True)]
        return Box(tuple(int(rng.integers(low, high + 1)) for low, high in ranges), self.tile)


def places_of(shapes: Shapes, tile: tuple[int, ...], weights: Sequence[Weight] = ()) -> Places:
    """Cases in proportion to their area, times weights where there are any.

    Raises:
        DataError: nothing has any weight.
    """
    shapes = checked(shapes, tile)
    factors = [weight.mean for weight in weights] or [1.0] * len(shapes)
    ends = np.cumsum([np.prod(shape, dtype=float) * factor for shape, factor in zip(shapes, factors, strict=True)])
    if not ends[-1] > 0:
        raise DataError(NO_WEIGHT.format(len(shapes)))
    return Places(shapes, tuple(tile), ends, tuple(weights))


def chosen(ends: np.ndarray, rng: np.random.Generator) -> int:
    """One index, by weights that are added up."""
    return min(int(np.searchsorted(ends, rng.random() * ends[-1], side="right")), len(ends) - 1)


def kept(start: Sequence[int], shape: tuple[int, ...], tile: tuple[int, ...]) -> tuple[int, ...]:
    """The start moved so that the tile hangs over the border no more than it must."""
    low_high = (sorted((0, size - t)) for size, t in zip(shape, tile, strict=True))
    return tuple(min(max(s, low), high) for s, (low, high) in zip(start, low_high, strict=True))


def checked(shapes: Shapes, tile: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The shapes as tuples.

    Raises:
        ValueError: none is given, or one does not fit the tile's rank.
    """
    found = tuple(tuple(int(n) for n in shape) for shape in shapes)
    wrong = [shape for shape in found if len(shape) != len(tile) or min(shape) < 1]
    if wrong or not found or min(tile) < 1:
        raise ValueError(f"shapes {wrong or found} and tile {tile}: need at least one case, equal rank and sides of 1 or more")
    return found
