"""The objects of a mask: outlined, measured, one by one."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from malpighi.errors import RecipeError
from malpighi.geometry import Box, Shape, Space, Spacing
from malpighi.objects.cache import BlockCache
from malpighi.objects.energy import energies
from malpighi.objects.label import Components, Read, find_components
from malpighi.objects.numbered import Numbered, find_numbered
from malpighi.objects.outline import Outline, outline_component, outline_number, simplified
from malpighi.objects.trace import perimeter

_IDS = uuid.UUID("0b0e1f5e-6d0c-5f0e-9a43-6d616c706967")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ObjectOptions:
    """Which objects of a mask are kept, and how they are outlined.

    Attributes:
        min_area: smaller objects are dropped: µm² (µm³ in 3-D), or level-0 pixels where the size of those is unknown.
        fill_holes: smaller holes are filled, same unit; 0 fills none. 2-D only.
        otsu: objects below this area are drawn anew: by Otsu's threshold of the probabilities in their box, made half as large again;
            same unit; 0 redraws none. 2-D only.
        energy: objects whose mean energy is less are dropped: T·log(1 + exp(logit / T)) over their voxels (Liu et al. 2020); 0 drops none.
        temperature: T of `energy`.
        simplify: how far a vertex left out may lie from the outline, in pixels of the mask; 0 keeps every pixel edge.
        faces_only: pixels that touch only at a corner are different objects.
        kind: QuPath's object type; "detection" is for many small objects, which cannot be edited one by one.
    """

    min_area: float = 0.0
    fill_holes: float = 0.0
    simplify: float = 0.5
    faces_only: bool = False
    kind: str = "annotation"
    otsu: float = 0.0
    energy: float = 0.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for name in ("min_area", "fill_holes", "simplify", "otsu", "energy"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise RecipeError(f"objects.{name} = {getattr(self, name)}: give a number of 0 or more")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise RecipeError(f"objects.temperature = {self.temperature}: give a number of more than 0")


def min_voxels(options: ObjectOptions, spacing: Spacing) -> int:
    """Voxels that the smallest object has at `spacing`; 0 where every object is kept."""
    voxel = math.prod(spacing.values)
    return math.ceil(options.min_area / voxel - 1e-9) if options.min_area > voxel else 0


class Found(NamedTuple):
    """One object: its outline (None in 3-D) and its row of the table (`table.schema`)."""

    shape: Shape | None
    row: Row


def find_objects(
    read: Read,
    space: Space,
    spacing: Spacing,
    label: str,
    options: ObjectOptions | None = None,
    read_probability: Read | None = None,
    block: int | None = None,
) -> Iterator[Found]:
    """Every object of one class, from a mask that need not fit into memory, in two passes over it.

    Args:
        read: one box of the class's mask, (*spatial) bool or integer, on the image's grid at `spacing`.
        space: of the image; outlines, centroids and boxes come in its level-0 pixels.
        spacing: of the mask.
        label: the class's name.
        read_probability: one box of the class's probability, same grid: floating point in 0 … 1, or integers of which the
            largest stands for 1 (255 of uint8). Given, `mean_probability` and `energy` are filled.
        block: side of the blocks the mask is read in; best a multiple of its chunks.

    Yields:
        Objects in the order of the blocks they begin in, so that each part of the mask is read about once more.

    Raises:
        SpacingError: `spacing` is physical and the image's is not, or the reverse.
        DataError: the mask is not of shape `space.shape_at(spacing)`, or a probability is NaN.
    """
    options = options or ObjectOptions()
    shape = space.shape_at(spacing)
    weigh = read_probability and _weights(read_probability, options.temperature)
    components = find_components(read, shape, block, options.faces_only, weigh)
    held = BlockCache(components.read, components.shape, components.block)
    holes = options.fill_holes / math.prod(spacing.values)
    trace = lambda component: outline_component(components, component, held, holes)  # noqa: E731
    yield from _measured(components, trace, space, spacing, label, options)


def find_numbered_objects(
    read: Read,
    space: Space,
    spacing: Spacing,
    label: str,
    options: ObjectOptions | None = None,
    read_probability: Read | None = None,
    block: int | None = None,
) -> Iterator[Found]:
    """Every object of a label image, as `find_objects` gives those of a mask: objects that touch stay apart.

    Args:
        read: one box of object numbers, (*spatial) integers, 0 in the background; `id` of a row is the object's number.
        space, spacing, label, options, read_probability, block: as for `find_objects`.

    Raises:
        SpacingError: `spacing` is physical and the image's is not, or the reverse.
        DataError: the labels are not of shape `space.shape_at(spacing)` or not whole numbers, or a probability is NaN.
    """
    options = options or ObjectOptions()
    weigh = read_probability and _weights(read_probability, options.temperature)
    found = find_numbered(read, space.shape_at(spacing), block, weigh)
    held = BlockCache(read, found.shape, found.block)
    holes = options.fill_holes / math.prod(spacing.values)
    trace = lambda place: outline_number(found, place, held, holes)  # noqa: E731
    yield from _measured(found, trace, space, spacing, label, options)


def _weights(read: Read, temperature: float) -> Read:
    """Probability and energy of every voxel, (2, *spatial)."""

    def both(box: Box) -> np.ndarray:
        values = read(box)
        return np.stack([_fractions(values), energies(values, temperature)])

    return both


def _fractions(values: np.ndarray) -> np.ndarray:
    """Probabilities in 0 … 1: of integers the largest stands for 1."""
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.float32) / np.iinfo(values.dtype).max
    return values


def _measured(
    components: Components | Numbered,
    trace: Callable[[int], Outline],
    space: Space,
    spacing: Spacing,
    label: str,
    options: ObjectOptions,
) -> Iterator[Found]:
    for component in _visits(components, options.min_area / math.prod(spacing.values)):
        row = _row(components, component, space, spacing, label)
        if components.start.shape[1] != 2:
            yield Found(None, row)
            continue
        traced = trace(component)
        _add_form(row, traced, spacing)
        yield Found(_shape(row, traced, space, spacing, options), row)


def _visits(components: Components | Numbered, min_voxels: float) -> list[int]:
    """Numbers of the components that are large enough, those of one block together."""
    kept = np.flatnonzero(components.count >= min_voxels)
    blocks = components.start[kept] // np.array(components.block)
    return (kept[np.lexsort([kept, *blocks.T[::-1]])] + 1).tolist()


def _row(components: Components | Numbered, component: int, space: Space, spacing: Spacing, label: str) -> Row:
    """What counts and sums tell: the columns that objects of any rank have."""
    ratio = spacing.over(space.spacing)
    box = components.box(component)
    covered = box.scale(ratio).clip(space.shape)
    centre = components.centroid(component)
    count = int(components.count[component - 1])
    square = "px" if not spacing.physical else "um"
    name = f"area_{square}2" if box.rank == 2 else f"volume_{square}3"
    number = components.number(component) if isinstance(components, Numbered) else component
    row: Row = {"id": number, "class": label, name: count * math.prod(spacing.values)}
    for axis, c, r, s in zip(space.axes, centre, ratio, spacing.values, strict=True):
        row[f"centroid_{axis}_px"] = c * r
        if spacing.physical:
            row[f"centroid_{axis}_um"] = c * s
    for axis, low, high in zip(space.axes, covered.start, covered.stop, strict=True):
        row[f"{axis}_min"], row[f"{axis}_max"] = low, high
    weights = components.weights  # (object, 2), see `_weights`
    for k, key in enumerate(("mean_probability", "energy")):
        row[key] = None if weights is None else float(weights[component - 1, k]) / count
    row["voxels"] = count
    row["touches_border"] = 0 in box.start or any(a == b for a, b in zip(box.stop, components.shape, strict=True))
    return row


def _add_form(row: Row, traced: Outline, spacing: Spacing) -> None:
    """Area after filling, perimeter, circularity 4πA/P², which pixels of tiny objects would push beyond 1."""
    unit = "um" if spacing.physical else "px"
    area = row[f"area_{unit}2"] + traced.filled * math.prod(spacing.values)
    length = perimeter(traced.codes, spacing.values) * traced.kept
    row[f"area_{unit}2"] = area
    row["voxels"] += traced.filled
    row[f"perimeter_{unit}"] = length
    row["circularity"] = min(1.0, 4 * math.pi * area / length**2)
    box = [row[f"{axis}_{end}"] for end in ("min", "max") for axis in "yx"]
    row["shape_id"] = str(uuid.uuid5(_IDS, f"{row['class']}/{row['id']}/{box}"))  # the same again if the run is repeated


def _shape(row: Row, traced: Outline, space: Space, spacing: Spacing, options: ObjectOptions) -> Shape:
    import shapely

    ratio = np.array(spacing.over(space.spacing)[::-1])
    extent = np.array(space.shape[::-1]) / ratio  # the mask's last row may reach past the image by a part of a pixel
    geometry = shapely.transform(traced.geometry, lambda xy: np.minimum(xy, extent))
    geometry = shapely.transform(simplified(geometry, options.simplify), lambda xy: np.round(xy * ratio, 3))  # nm are noise
    unit, symbol = ("um", "µm") if spacing.physical else ("px", "px")
    measured = {
        f"Area {symbol}^2": row[f"area_{unit}2"],
        f"Perimeter {symbol}": row[f"perimeter_{unit}"],
        "Circularity": row["circularity"],
    }
    if row["mean_probability"] is not None:
        measured["Mean probability"] = row["mean_probability"]
    if row["energy"] is not None:
        measured["Energy"] = row["energy"]
    return Shape(geometry, row["class"], measured, options.kind, row["shape_id"])
