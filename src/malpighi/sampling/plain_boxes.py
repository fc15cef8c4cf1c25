"""The plain samplers: boxes anywhere, of a grid, around foreground.

Box number n is a function of (seed, n) alone, so that a run that is resumed at step n, or split over workers, draws what the
uninterrupted one would have drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box, Grid
from malpighi.sampling.blank_tiles import TileSums
from malpighi.sampling.foreground import Foreground
from malpighi.sampling.labelled import Labelled
from malpighi.sampling.seeds import stream

Shapes = Sequence[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Sampler:
    """An endless, numbered series: `sampler(n)` is (case index, box) number n. It can be pickled and holds no state."""

    pick: Callable[[int], tuple[int, Box]]

    def __call__(self, n: int) -> tuple[int, Box]:
        """Number n: (case index, box)."""
        return self.pick(n)

    def series(self, n: int = 0) -> Iterator[tuple[int, Box]]:
        """Boxes n, n + 1, … without end."""
        while True:
            yield self.pick(n)
            n += 1


def grid_boxes(
    shapes: Shapes,
    tile: tuple[int, ...],
    step: tuple[int, ...] = (),
    shifted: bool = True,
    seed: int | None = None,
    labelled: Sequence[Labelled] = (),
    weights: Sequence[float] = (),
    blank: Sequence[TileSums] = (),
) -> Sampler:
    """Every box of a grid over each case, moved back inside where it would hang over; then all of them again.

    Args:
        step: distance of neighbouring boxes, the tile where empty.
        shifted: whether a second grid, moved by half a step, is laid over the first.
        seed: shuffles each round anew; None keeps the order of cases and rows.
        labelled: one a case; boxes that hold no labelled voxel are left out. Empty: all are kept.
        weights: one a case: in each round, which is as long as before, a box comes so many times as often as one of weight 1; in
            part by chance where that is no whole number. Needs a seed.
        blank: one a case; blank boxes are left out. Empty: all are kept.

    Raises:
        DataError: no box is left.
    """
    if weights and seed is None:
        raise ValueError("weights need rounds that are shuffled; give a seed")
    found = [(case, box) for case, box in grid_round(shapes, tile, step, shifted) if not labelled or labelled[case].any(box)]
    if not found:
        raise DataError(f"no box of {tile} holds a labelled voxel in any of the {len(labelled)} cases; check the masks")
    boxes = tuple((case, box) for case, box in found if not blank or not blank[case].blank(box))
    if not boxes:
        raise DataError(
            f"all {len(found)} boxes of {tile} are blank; lower sampling.least_std or sampling.least_saturation, or set both to 0"
        )
    ends = np.cumsum([weights[case] for case, _ in boxes]) if weights else None
    return Sampler(partial(_from_rounds, _Round(boxes, ends), seed))


def grid_round(
    shapes: Shapes, tile: tuple[int, ...], step: tuple[int, ...] = (), shifted: bool = True
) -> Iterator[tuple[int, Box]]:
    """One round of `grid_boxes` in order: each (case index, box) once."""
    step = tuple(step) or tuple(tile)
    for case, shape in enumerate(checked(shapes, tile)):
        offsets = [(0,) * len(shape), tuple(s // 2 for s in step)][: 2 if shifted else 1]
        grids = [Grid(shape, tuple(tile), step, offset) for offset in offsets]
        starts = (kept(grid.tile_box(index).start, shape, tile) for grid in grids for index in grid)
        yield from ((case, Box(start, tuple(tile))) for start in dict.fromkeys(starts))


def random_boxes(shapes: Shapes, tile: tuple[int, ...], seed: int, weights: Sequence[float] = ()) -> Sampler:
    """Boxes anywhere, cases in proportion to their area times weight. An image smaller than the tile lies somewhere inside it."""
    shapes = checked(shapes, tile)
    return Sampler(partial(_random, shapes, areas_of(shapes, weights), tuple(tile), seed))


def balanced_boxes(
    shapes: Shapes,
    tile: tuple[int, ...],
    seed: int,
    foreground: Sequence[Foreground],
    share: float = 0.5,
    jitter: float = 0.8,
    weights: Sequence[float] = (),
) -> Sampler:
    """A `share` of the boxes holds foreground, all classes equally often; the others are random.

    Args:
        foreground: one a case; classes are matched by name. Cases without labels have none.
        jitter: 0 puts the foreground point at the box's centre, 1 anywhere in the box.
        weights: one a case: of its points, and of its area. Empty: all alike.

    Raises:
        ValueError: number of shapes and of foregrounds differ.
    """
    shapes = checked(shapes, tile)
    if len(foreground) != len(shapes):
        raise ValueError(f"{len(foreground)} foregrounds for {len(shapes)} cases; give one a case")
    drawn = [fg if not weights or weights[case] else Foreground() for case, fg in enumerate(foreground)]
    names = sorted({name for case in drawn for name, points in case.points.items() if len(points)})
    pools = tuple(_pool(drawn, name, weights) for name in names)
    return Sampler(partial(_balanced, shapes, areas_of(shapes, weights), tuple(tile), seed, pools, share, jitter))


def _balanced(
    shapes: Shapes,
    areas: np.ndarray,
    tile: tuple[int, ...],
    seed: int,
    pools: tuple[tuple[np.ndarray, np.ndarray | None], ...],
    share: float,
    jitter: float,
    n: int,
) -> tuple[int, Box]:
    rng = stream(seed, n, 1)
    if not pools or rng.random() >= share:
        return _random(shapes, areas, tile, seed, n)
    points, ends = pools[rng.integers(len(pools))]
    case, *point = (int(v) for v in points[rng.integers(len(points)) if ends is None else chosen(ends, rng)])
    reach = [jitter * (t - 1) / 2 for t in tile]
    centre = [p + rng.uniform(-r, r) for p, r in zip(point, reach, strict=True)]
    start = tuple(round(c - (t - 1) / 2) for c, t in zip(centre, tile, strict=True))
    return case, Box(kept(start, shapes[case], tile), tile)


def _random(shapes: Shapes, areas: np.ndarray, tile: tuple[int, ...], seed: int, n: int) -> tuple[int, Box]:
    return anywhere(shapes, areas, tile, stream(seed, n))


def anywhere(shapes: Shapes, areas: np.ndarray, tile: tuple[int, ...], rng: np.random.Generator) -> tuple[int, Box]:
    """One random box; `areas` as `areas_of` gives them."""
    case = chosen(areas, rng)
    ranges = [sorted((0, size - t)) for size, t in zip(shapes[case], tile, strict=True)]
    return case, Box(tuple(int(rng.integers(low, high + 1)) for low, high in ranges), tile)


@dataclass(frozen=True, eq=False)
class _Round:
    """The boxes of a grid and their weights added up; None: all come once."""

    boxes: tuple[tuple[int, Box], ...]
    ends: np.ndarray | None


def _from_rounds(turns: _Round, seed: int | None, n: int) -> tuple[int, Box]:
    turn, place = divmod(n, len(turns.boxes))
    return turns.boxes[place if seed is None else int(_order(turns, seed, turn)[place])]


@lru_cache(maxsize=8)
def _order(turns: _Round, seed: int, turn: int) -> np.ndarray:
    """Which boxes come in a round: all; by weight, each its share of times rounded up or down (systematic sampling)."""
    rng, count = stream(seed, turn), len(turns.boxes)
    if turns.ends is None:
        return rng.permutation(count)
    places = (np.arange(count) + rng.random()) * (turns.ends[-1] / count)
    return rng.permutation(np.minimum(np.searchsorted(turns.ends, places, side="right"), count - 1))


def _pool(foreground: Sequence[Foreground], name: str, weights: Sequence[float]) -> tuple[np.ndarray, np.ndarray | None]:
    """(points, 1 + rank): case index and position of every candidate point of a class; and their weights added up."""
    parts = [(case, fg.points[name]) for case, fg in enumerate(foreground) if len(fg.points.get(name, ()))]
    points = np.concatenate([np.column_stack([np.full(len(points), case), points]) for case, points in parts])
    return points, np.cumsum(np.asarray(weights, float)[points[:, 0]]) if weights else None


def areas_of(shapes: Shapes, weights: Sequence[float] = ()) -> np.ndarray:
    """Areas (3-D: volumes), times weights where there are any, added up case by case.

    Raises:
        DataError: nothing has any weight.
    """
    factors = [float(weight) for weight in weights] or [1.0] * len(shapes)
    ends = np.cumsum([np.prod(shape, dtype=float) * factor for shape, factor in zip(shapes, factors, strict=True)])
    if not ends[-1] > 0:
        raise DataError(f"all {len(shapes)} images to train on have weight 0; give one a weight in manifest.csv")
    return ends


def chosen(ends: np.ndarray, rng: np.random.Generator) -> int:
    """One index, by weights that are added up."""
    return min(int(np.searchsorted(ends, rng.random() * ends[-1], side="right")), len(ends) - 1)


def kept(start: Sequence[int], shape: tuple[int, ...], tile: tuple[int, ...]) -> tuple[int, ...]:
    """The start moved so that the tile hangs over the border no more than it must."""
    low_high = (sorted((0, size - t)) for size, t in zip(shape, tile, strict=True))
    return tuple(min(max(s, low), high) for s, (low, high) in zip(start, low_high, strict=True))


def checked(shapes: Shapes, tile: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The shapes as tuples.

    Raises:
        ValueError: none is given, or one does not fit the tile's rank.
    """
    found = tuple(tuple(int(n) for n in shape) for shape in shapes)
    wrong = [shape for shape in found if len(shape) != len(tile) or min(shape) < 1]
    if wrong or not found or min(tile) < 1:
        raise ValueError(f"shapes {wrong or found} and tile {tile}: need at least one case, equal rank and sides of 1 or more")
    return found
