"""Route: in which order tiles are visited, which output boxes each one feeds, and when a box is finished."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from malpighi.geometry import Box
from malpighi.inference.window import Window


@dataclass(frozen=True, slots=True)
class Visit:
    """One tile on the way.

    Attributes:
        index: of the tile in the grid.
        feeds: output boxes to which it contributes.
        finishes: those of them to which no later tile contributes.
    """

    index: tuple[int, ...]
    feeds: tuple[Box, ...]
    finishes: tuple[Box, ...]


def columns(region: Box, align: tuple[int, ...], tile: tuple[int, ...], classes: int, budget: int) -> list[Box]:
    """`region` cut across all axes but the first, so that the open boxes of each column take at most `budget` bytes.

    Columns are as equal as whole output boxes allow, and at least one box wide. Open are, at most, one row of boxes and
    one row of tiles (of the boxes below only what tiles have touched is real memory), float32.
    """
    height = min(region.size[0], align[0] + tile[0])
    room = max(1, budget // (4 * classes * height))  # voxels of the cross-section
    counts = [-(-b // s) - a // s for a, b, s in zip(region.start, region.stop, align, strict=True)]
    wide = list(counts[1:])  # boxes a column has along each axis of the cross-section
    while wide and math.prod(n * s for n, s in zip(wide, align[1:], strict=True)) > room and max(wide) > 1:
        longest = max(range(len(wide)), key=lambda axis: wide[axis] * align[axis + 1] if wide[axis] > 1 else 0)
        wide[longest] -= 1
    even = [-(-count // -(-count // w)) for count, w in zip(counts[1:], wide, strict=True)]
    pieces = [
        [(max(a, i * s), min(b, (i + n) * s)) for i in range(a // s, -(-b // s), n)]
        for a, b, s, n in zip(region.start[1:], region.stop[1:], align[1:], even, strict=True)
    ]
    rows = (region.start[0], region.stop[0])
    return [Box.of_bounds(*zip(rows, *spans, strict=True)) for spans in itertools.product(*pieces)]


def route(window: Window, column: Box, align: tuple[int, ...], done: Callable[[Box], bool]) -> Iterator[Visit]:
    """The tiles that contribute to `column`, in C order, but for those that feed only boxes that are done."""
    axes = [_feeds(window, axis, column, align[axis]) for axis in range(column.rank)]
    for places in itertools.product(*axes):
        feeds, finishes = [], []
        for sides in itertools.product(*(feeds for _, feeds in places)):
            box = Box(tuple(side.start for side in sides), tuple(side.size for side in sides))
            if not done(box):
                feeds.append(box)
                if all(side.last for side in sides):
                    finishes.append(box)
        if feeds:
            yield Visit(tuple(index for index, _ in places), tuple(feeds), tuple(finishes))


@dataclass(frozen=True, slots=True)
class _Side:
    """An output box along one axis, and whether the tile at hand is the last one that reaches it."""

    start: int
    size: int
    last: bool


def _feeds(window: Window, axis: int, column: Box, align: int) -> list[tuple[int, list[_Side]]]:
    """Along `axis`: each tile index that reaches `column`, with the sides of the output boxes it feeds."""
    first, last = window.bounds[axis]
    a, b = column.start[axis], column.stop[axis]
    edges = [(max(a, low), min(b, low + align)) for low in range(a // align * align, b, align)]
    spans = {index: window.span(axis, index) for index in range(first, last + 1)}
    reached = {index: (start, stop) for index, (start, stop) in spans.items() if start < b and stop > a}
    latest = {edge: max(i for i, (start, stop) in reached.items() if start < edge[1] and stop > edge[0]) for edge in edges}
    return [
        (
            index,
            [_Side(e[0], e[1] - e[0], latest[e] == index) for e in edges if start < e[1] and stop > e[0]],
        )
        for index, (start, stop) in reached.items()
    ]
