"""Warp: where each output voxel comes from. Every geometric transform, composed into one B-spline lattice; any rank.

The position in the input of the output voxel at `c`, both from their tile's centre, is

    matrix @ (c + bend(c)) + shift

where `bend` is a uniform cubic B-spline over a few control points (free-form deformation, Rueckert et al. 1999). A
B-spline reproduces what is linear, so the affine part moves into the control points exactly, and the dense map of a whole tile
is one small matrix product an axis: 1.2 ms for 1024², where smoothing dense noise would cost tens.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from malpighi.sampling.augment import AugmentOptions

CELLS = 8
"""Cells of the lattice on each axis; it has CELLS + 3 control points."""


@dataclass(frozen=True, eq=False)
class Warp:
    """The geometric change of one item; lengths in output voxels.

    Attributes:
        matrix: (rank, rank), output direction → input direction.
        shift: (rank,) voxels.
        bend: (rank, *(CELLS + 3,) * rank) control points' displacements, or None.
    """

    matrix: np.ndarray
    shift: np.ndarray
    bend: np.ndarray | None = None

    @property
    def exact(self) -> bool:
        """Whether voxels only change places (mirrors and quarter turns), so that nothing needs interpolation."""
        return self.bend is None and not self.shift.any() and bool(np.isin(self.matrix, (-1.0, 0.0, 1.0)).all())

    def controls(self, in_size: tuple[int, ...], out_size: tuple[int, ...]) -> np.ndarray:
        """Control points of the whole map: (rank, *(CELLS + 3,) * rank) float32 input voxel indices."""
        nodes = np.stack(np.meshgrid(*(_nodes(n) for n in out_size), indexing="ij"))
        moved = nodes if self.bend is None else nodes + self.bend
        centre = [a + (o - 1) / 2 for a, o in zip(crop_start(in_size, out_size), out_size, strict=True)]
        offset = (self.shift + centre).reshape(-1, *(1,) * len(out_size))
        return (np.tensordot(self.matrix, moved, 1) + offset).astype(np.float32)

    def strips(
        self, in_size: tuple[int, ...], out_size: tuple[int, ...], rows: int
    ) -> Iterator[tuple[slice, list[np.ndarray]]]:
        """For each axis the input voxel index of every output voxel, `rows` of the first axis at a time.

        Yields:
            The rows, and float32 arrays (rows, *out_size[1:]): small enough to stay in the cache until they are used.
        """
        first, *others = (spline_weights(n) for n in out_size)
        half = [spread(np.moveaxis(axis, 0, -1), others, np.tensordot) for axis in self.controls(in_size, out_size)]
        for start in range(0, out_size[0], rows):
            part = slice(start, min(start + rows, out_size[0]))
            yield part, [np.tensordot(first[part], axis, 1) for axis in half]

    def turned(self, array: Any, out_size: tuple[int, ...]) -> Any:
        """For an `exact` warp: (channel, *in) array or tensor → (channel, *out), voxels only moved."""
        start = crop_start(array.shape[1:], out_size)
        array = array[(slice(None), *(slice(a, a + n) for a, n in zip(start, out_size, strict=True)))]
        source = [0, *(int(np.flatnonzero(column)[0]) + 1 for column in self.matrix.T)]  # the input axis of each output axis
        mirrored = [axis for axis in range(1, array.ndim) if self.matrix[source[axis] - 1, axis - 1] < 0]
        if isinstance(array, np.ndarray):
            return np.flip(array.transpose(source), tuple(mirrored))
        return array.permute(source).flip(mirrored)


def crop_start(in_size: tuple[int, ...], out_size: tuple[int, ...]) -> tuple[int, ...]:
    """Where the central `out_size` of a tile begins."""
    return tuple((n - o) // 2 for n, o in zip(in_size, out_size, strict=True))


def spread(lattice: Any, weights: list[Any], tensordot: Any) -> Any:
    """Interpolate a lattice with one weight matrix an axis; NumPy's or torch's `tensordot`.

    Each step uses up the first axis and puts the dense one last, so that after all of them the order is as it was.
    """
    for w in weights:
        lattice = tensordot(lattice, w, ([0], [1]))
    return lattice


@lru_cache(maxsize=64)
def spline_weights(n: int) -> np.ndarray:
    """(n, CELLS + 3) float32: how much each control point counts for each of n voxels; uniform cubic B-spline."""
    u = np.arange(n) * (CELLS / max(n - 1, 1))
    cell = np.minimum(u.astype(int), CELLS - 1)
    t = u - cell
    taps = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    weights = np.zeros((n, CELLS + 3))
    for k, tap in enumerate(taps):
        weights[np.arange(n), cell + k] = tap / 6
    weights.flags.writeable = False
    return weights.astype(np.float32)


def draw_warp(
    rng: np.random.Generator, options: AugmentOptions, out_size: tuple[int, ...], spacing: tuple[float, ...] = ()
) -> Warp:
    """A random warp. Angles are true in the tissue: `spacing` is the voxel's size by axis, equal on all where not given."""
    rank = len(out_size)
    voxel = np.asarray(spacing or (1.0,) * rank, float)
    pose = _pose(rng, out_size, voxel) if options.flips else np.eye(rank)
    matrix, shift = pose, np.zeros(rank)
    if (options.rotate or options.scale or options.shift or options.shear) and rng.random() < options.chance:
        matrix = (_affine(rng, options, rank) * voxel[None, :] / voxel[:, None]) @ pose  # turned in the tissue, not in voxels
        shift = rng.uniform(-options.shift, options.shift, rank) * out_size
    return Warp(matrix, shift, _bend(rng, options, out_size))


def _pose(rng: np.random.Generator, out_size: tuple[int, ...], voxel: np.ndarray) -> np.ndarray:
    """Mirrors, and exchanges of axes that are alike: a signed permutation matrix."""
    rank = len(out_size)
    order = np.arange(rank)
    for kind in {(n, v) for n, v in zip(out_size, voxel, strict=True)}:
        alike = [axis for axis in range(rank) if (out_size[axis], voxel[axis]) == kind]
        order[alike] = rng.permutation(alike)
    return np.eye(rank)[order] * rng.choice((-1.0, 1.0), rank)


def _affine(rng: np.random.Generator, options: AugmentOptions, rank: int) -> np.ndarray:
    """Rotation in every plane, shear and zoom, as an output → input matrix."""
    matrix = np.eye(rank)
    for i, j in itertools.combinations(range(rank), 2):
        angle = math.radians(rng.uniform(-options.rotate, options.rotate))
        turn, lean = np.eye(rank), np.eye(rank)
        turn[[i, i, j, j], [i, j, i, j]] = math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
        lean[i, j] = math.tan(math.radians(rng.uniform(-options.shear, options.shear)))
        matrix = matrix @ turn @ lean
    return matrix * math.exp(rng.uniform(-1, 1) * math.log1p(options.scale))


def _bend(rng: np.random.Generator, options: AugmentOptions, out_size: tuple[int, ...]) -> np.ndarray | None:
    """Displacements of the control points: elastic + grid + optical + piecewise-affine; None where none was drawn."""
    rank, parts = len(out_size), []
    cell = np.asarray([max(n - 1, 1) / CELLS for n in out_size]).reshape(-1, *(1,) * rank)
    nodes = np.stack(np.meshgrid(*(np.arange(-1, CELLS + 2) - CELLS / 2.0,) * rank, indexing="ij"))  # in cells
    if options.elastic and rng.random() < options.chance:
        # beyond 0.4 cells a B-spline lattice may fold over itself (Choi & Lee 2000)
        parts.append(np.clip(rng.normal(0, options.elastic, nodes.shape), -0.4, 0.4))
    if options.distort and rng.random() < options.chance:
        parts.append(_grid(rng, options.distort, nodes))
    if options.distort and rng.random() < options.chance:
        radius2 = (nodes**2).sum(0) / (rank * (CELLS / 2) ** 2)  # 1 in the tile's corners
        parts.append(nodes * radius2 * rng.uniform(-options.distort, options.distort) / 2)
    if options.distort and rng.random() < options.chance:
        parts.append(_piecewise(rng, options.distort, rank))
    return sum(parts) * cell if parts else None


def _grid(rng: np.random.Generator, strength: float, nodes: np.ndarray, parts: int = 5) -> np.ndarray:
    """Grid distortion: each axis cut into `parts`, each of which grows or shrinks; the whole keeps its length."""
    moved = np.empty_like(nodes)
    for axis, along in enumerate(nodes):
        steps = rng.uniform(1 - strength, 1 + strength, parts)
        edges = np.concatenate([[0], np.cumsum(steps)]) * (CELLS / steps.sum()) - CELLS / 2
        moved[axis] = np.interp(along, np.linspace(-CELLS / 2, CELLS / 2, parts + 1), edges) - np.clip(
            along, -CELLS / 2, CELLS / 2
        )
    return moved


def _piecewise(rng: np.random.Generator, strength: float, rank: int, parts: int = 4) -> np.ndarray:
    """Piecewise-affine distortion: a coarse mesh is jittered, and what lies between its knots follows linearly."""
    u = np.clip(np.arange(-1, CELLS + 2) * (parts / CELLS), 0, parts)
    hat = np.maximum(0, 1 - np.abs(u[:, None] - np.arange(parts + 1)))  # (control points, knots)
    jitter = rng.normal(0, strength * CELLS / parts / 4, (rank, *(parts + 1,) * rank))
    return np.stack([spread(axis, [hat] * rank, np.tensordot) for axis in jitter])


def _nodes(n: int) -> np.ndarray:
    """Positions of the control points of an axis of n voxels, from its centre, in voxels."""
    return (np.arange(-1, CELLS + 2) - CELLS / 2) * (max(n - 1, 1) / CELLS)
