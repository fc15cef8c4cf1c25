"""Window: how much each tile counts at each of its voxels, normalised before anything is predicted."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property, lru_cache

import numpy as np

from malpighi.geometry import Box, Grid
from malpighi.inference.options import WindowKind

_KEPT = 4  # full-size weight arrays held at a time: in C order a row of tiles needs a first, an inner and a last one


class Window:
    """The weights of every tile of a grid; at each voxel of the image they sum to one over the tiles that cover it.

    The weight of a voxel is a product of one factor an axis, and the sum over a grid of products is the product of the
    sums: it is enough to normalise each axis by itself, over the tiles that exist on it. The first and last tiles have
    weights of their own because they lack neighbours. So blending needs no count buffer, and a voxel's weights do not
    depend on what part of the image is worked.
    """

    def __init__(self, grid: Grid, kind: WindowKind) -> None:
        self.grid = grid
        self.kind = kind
        self._arrays: OrderedDict[tuple[tuple[int, int], ...], np.ndarray] = OrderedDict()

    @cached_property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        """First and last tile index by axis."""
        return tuple(
            (-1 if o > 0 else 0, (n - 1 - o) // s)
            for n, o, s in zip(self.grid.shape, self.grid.offset, self.grid.step, strict=True)
        )

    def span(self, axis: int, index: int) -> tuple[int, int]:
        """The voxels start … stop of the image, along `axis`, to which tile `index` contributes."""
        step, tile = self.grid.step[axis], self.grid.tile[axis]
        start = index * step + self.grid.offset[axis]
        if self.kind == "center":
            stop = start + step
        else:
            start -= self.grid.margin[axis]
            stop = start + tile
        return max(0, start), min(self.grid.shape[axis], stop)

    def reach(self, index: tuple[int, ...]) -> Box:
        """The part of the image to which tile `index` contributes."""
        spans = [self.span(axis, i) for axis, i in enumerate(index)]
        return Box.of_bounds([a for a, _ in spans], [b for _, b in spans])

    def weights(self, index: tuple[int, ...]) -> np.ndarray | None:
        """(*tile) float32 weights of tile `index`; None where every voxel of its `reach` counts in full."""
        if self.kind == "center":
            return None
        neighbours = tuple(self._neighbours(axis, i) for axis, i in enumerate(index))
        if neighbours not in self._arrays:
            self._arrays[neighbours] = self._product(neighbours)
            if len(self._arrays) > _KEPT:
                self._arrays.popitem(last=False)
        self._arrays.move_to_end(neighbours)
        return self._arrays[neighbours]

    def _neighbours(self, axis: int, index: int) -> tuple[int, int]:
        """How many of the tiles before and after this one, of those that can overlap it, exist."""
        near = (self.grid.tile[axis] - 1) // self.grid.step[axis]
        first, last = self.bounds[axis]
        return min(near, index - first), min(near, last - index)

    def _product(self, neighbours: tuple[tuple[int, int], ...]) -> np.ndarray:
        product = np.ones((), np.float32)
        for (before, after), tile, step in zip(neighbours, self.grid.tile, self.grid.step, strict=True):
            product = product[..., None] * axis_weights(self.kind, tile, step, before, after)
        return product


@lru_cache(maxsize=64)
def axis_weights(kind: WindowKind, tile: int, step: int, before: int, after: int) -> np.ndarray:
    """(tile,) float32 weights along one axis of a tile with `before` and `after` neighbours, each `step` further on."""
    profile = _profile(kind, tile)
    total = profile.copy()
    for away in range(step, before * step + 1, step):
        total[: tile - away] += profile[away:]
    for away in range(step, after * step + 1, step):
        total[away:] += profile[: tile - away]
    weights = (profile / total).astype(np.float32)
    weights.flags.writeable = False
    return weights


def _profile(kind: WindowKind, tile: int) -> np.ndarray:
    """(tile,) float64, positive: how trusted a voxel is by its distance from the tile's centre."""
    place = np.arange(tile) + 0.5
    if kind == "pyramid":
        return np.minimum(place, tile - place)
    return np.exp(-0.5 * ((place - tile / 2) / (tile / 8)) ** 2)  # σ as in nnU-Net and MONAI
