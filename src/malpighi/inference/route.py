"""Route: in which order tiles are visited, which output boxes each one feeds, and when a box is finished."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from malpighi.geometry import Box, Grid
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


def columns(region: Box, align: tuple[int, ...], grid: Grid, classes: int, budget: int) -> list[Box]:
    """`region` cut across all axes but the first, so that the open boxes of each column take at most `budget` bytes.

    Columns are as equal as whole output boxes allow, and at least one box wide; of all cuts that keep to the budget, the one
    by which the fewest tiles are predicted twice.
    """
    starts, stops = region.start[1:], region.stop[1:]
    counts = [-(-b // s) - a // s for a, b, s in zip(starts, stops, align[1:], strict=True)]  # boxes along each axis
    cuts = list(itertools.product(*({-(-n // -(-n // k)) for k in range(1, n + 1)} for n in counts)))  # boxes a column

    def held(wide: tuple[int, ...]) -> int:
        sides = [min(n, w * s) for n, w, s in zip(region.size[1:], wide, align[1:], strict=True)]
        return 4 * classes * open_voxels(sides, region.size[0], align, grid)

    def work(wide: tuple[int, ...]) -> int:
        twice = ((-(-n // w) - 1) * t for n, w, t in zip(counts, wide, grid.tile[1:], strict=True))
        return math.prod(n + more for n, more in zip(region.size[1:], twice, strict=True))

    fitting = [wide for wide in cuts if held(wide) <= budget] or [(1,) * len(counts)]
    chosen = min(fitting, key=lambda wide: (work(wide), held(wide)))
    pieces = [
        [(max(a, i * s), min(b, (i + n) * s)) for i in range(a // s, -(-b // s), n)]
        for a, b, s, n in zip(starts, stops, align[1:], chosen, strict=True)
    ]
    rows = (region.start[0], region.stop[0])
    return [Box.of_bounds(*zip(rows, *spans, strict=True)) for spans in itertools.product(*pieces)]


def open_voxels(sides: Sequence[int], height: int, align: tuple[int, ...], grid: Grid) -> int:
    """Voxels that are begun and not finished, at most, in a column of cross-section `sides`.

    Behind the row of tiles at hand and before it, what two rows have in common, and of the boxes that are given away whole
    the part that is finished already; where the row now is, its own step more.
    """
    step = grid.step[0]
    common = math.gcd(step, align[0])
    waiting = grid.tile[0] - step + align[0] - common + (grid.offset[0] - grid.margin[0]) % common
    front = min(sides[0], align[1] + grid.tile[1])
    across = sides[0] * min(height, waiting) + front * min(max(0, height - waiting), step)
    return across * math.prod(sides[1:])


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
