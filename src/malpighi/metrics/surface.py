"""Surface Dice and NSD, exact at every tolerance and spacing, streamed through boxes."""

from __future__ import annotations

import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.metrics.overlap import UNLABELLED
from malpighi.metrics.surface_areas import area_table

Read = Callable[[Box], np.ndarray]
"""Reads one box, which lies inside the image, of a mask: (*spatial), bool or integer."""

BLOCK = {2: 2048, 3: 192}
"""Side of the boxes that are worked at a time, by rank."""
MANY = 20_000
"""Offsets within a tolerance above which a distance transform of every box is quicker: 13 voxels in 3-D, 70 in 2-D."""


@dataclass(frozen=True, slots=True)
class SurfaceOverlap:
    """Areas of two surfaces, and of the parts of each that lie within the tolerance of the other. Areas of images add.

    Attributes:
        predicted, true: areas in the square of the spacing's unit; lengths in 2-D.
        predicted_near, true_near: of the surface elements whose distance to the other surface is at most the tolerance.
    """

    predicted: float = 0.0
    true: float = 0.0
    predicted_near: float = 0.0
    true_near: float = 0.0

    def __add__(self, other: SurfaceOverlap) -> SurfaceOverlap:
        return SurfaceOverlap(
            self.predicted + other.predicted,
            self.true + other.true,
            self.predicted_near + other.predicted_near,
            self.true_near + other.true_near,
        )

    @property
    def dice(self) -> float:
        """Surface Dice (Nikolov et al. 2018), called NSD where the tolerance is more than 0.

        NaN (undefined, neither 0 nor 1) where there is no surface on either side; 0 where there is one on one side only.
        """
        whole = self.predicted + self.true
        return (self.predicted_near + self.true_near) / whole if whole else math.nan


def surface_overlaps(
    prediction: Read,
    truth: Read,
    shape: Sequence[int],
    spacing: Sequence[float],
    tolerances: Sequence[float] = (0.0,),
    block: Sequence[int] | None = None,
    workers: int | None = None,
) -> list[SurfaceOverlap]:
    """Compare the surfaces of two masks that need not fit into memory, at several tolerances in one pass.

    A surface element sits between 2×2×2 voxels (2-D: 2×2 pixels) that are not all alike; outside the image is background.
    Its area is that of its marching-cubes triangles. It is near if the middle of a surface element of the other mask is at
    most the tolerance away: DeepMind's definition (`surface-distance`), whose numbers these are. At tolerance 0 it is near
    if both masks have an element in the same place.

    What nobody labelled (`UNLABELLED`, 255, in the truth) is left out on both sides: a place that touches an unlabelled
    voxel holds no surface element of either mask, so that neither an edge of the labelled part counts as surface, nor what
    is predicted beyond it.

    Meant for tolerances of a few voxels, where only the offsets within them are looked at, 64 elements at a time; above
    `MANY` offsets boxes get a distance transform. Memory: a few boxes grown by the tolerance, whatever the image's size.

    Args:
        prediction: anything but 0 is foreground.
        truth: bool, or integer 0, 1 and 255.
        shape: of the image, 2-D or 3-D.
        spacing: size of a voxel by axis, any unit.
        tolerances: in the unit of the spacing, 0 or more.
        block: sides of the boxes; default `BLOCK`. Results do not depend on it.
        workers: threads that count while the next box is read; default: two.

    Returns:
        One for each tolerance.

    Raises:
        DataError: axes do not match, a tolerance is negative or not finite, or masks of another shape, of floating-point
            numbers or of unknown values are read.
    """
    shape = tuple(int(n) for n in shape)
    areas = area_table(spacing)
    if len(shape) != len(spacing):
        raise DataError(f"shape {shape} and spacing {tuple(spacing)}: give one number an axis")
    if not tolerances or not all(math.isfinite(t) and t >= 0 for t in tolerances):
        raise DataError(f"tolerances {tuple(tolerances)}: give 0 or more, in the unit of the spacing")
    order = np.argsort(tolerances, kind="stable")
    reach = _Reach(spacing, [tolerances[i] for i in order])
    side = tuple(block) if block else (BLOCK[len(shape)],) * len(shape)
    counts = np.zeros((2, 1 + len(tolerances), 256), np.int64)
    workers = workers or min(2, os.cpu_count() or 1)
    waiting: deque[Future[np.ndarray]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for box in Box.of_shape(shape).split(side):
            cubes = _cubes(box, shape)
            needed = Box.of_bounds([a - 1 for a in cubes.start], cubes.stop).grow(reach.halo).clip(shape)
            p, t = _checked(prediction(needed), needed, "prediction"), _checked(truth(needed), needed, "truth")
            waiting.append(pool.submit(_count, p, t, cubes.relative_to(needed.start), reach))
            if len(waiting) > workers:
                counts += waiting.popleft().result()
        for each in waiting:
            counts += each.result()
    if len(shape) == 2:
        areas = _flat(areas)
    predicted, true = (counts * areas).sum(-1)  # no matrix product: equal counts must give equal areas, to the last bit
    out = [SurfaceOverlap()] * len(tolerances)
    for place, i in enumerate(order):
        out[i] = SurfaceOverlap(*(float(v) for v in (predicted[0], true[0], predicted[1 + place], true[1 + place])))
    return out


def surface_overlap(
    prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float] | None = None, tolerance: float = 0.0
) -> SurfaceOverlap:
    """Compare the surfaces of two masks in memory; see `surface_overlaps`.

    Args:
        prediction: (*spatial), 2-D or 3-D, bool or integer.
        truth: same shape.
        spacing: by axis; default 1.
        tolerance: in the unit of the spacing.
    """
    if prediction.shape != truth.shape:
        raise DataError(f"prediction has shape {prediction.shape}, truth {truth.shape}; both must show the same voxels")
    slab = (max(32, 16 * math.ceil(tolerance)), *truth.shape[1:]) if truth.ndim == 3 else None
    (found,) = surface_overlaps(
        lambda box: prediction[box.slices],
        lambda box: truth[box.slices],
        truth.shape,
        (1.0,) * truth.ndim if spacing is None else spacing,
        (tolerance,),
        slab,
    )
    return found


class _Reach:
    """The steps between cubes that lie within each of some ascending tolerances."""

    def __init__(self, spacing: Sequence[float], tolerances: Sequence[float]) -> None:
        self.halo = tuple(int(tolerances[-1] / s * (1 + 1e-9)) for s in spacing)
        self.spacing = tuple(float(s) for s in spacing)
        self.tolerances = tuple(float(t) for t in tolerances)
        self.near_by = math.prod(2 * h + 1 for h in self.halo) <= MANY
        halo = self.halo if self.near_by else (0,) * len(self.halo)
        steps = np.array(list(itertools.product(*(range(-h, h + 1) for h in halo))), np.int64)
        # as SciPy's distance transform computes it, so that a tolerance equal to a distance falls on the same side
        distance = np.sqrt(np.square(steps * np.asarray(spacing, np.float64)).sum(1))
        nearest = np.argsort(distance, kind="stable")
        steps, distance = steps[nearest], distance[nearest]
        self.ends = np.searchsorted(distance, tolerances, side="right")
        self.offsets = _three(steps[: self.ends[-1]], 0)


def _cubes(box: Box, shape: Sequence[int]) -> Box:
    """The cubes that a box of voxels owns: cube j lies between voxels j - 1 and j; the last box also owns the far border."""
    return Box.of_bounds(box.start, [b + (b == n) for b, n in zip(box.stop, shape, strict=True)])


def _three(values: np.ndarray, fill: int) -> np.ndarray:
    """Rows of (z, y, x) made of rows of (y, x): a 2-D image is one slice."""
    return values if values.shape[1] == 3 else np.column_stack([np.full(len(values), fill, values.dtype), values])


def _checked(mask: np.ndarray, box: Box, name: str) -> np.ndarray:
    """(z, y, x) uint8 of what was read."""
    if mask.shape != box.size:
        raise DataError(f"{name} of {box} came with shape {mask.shape}")
    if mask.dtype == bool:
        mask = mask.view(np.uint8)
    elif not np.issubdtype(mask.dtype, np.integer):
        raise DataError(f"{name} is {mask.dtype}; threshold it first: surfaces are those of bool or integer masks")
    elif name == "prediction":
        mask = mask if mask.dtype == np.uint8 else (mask != 0).view(np.uint8)
    else:
        mask = _labels(mask)
    return np.ascontiguousarray(mask if mask.ndim == 3 else mask[None])


def _labels(truth: np.ndarray) -> np.ndarray:
    """The truth as uint8, if it holds 0, 1 and 255 only."""
    from malpighi.metrics.surface_kernels import only_labels

    # other types are rare, and -1 must not become 255
    good = only_labels(truth.ravel()) if truth.dtype == np.uint8 else np.isin(truth, (0, 1, UNLABELLED)).all()
    if not good:
        values = np.setdiff1d(truth, [0, 1, UNLABELLED])[:3].tolist()
        raise DataError(f"truth holds {values}; a class layer holds 0, 1 and {UNLABELLED} (unlabelled) only")
    return truth.astype(np.uint8, copy=False)


def _count(prediction: np.ndarray, truth: np.ndarray, cubes: Box, reach: _Reach) -> np.ndarray:
    """(prediction or truth, all or near at each tolerance, 256) surface elements of `cubes`, by neighbourhood."""
    from malpighi.metrics import surface_kernels as kernels

    counts = np.zeros((2, 1 + len(reach.ends), 256), np.int64)
    flat = cubes.rank == 2
    nz, ny, nx = truth.shape
    words = nx // kernels.WORD + 1  # one bit more than voxels: the cube at the far border
    masks = np.zeros((2, nz + 2, ny + 2, words), np.uint64)
    kernels.pack(prediction, 0, masks[0])
    kernels.pack(truth, 1, masks[1])
    found = np.zeros((2, 1 if flat else nz + 1, ny + 1, words), np.uint64)
    if not kernels.surfaces(masks[0], flat, found[0]) + kernels.surfaces(masks[1], flat, found[1]):
        return counts
    unknown = np.zeros_like(masks[0])
    if kernels.pack(truth, UNLABELLED, unknown):
        kernels.drop_unlabelled(unknown, flat, *found)
    start, stop = np.array(cubes.start), np.array(cubes.stop)
    if flat:
        start, stop = np.array([0, *start]), np.array([1, *stop])
    here = np.ones(1, np.int64)
    for mine in (0, 1):
        given = masks[mine], found[mine]
        if reach.near_by:
            kernels.count_near(*given, found[1 - mine], flat, start, stop, reach.offsets, reach.ends, counts[mine])
            continue
        for row, near in enumerate(_near(found[1 - mine], reach), 1):
            # all are counted again with every tolerance, into the same row
            kernels.count_near(*given, near, flat, start, stop, reach.offsets, here, counted := np.zeros((2, 256), np.int64))
            counts[mine, 0], counts[mine, row] = counted
    return counts


def _near(surface: np.ndarray, reach: _Reach) -> list[np.ndarray]:
    """Packed cubes within each tolerance of the packed `surface`, by a distance transform."""
    from scipy.ndimage import distance_transform_edt

    if not surface.any():
        return [surface] * len(reach.tolerances)
    bits = np.unpackbits(surface.view(np.uint8), axis=-1, bitorder="little")
    sampling = reach.spacing if len(reach.spacing) == 3 else (1.0, *reach.spacing)
    far = distance_transform_edt(bits == 0, sampling=sampling)
    return [np.packbits(far <= t, axis=-1, bitorder="little").view(np.uint64) for t in reach.tolerances]


def _flat(areas: np.ndarray) -> np.ndarray:
    """Lengths of 2-D neighbourhoods by the code of a cube whose two layers are alike."""
    out = np.zeros(256)
    out[np.arange(16) * 17] = areas
    return out
