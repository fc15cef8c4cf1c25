"""Areas of surface elements: what the marching-cubes triangles of a 2×2×2 neighbourhood measure at a given spacing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from malpighi.errors import DataError

_TRIANGLES: dict[int, dict[int, tuple[tuple[int, ...], ...]]] = {
    3: {
        0b00000001: ((1, 1, 1),),
        0b00000011: ((2, 2, 0), (2, 2, 0)),
        0b00000110: ((1, 1, 1), (1, 1, 1)),
        0b00000111: ((4, 0, 0), (2, 2, 2), (1, 1, 1)),
        0b00001111: ((4, 0, 0), (4, 0, 0)),
        0b00010110: ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
        0b00010111: ((2, 2, 2), (2, 2, 2), (1, 1, 1), (1, 1, 1)),
        0b00011000: ((1, 1, 1), (1, 1, 1)),
        0b00011001: ((0, 2, 2), (0, 2, 2), (1, 1, 1)),
        0b00011011: ((3, 3, 3), (0, 2, 2), (2, 0, 2), (1, 1, 1)),
        0b00011110: ((4, 0, 0), (2, 2, 2), (1, 1, 1), (1, 1, 1)),
        0b00111100: ((2, 2, 0), (2, 2, 0), (2, 2, 0), (2, 2, 0)),
        0b01101001: ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)),
    },
    2: {0b0001: ((4, 4),), 0b0011: ((8, 0),), 0b0110: ((4, 4), (4, 4))},
}
"""Rank → neighbourhood → |normals| of its triangles (2-D: of its line pieces) in eighths; a normal's length is the area.

One neighbourhood of each kind: all others follow by turning, mirroring, and exchanging inside and outside. The numbers are
those of DeepMind's table (surface-distance, Nikolov et al. 2018), which has just these symmetries.
"""


@lru_cache(maxsize=32)
def _normals(rank: int) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """|normals| of every neighbourhood; bit 4·dz + 2·dy + dx of its code is the voxel at (dz, dy, dx) of the cube."""
    corners = 1 << rank
    table: list[tuple[tuple[int, ...], ...]] = [()] * (1 << corners)
    for code, normals in _TRIANGLES[rank].items():
        cube = np.array([code >> i & 1 for i in range(corners)]).reshape((2,) * rank)
        for axes in itertools.permutations(range(rank)):
            turned = tuple(tuple(normal[a] for a in axes) for normal in normals)
            for flipped in itertools.product((slice(None), slice(None, None, -1)), repeat=rank):
                alike = cube.transpose(axes)[flipped].ravel()
                same = sum(int(v) << i for i, v in enumerate(alike))
                table[same] = table[(1 << corners) - 1 - same] = turned
    return tuple(table)


def area_table(spacing: Sequence[float]) -> np.ndarray:
    """Area of the surface in every neighbourhood of 2×2×2 voxels (length of the outline in 2×2 pixels).

    Equal to the tables of DeepMind's `surface-distance`, but for the order of the bits.

    Args:
        spacing: (z, y, x) or (y, x).

    Returns:
        (256,) or (16,) float64, in the square of the spacing's unit (2-D: in the unit); 0 where all voxels are alike.

    Raises:
        DataError: neither two nor three axes, or a spacing that is not positive.
    """
    values = tuple(float(v) for v in spacing)
    if len(values) not in _TRIANGLES or not all(math.isfinite(v) and v > 0 for v in values):
        raise DataError(f"spacing {values}: surfaces need two or three positive numbers, one an axis")
    face = np.array([math.prod(values) / v for v in values])  # of the voxel's side across each axis
    return np.array([sum(float(np.linalg.norm(np.array(n) / 8 * face)) for n in normals) for normals in _normals(len(values))])
