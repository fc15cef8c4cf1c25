"""What one case is, in numbers: its image's size and intensity, its objects by class. Bounded memory for any image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from malpighi.annotations.base import UNLABELLED, Annotation
from malpighi.errors import DataError
from malpighi.geometry import Box, Spacing
from malpighi.images.base import Source
from malpighi.sampling.cases import Case

WHOLE = 1 << 24
"""Labels of at most so many voxels are measured at full resolution, larger ones on a coarser grid of at most a quarter."""
THUMBNAIL = 1 << 18
"""Voxels an image's intensity is measured on."""
AT_ONCE = 1 << 24
"""Level voxels read at once."""
KEPT = 4096
"""Object sizes remembered a class and case; the count is of all."""
VALUES = 1024
"""Intensities remembered a channel and case."""


@dataclass(frozen=True)
class Objects:
    """Objects of one class in one case.

    Attributes:
        count: objects found: those that the file tells apart, else connected components.
        sizes: areas (volumes) of at most `KEPT` of them, level-0 pixels (voxels).
        share: of the labelled part of the image; NaN where nothing is labelled.
    """

    count: int
    sizes: np.ndarray
    share: float


@dataclass(frozen=True)
class CaseFacts:
    """What was measured of one case.

    Attributes:
        shape: level 0, array order.
        spacing: µm per voxel by axis; empty where the image is in pixels.
        values: (channel, n) intensities, evenly spread over the image.
        objects: by class, of the classes that the case speaks of.
        annotated: part of the image where somebody said what is there, of at least one class; NaN without annotation.
        annotated_slices: part of a volume's slices that hold any such voxel; NaN for 2-D images.
        reduction: level-0 pixels a pixel of the grid that the labels were measured on.
        problems: what makes the case unusable, one line each.
        notes: what was tolerated.
    """

    id: str
    image: str
    shape: tuple[int, ...] = ()
    levels: int = 0
    channels: tuple[str, ...] = ()
    dtype: str = ""
    spacing: tuple[float, ...] = ()
    values: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    objects: dict[str, Objects] = field(default_factory=dict)
    annotated: float = math.nan
    annotated_slices: float = math.nan
    reduction: float = 1.0
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def measure_image(case: Case, source: Source) -> CaseFacts:
    """Size, type and intensity of an image."""
    values = intensities(source)
    problems, notes = [], list(source.notes)
    if np.nanmin(values, initial=0) < 0:
        notes.append(f"{case.image}: holds negative values, down to {np.nanmin(values):g}; intensity scales them as any other")
    if not np.isfinite(values).all():
        problems.append(f"{case.image}: holds values that are not finite (NaN); replace them")
    elif values.size and (values.min(1) == values.max(1)).all():
        notes.append(f"{case.image}: the image is blank, every sampled pixel is {', '.join(f'{v:g}' for v in values[:, 0])}")
    return CaseFacts(
        case.id,
        str(case.image),
        source.shape,
        source.space.levels,
        source.channels,
        str(source.dtype),
        source.space.spacing.values if source.space.spacing.physical else (),
        values[:, :: max(1, values.shape[1] // VALUES)][:, :VALUES],
        problems=tuple(problems),
        notes=tuple(notes),
    )


def intensities(source: Source) -> np.ndarray:
    """(channel, n) float32 values of an image reduced to `THUMBNAIL` voxels, or of a lattice of boxes where it has no such level."""
    factor = max(1.0, (math.prod(source.shape) / THUMBNAIL) ** (1 / source.space.rank))
    spacing = source.space.spacing.times(factor)
    level = source.space.shapes[source.space.level_for(spacing)]
    shape = source.space.shape_at(spacing)
    if math.prod(level) <= 16 * AT_ONCE:
        boxes = pieces(shape, math.prod(level) / math.prod(shape))
        parts = [source.read_at(box, spacing, pad="edge") for box in boxes]
    else:  # one huge level: a few boxes of it say enough
        coarsest = source.space.levels - 1
        parts = [source.read(box, coarsest) for box in lattice(source.space.shapes[coarsest])]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1).astype(np.float32)


def thumbnail(source: Source, longest: int) -> tuple[np.ndarray, Spacing]:
    """(channel, *spatial) of the whole image with y and x at most `longest` pixels, z as it is; read piece by piece."""
    space = source.space
    factor = max(1.0, max(space.shape[-2:]) / longest)
    spacing = space.spacing.times((*(1.0,) * (space.rank - 2), factor, factor))
    shape = space.shape_at(spacing)
    out = np.empty((len(source.channels), *shape), source.dtype)
    for box in pieces(shape, math.prod(space.shapes[space.level_for(spacing)]) / math.prod(shape)):
        out[(slice(None), *box.slices)] = source.read_at(box, spacing, pad="edge")
    return out, spacing


def lattice(shape: tuple[int, ...], side: int = 64, steps: int = 8) -> Iterator[Box]:
    """`steps` boxes along every axis, evenly spread over an image of `shape`."""
    import itertools

    starts = [np.linspace(0, max(0, n - side), steps if n > side else 1, dtype=int) for n in shape]
    for start in itertools.product(*starts):
        yield Box(tuple(int(s) for s in start), (side,) * len(shape)).clip(shape)


def pieces(shape: tuple[int, ...], voxels_each: float) -> Iterator[Box]:
    """The whole of `shape` in boxes that read at most `AT_ONCE` voxels, where one of `shape` stands for `voxels_each`."""
    side = max(1, int((AT_ONCE / max(1.0, voxels_each)) ** (1 / len(shape))))
    return iter(Box.of_shape(shape).split((side,) * len(shape)))


@dataclass(frozen=True)
class Measured:
    """What an annotation holds: see `CaseFacts`."""

    objects: dict[str, Objects]
    reduction: float
    annotated: float
    annotated_slices: float


def measure_objects(annotation: Annotation) -> Measured:
    """Objects by class, how much coarser than level 0 they were measured, and how much of the image was annotated."""
    space = annotation.space
    voxels = math.prod(space.shape)
    factor = 1.0 if voxels <= WHOLE else math.ceil((voxels / (WHOLE / 4)) ** (1 / space.rank))
    spacing = space.spacing.times(factor)
    layers = _drawn(annotation, space.shape_at(spacing), spacing, factor)
    said = (layers != UNLABELLED).any(axis=0)
    known = {name: k for k, name in enumerate(annotation.classes) if not (layers[k] == UNLABELLED).all()}
    outlined = _outlined(annotation) if space.rank == 2 else None
    out = {}
    for name, k in known.items():
        labelled = layers[k] != UNLABELLED
        share = float((layers[k] == 1).sum() / labelled.sum())
        sizes = (
            outlined.get(name, np.zeros(0))
            if outlined is not None
            else _sizes(annotation, name, layers[k] == 1, spacing, factor)
        )
        out[name] = Objects(len(sizes), np.sort(sizes)[:: max(1, -(-len(sizes) // KEPT))], share)
    slices = float(said.any(axis=(1, 2)).mean()) if space.rank == 3 else math.nan
    return Measured(out, 1.0 if outlined is not None else factor, float(said.mean()), slices)


def _drawn(annotation: Annotation, shape: tuple[int, ...], spacing: Spacing, factor: float) -> np.ndarray:
    """(class, *spatial) layers of the whole image at `spacing`, drawn piece by piece."""
    out = np.empty((len(annotation.classes), *shape), np.uint8)
    for box in pieces(shape, factor ** len(shape)):
        out[(slice(None), *box.slices)] = annotation.rasterise(box, spacing)
    return out


def _outlined(annotation: Annotation) -> dict[str, np.ndarray] | None:
    """Areas of outlined objects by class, exact whatever the image's size; None where the format has no outlines."""
    areas: dict[str, list[float]] = {}
    try:
        for shape in annotation.shapes():
            areas.setdefault(shape.label, []).append(shape.geometry.area)
    except DataError:
        return None
    return {name: np.asarray(values) for name, values in areas.items()}


def _sizes(annotation: Annotation, name: str, inside: np.ndarray, spacing: Spacing, factor: float) -> np.ndarray:
    """Sizes in level-0 pixels: of the objects that the file tells apart, else of connected components."""
    if annotation.has_objects and factor == 1:
        numbers = annotation.instances(Box.of_shape(inside.shape), spacing, (name,))
        counts = np.unique(numbers, return_counts=True)[1][int((numbers == 0).any()) :]
    else:
        from scipy.ndimage import label

        numbers, _ = label(inside, np.ones((3,) * inside.ndim))
        counts = np.bincount(numbers.ravel())[1:]
    return counts * factor**inside.ndim
