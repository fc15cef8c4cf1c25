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

from malpighi.geometry import Box

if TYPE_CHECKING:
    from malpighi.sampling.augment import AugmentOptions

CELLS = 8
"""Cells of the lattice on each axis; it has CELLS + 3 control points."""

_TINY = 1e-3  # voxels: what float32 adds to a whole number must not cost a slice


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

    def controls(self, start: tuple[int, ...], out_size: tuple[int, ...]) -> np.ndarray:
        """Control points of the whole map: (rank, *(CELLS + 3,) * rank) float32 input voxel indices.

        Args:
            start: input voxel at which the output's first one lies when nothing is changed.
        """
        nodes = np.stack(np.meshgrid(*(_nodes(n) for n in out_size), indexing="ij"))
        moved = nodes if self.bend is None else nodes + self.bend
        centre = [a + (o - 1) / 2 for a, o in zip(start, out_size, strict=True)]
        offset = (self.shift + centre).reshape(-1, *(1,) * len(out_size))
        return (np.tensordot(self.matrix, moved, 1) + offset).astype(np.float32)

    def strips(
        self, start: tuple[int, ...], out_size: tuple[int, ...], rows: int, part: Box | None = None
    ) -> Iterator[tuple[slice, list[np.ndarray]]]:
        """For each axis the input voxel index of every output voxel, `rows` of the first axis at a time.

        Args:
            part: of the output; all of it where None.

        Yields:
            The rows, from the part's first, and float32 arrays (rows, *out_size[1:]): small enough to stay in the cache until
            they are used. A few slices of a volume come all at once.
        """
        first, *others = _weights(out_size, part)
        if len(others) == 2 and len(first) < CELLS + 3:  # a few slices: fewer than there are control points across them
            yield (
                slice(0, len(first)),
                [spread(axis, [first, *others], np.tensordot) for axis in self.controls(start, out_size)],
            )
            return
        half = [spread(np.moveaxis(axis, 0, -1), others, np.tensordot) for axis in self.controls(start, out_size)]
        for row in range(0, len(first), rows):
            some = slice(row, min(row + rows, len(first)))
            yield some, [np.tensordot(first[some], axis, 1) for axis in half]

    def needed(self, out_size: tuple[int, ...], part: Box | None = None) -> Box:
        """The input voxels that the output, or a part of it, is made of, counted from the output's first voxel.

        A warp that does not fold takes the tile's surface to the surface of what it reads: that alone is looked at.
        """
        if self.exact and part is None:
            return Box.of_shape(out_size)
        if part is None and (slices := self.slices) is not None:
            plane = slices.plane.needed(out_size[1:])
            start, stop = list(plane.start), list(plane.stop)
            start.insert(slices.axis, 0)
            stop.insert(slices.axis, out_size[0])
            return Box.of_bounds(start, stop)
        rank = len(out_size)
        controls, full = self.controls((0,) * rank, out_size), _weights(out_size, part)
        ends = [weights[[0, -1]] for weights in full]
        faces = [ends]  # the corners, which bound what is linear
        if self.bend is not None:
            faces = [[ends[a] if a == face else full[a] for a in range(rank)] for face in range(rank)]
        seen = [[spread(axis, weights, np.tensordot) for axis in controls] for weights in faces]
        low = [min(float(face[a].min()) for face in seen) for a in range(rank)]
        high = [max(float(face[a].max()) for face in seen) for a in range(rank)]
        return Box.of_bounds([math.floor(v + _TINY) for v in low], [math.ceil(v - _TINY) + 1 for v in high])

    @property
    def slices(self) -> Slices | None:
        """How the slices along the first axis stay slices of the input; None where they do not, and in 2-D."""
        if len(self.shift) != 3:
            return None
        axis = int(np.argmax(np.abs(self.matrix[:, 0])))
        others = [i for i in range(3) if i != axis]
        apart = abs(self.matrix[axis, 0]) == 1 and not self.matrix[axis, 1:].any() and not self.matrix[others, 0].any()
        alike = self.bend is None or not (self.bend[0].any() or (self.bend != self.bend[:, :1]).any())
        if not (apart and alike and self.shift[axis] == 0):
            return None
        plane = Warp(self.matrix[others, 1:], self.shift[others], None if self.bend is None else self.bend[1:, 0])
        return Slices(axis, bool(self.matrix[axis, 0] < 0), plane)

    def turned(self, array: Any, out_size: tuple[int, ...], start: tuple[int, ...] = ()) -> Any:
        """For an `exact` warp: (channel, *in) array or tensor → (channel, *out), voxels only moved; the centre if no `start`."""
        start = start or crop_start(array.shape[1:], out_size)
        array = array[(slice(None), *(slice(a, a + n) for a, n in zip(start, out_size, strict=True)))]
        source = [0, *(int(np.flatnonzero(column)[0]) + 1 for column in self.matrix.T)]  # the input axis of each output axis
        mirrored = [axis for axis in range(1, array.ndim) if self.matrix[source[axis] - 1, axis - 1] < 0]
        if isinstance(array, np.ndarray):
            return np.flip(array.transpose(source), tuple(mirrored))
        return array.permute(source).flip(mirrored)


@dataclass(frozen=True, eq=False)
class Slices:
    """A warp of a volume that leaves slices whole: each output slice is one of the input, all changed alike.

    Attributes:
        axis: of the input, across which the slices lie.
        mirrored: whether the last comes first.
        plane: the 2-D warp of every slice, in the input's two other axes.
    """

    axis: int
    mirrored: bool
    plane: Warp


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


def _weights(out_size: tuple[int, ...], part: Box | None) -> list[np.ndarray]:
    """`spline_weights` of every axis, of the part's voxels alone."""
    wanted = [slice(None)] * len(out_size) if part is None else part.slices
    return [spline_weights(n)[voxels] for n, voxels in zip(out_size, wanted, strict=True)]


def draw_warp(
    rng: np.random.Generator, options: AugmentOptions, out_size: tuple[int, ...], spacing: tuple[float, ...] = ()
) -> Warp:
    """A random warp. Angles are true in the tissue: `spacing` is the voxel's size by axis, equal on all where not given."""
    rank = len(out_size)
    voxel = np.asarray(spacing or (1.0,) * rank, float)
    pose = _pose(rng, out_size, voxel) if options.flips else np.eye(rank)
    if rank == 2:
        return _free(rng, options, out_size, voxel, pose)
    if options.tilt and rng.random() < options.chance:
        return _free(rng, options, out_size, voxel, pose, tilted=True)
    return _of_slices(_free(rng, options, out_size[1:], voxel[1:], np.eye(2)), pose)


def _free(
    rng: np.random.Generator,
    options: AugmentOptions,
    out_size: tuple[int, ...],
    voxel: np.ndarray,
    pose: np.ndarray,
    tilted: bool = False,
) -> Warp:
    """A random warp of every axis after the `pose`; what is tilted is turned in any case."""
    rank = len(out_size)
    matrix, shift = pose, np.zeros(rank)
    if tilted or (_moves(options) and rng.random() < options.chance):
        matrix = (_affine(rng, options, rank) * voxel[None, :] / voxel[:, None]) @ pose  # turned in the tissue, not in voxels
        shift = rng.uniform(-options.shift, options.shift, rank) * out_size
    return Warp(matrix, shift, _bend(rng, options, out_size))


def _moves(options: AugmentOptions) -> bool:
    return any((options.rotate, options.scale, options.aspect, options.shift, options.shear))


def _of_slices(plane: Warp, pose: np.ndarray) -> Warp:
    """A 2-D warp of every slice of a volume alike, then the pose."""
    matrix, shift = np.eye(3), np.zeros(3)
    matrix[1:, 1:], shift[1:] = plane.matrix, plane.shift
    bend = None
    if plane.bend is not None:
        bend = np.zeros((3, *(CELLS + 3,) * 3))
        bend[1:] = plane.bend[:, None]
    return Warp(pose @ matrix, pose @ shift, bend)


def _pose(rng: np.random.Generator, out_size: tuple[int, ...], voxel: np.ndarray) -> np.ndarray:
    """Mirrors, and exchanges of axes that are alike: a signed permutation matrix."""
    rank = len(out_size)
    order = np.arange(rank)
    for kind in {(n, v) for n, v in zip(out_size, voxel, strict=True)}:
        alike = [axis for axis in range(rank) if (out_size[axis], voxel[axis]) == kind]
        order[alike] = rng.permutation(alike)
    return np.eye(rank)[order] * rng.choice((-1.0, 1.0), rank)


def _affine(rng: np.random.Generator, options: AugmentOptions, rank: int) -> np.ndarray:
    """Rotation in every plane (in 3-D those with the first axis by `tilt`), shear, zoom and aspect, as an output → input matrix."""
    matrix = np.eye(rank)
    for i, j in itertools.combinations(range(rank), 2):
        largest = options.tilt if rank == 3 and i == 0 else options.rotate
        angle = math.radians(rng.uniform(-largest, largest))
        turn, lean = np.eye(rank), np.eye(rank)
        turn[[i, i, j, j], [i, j, i, j]] = math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
        lean[i, j] = math.tan(math.radians(rng.uniform(-options.shear, options.shear)))
        matrix = matrix @ turn @ lean
    matrix = matrix * math.exp(rng.uniform(-1, 1) * math.log1p(options.scale))
    if not options.aspect:
        return matrix
    longer = np.exp(rng.uniform(-1, 1) * math.log1p(options.aspect) / 2 * np.array([-1.0, 1.0]))  # the area stays
    return matrix * np.append(np.ones(rank - 2), longer)


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
    first = CELLS / 2 if n > 1 else 0  # the only voxel of an axis is its centre
    return (np.arange(-1, CELLS + 2) - first) * (max(n - 1, 1) / CELLS)
