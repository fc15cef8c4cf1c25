"""Boxes of a grid, those with foreground balanced by how much they hold: what the winner of Hacking the Kidney (2021) drew."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from malpighi.annotations.base import UNLABELLED, Annotation
from malpighi.errors import DataError
from malpighi.geometry import Box, Spacing
from malpighi.sampling.blank_tiles import TileSums
from malpighi.sampling.labelled import blocks_of
from malpighi.sampling.places import chosen
from malpighi.sampling.plain_boxes import Sampler, grid_round
from malpighi.sampling.regions import Weight
from malpighi.sampling.seeds import stream

OPEN = 0.95
"""Bins are of equal width up to this quantile of the boxes with foreground; the last takes all above, so that one giant object has
no bin of its own."""


@dataclass(frozen=True, eq=False)
class BoxCounts:
    """The grid boxes of one case and what they hold, in voxels.

    Attributes:
        starts: (box, rank) int64.
        tile: size of every box.
        foreground: (box,) int64, of any class.
        labelled: (box,) int64, of any class.
    """

    starts: np.ndarray
    tile: tuple[int, ...]
    foreground: np.ndarray
    labelled: np.ndarray

    def box(self, number: int) -> Box:
        """Box `number`, from 0."""
        return Box(tuple(int(v) for v in self.starts[number]), self.tile)


def count_boxes(
    annotation: Annotation,
    spacing: Spacing,
    tile: tuple[int, ...],
    shifted: bool = True,
    advance: Callable[[float], object] = lambda part: None,
) -> BoxCounts:
    """Count what the boxes of `grid_round` hold: exactly, in one pass over the annotation, whatever they overlap.

    All borders of all boxes cut the image into cells; each block is added up over them, and a box is a sum of cells. So memory is that
    of one block and of a few cells a box.

    Args:
        tile: size of the boxes in voxels of `spacing`.
        shifted: whether there is a second grid, moved by half a tile.
        advance: called with the part of the image that is done, block by block; they add up to 1.
    """
    shape = annotation.space.shape_at(spacing)
    starts = np.array([box.start for _, box in grid_round([shape], tile, (), shifted)], np.int64)
    low = np.maximum(starts, 0)
    high = np.minimum(starts + tile, shape)
    edges = [np.unique(np.concatenate([[0, n], a, b])) for n, a, b in zip(shape, low.T, high.T, strict=True)]
    cells = np.zeros((2, *(len(e) - 1 for e in edges)), np.int64)
    for box in blocks_of(shape, (1,) * len(shape)):
        layers = annotation.rasterise(box, spacing)
        at, cuts = zip(*(_cuts(e, a, b) for e, a, b in zip(edges, box.start, box.stop, strict=True)), strict=True)
        for total, inside in zip(cells, (layers == 1, layers != UNLABELLED), strict=True):
            total[at] += _added(inside.any(0), cuts)
        advance(box.volume / math.prod(shape))
    found = [_sums(total, edges, low, high) for total in cells]
    return BoxCounts(starts, tuple(tile), *found)


def area_boxes(
    counts: Sequence[BoxCounts],
    seed: int,
    share: float = 0.5,
    bins: int = 4,
    weights: Sequence[Weight] = (),
    blank: Sequence[TileSums] = (),
) -> Sampler:
    """A `share` of the boxes holds foreground, little of it as often as much; the others hold none.

    Boxes that hold nothing labelled are never drawn. If all boxes hold foreground, or none does, they are all there is.

    Args:
        counts: one a case.
        bins: boxes with foreground are put into so many bins by its amount, equal in width, the last open; each bin that holds a box
            is drawn from as often as any other. 1: they come as they are.
        weights: one a case, of its boxes in their bin. Empty: all alike.
        blank: one a case; blank boxes are left out.

    Raises:
        DataError: no box is left.
    """
    boxes = np.concatenate(
        [np.column_stack([np.full(len(c.starts), k), np.arange(len(c.starts))]) for k, c in enumerate(counts)]
    )
    area, told = (np.concatenate([getattr(c, what) for c in counts]) for what in ("foreground", "labelled"))
    keep = told > 0
    if not keep.any():
        raise DataError(f"nothing is labelled in any of the {len(counts)} cases; check the masks and the annotated region")
    factors = np.concatenate(
        [weight.of_boxes(c.starts, c.tile) for weight, c in zip(weights or [Weight()] * len(counts), counts, strict=True)]
    )
    keep &= factors > 0
    if blank:
        keep[keep] = [not blank[case].blank(counts[case].box(number)) for case, number in boxes[keep]]
    if not keep.any():
        raise DataError(
            f"all {int((told > 0).sum())} boxes that could be trained on are blank, or of images or regions of weight 0; lower "
            "sampling.least_std or sampling.least_saturation, or set both to 0"
        )
    drawn = tuple(_Group(boxes[place], factors[place].cumsum()) for place in _binned(np.where(keep, area, 0), bins))
    without = keep & (area == 0)
    empty = _Group(boxes[without], factors[without].cumsum()) if without.any() else None
    return Sampler(partial(_area, tuple(counts), drawn, empty, share, seed))


@dataclass(frozen=True, eq=False)
class _Group:
    """(box, 2) case and number of some boxes, and their weights added up."""

    boxes: np.ndarray
    ends: np.ndarray


def _area(
    counts: tuple[BoxCounts, ...], drawn: tuple[_Group, ...], empty: _Group | None, share: float, seed: int, n: int
) -> tuple[int, Box]:
    rng = stream(seed, n, 4)
    held = rng.random() < share
    group = drawn[rng.integers(len(drawn))] if drawn and (held or empty is None) else empty
    assert group is not None, "there is a box of one kind or the other"
    case, number = (int(v) for v in group.boxes[chosen(group.ends, rng)])
    return case, counts[case].box(number)


def _binned(area: np.ndarray, bins: int) -> list[np.ndarray]:
    """For each bin that holds any, which boxes are in it: (box,) bool. Boxes without foreground are in none."""
    some = area > 0
    if not some.any():
        return []
    cuts = np.quantile(area[some], OPEN) * np.arange(1, bins) / bins
    place = np.searchsorted(cuts, area, side="left")
    found = [some & (place == number) for number in range(bins)]
    return [inside for inside in found if inside.any()]


def _cuts(edges: np.ndarray, start: int, stop: int) -> tuple[slice, np.ndarray]:
    """Of an axis: the cells that start … stop meets, and where in it they begin."""
    first = int(np.searchsorted(edges, start, side="right")) - 1
    last = int(np.searchsorted(edges, stop, side="left"))
    return slice(first, last), np.maximum(edges[first:last] - start, 0)


def _added(layer: np.ndarray, cuts: Sequence[np.ndarray]) -> np.ndarray:
    for axis, begins in enumerate(cuts):
        layer = np.add.reduceat(layer, begins, axis=axis, dtype=np.int64)
    return layer


def _sums(cells: np.ndarray, edges: Sequence[np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(box,) sums of the cells between corners `low` and `high`, (box, rank), which lie on edges: a summed-area table."""
    table = cells
    for axis in range(cells.ndim):
        table = table.cumsum(axis)
    table = np.pad(table, [(1, 0)] * cells.ndim)
    corners = [[np.searchsorted(e, side[:, axis]) for axis, e in enumerate(edges)] for side in (low, high)]
    total = np.zeros(len(low), np.int64)
    for ends in itertools.product((0, 1), repeat=cells.ndim):
        sign = (-1) ** (cells.ndim - sum(ends))
        total += sign * table[tuple(corners[end][axis] for axis, end in enumerate(ends))]
    return total
