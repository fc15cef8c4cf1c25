"""Foreground: where labelled tissue lies in a case, as a few points, so that samplers can aim at it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from malpighi.annotations.base import Annotation
from malpighi.geometry import Box, Spacing
from malpighi.sampling.labelled import Labelled, find_cells
from malpighi.sampling.seeds import stream


@dataclass(frozen=True, eq=False)
class Foreground:
    """Candidate points of one case.

    Attributes:
        points: class name → (N, rank) int voxel indices on the case's grid at the working spacing.
        voxels: class name → how many voxels the class has in the whole case.
    """

    points: Mapping[str, np.ndarray] = field(default_factory=dict)
    voxels: Mapping[str, int] = field(default_factory=dict)


def find_foreground(
    annotation: Annotation,
    spacing: Spacing,
    tile: tuple[int, ...],
    most: int = 2000,
    block: int | None = None,
    advance: Callable[[float], object] = lambda part: None,
) -> Foreground:
    """Find points of every class, spread evenly over its area, in one pass block by block.

    The image is cut into cells of an eighth of the tile; each cell that holds a class gives one of its voxels. So a large
    object does not hide small ones, and an object of a cell's size or more is never missed.

    Args:
        tile: size of the training tile in voxels of `spacing`.
        most: points kept a class; a random choice where there are more.
        block: side of the boxes that are rasterised; 2048 in 2-D, 256 in 3-D where None.
        advance: called with the part of the image that is done, block by block; they add up to 1.
    """
    shape = annotation.space.shape_at(spacing)
    cell = tuple(max(1, t // 8) for t in tile)
    side = block or (2048 if len(shape) == 2 else 256)
    step = tuple(max(c, side // c * c) for c in cell)
    found: dict[str, list[np.ndarray]] = {name: [] for name in annotation.classes}
    voxels = dict.fromkeys(annotation.classes, 0)
    for number, box in enumerate(Box.of_shape(shape).split(step)):
        layers = annotation.rasterise(box, spacing)
        order = stream(number).permutation(int(np.prod(cell))) + 1
        for name, layer in zip(annotation.classes, layers, strict=True):
            inside = layer == 1
            voxels[name] += int(np.count_nonzero(inside))
            found[name].append(_one_a_cell(inside, cell, order) + box.start)
        advance(box.volume / math.prod(shape))
    points = {name: _at_most(np.concatenate(parts), most) for name, parts in found.items()}
    return Foreground(points, voxels)


def find_held(
    annotation: Annotation, spacing: Spacing, tile: tuple[int, ...], advance: Callable[[float], object] = lambda part: None
) -> Labelled:
    """The cells, an eighth of the tile wide, that hold foreground of any class: whether a box does is then a look at 64 cells.

    A box holds foreground if a cell that lies in it as a whole does. What reaches into the outer eighth of a box alone is not seen:
    a sliver of an object at the border teaches little.
    """
    return find_cells(annotation, spacing, tile, lambda layers: layers == 1, advance)


def _one_a_cell(inside: np.ndarray, cell: tuple[int, ...], order: np.ndarray) -> np.ndarray:
    """(N, rank) indices: of each cell that holds a True, the True voxel that comes last in `order` (a permutation from 1)."""
    rank = inside.ndim
    if not inside.any():
        return np.empty((0, rank), np.int64)
    padded = np.pad(inside, [(0, -n % c) for n, c in zip(inside.shape, cell, strict=True)])
    counts = tuple(n // c for n, c in zip(padded.shape, cell, strict=True))
    split = padded.reshape([side for pair in zip(counts, cell, strict=True) for side in pair])
    cells = split.transpose(*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)).reshape(-1, len(order))
    full = np.flatnonzero(cells.any(1))
    chosen = np.argmax(cells[full] * order, axis=1)
    corner = np.stack(np.unravel_index(full, counts), -1) * cell
    return corner + np.stack(np.unravel_index(chosen, cell), -1)


def _at_most(points: np.ndarray, most: int) -> np.ndarray:
    if len(points) <= most:
        return points
    return points[np.sort(stream(len(points)).choice(len(points), most, replace=False))]
