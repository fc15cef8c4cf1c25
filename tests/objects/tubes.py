"""Tubes for tests: balls drawn along lines, whose lengths and radii are known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from malpighi.objects.bits import BitBlocks


def tube(
    shape: Sequence[int], line: Sequence[Sequence[float]], radius: float, spacing: Sequence[float] = (1, 1, 1)
) -> np.ndarray:
    """Voxels whose centre lies within `radius` of a polyline; all in the unit of `spacing`, voxel i covers [i, i + 1)."""
    line = np.asarray(line, float)
    where = [(np.arange(n) + 0.5) * s for n, s in zip(shape, spacing, strict=True)]
    solid = np.zeros(shape, bool)
    for a, b in itertools.pairwise(line):
        box = []
        for axis, centres in enumerate(where):
            near = np.flatnonzero(np.abs(centres - (a + b)[axis] / 2) <= np.abs(a - b)[axis] / 2 + radius)
            if not len(near):
                break
            box.append(slice(near[0], near[-1] + 1))
        else:
            grid = np.stack(np.meshgrid(*(c[s] for c, s in zip(where, box, strict=True)), indexing="ij"), axis=-1)
            along = np.clip(((grid - a) @ (b - a)) / max(1e-12, ((b - a) ** 2).sum()), 0, 1)
            solid[tuple(box)] |= ((grid - a - along[..., None] * (b - a)) ** 2).sum(-1) <= radius**2
    return solid


def blocks(mask: np.ndarray, block: int | None = None) -> BitBlocks:
    """A mask in memory, read as if from a file."""
    return BitBlocks(lambda box: mask[box.slices], mask.shape, block)
