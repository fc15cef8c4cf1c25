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
from malpighi.sampling.places import NO_WEIGHT, Places, Shapes, checked, chosen, kept, places_of
from malpighi.sampling.regions import Weight
from malpighi.sampling.seeds import stream


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
    weights: Sequence[Weight] = (),
    blank: Sequence[TileSums] = (),
) -> Sampler:
    """Every box of a grid over each case, moved back inside where it would hang over; then all of them again.

    Args:
        step: distance of neighbouring boxes, the tile where empty.
        shifted: whether a second grid, moved by half a step, is laid over the first.
        seed: shuffles each round anew; None keeps the order of cases and rows.
        labelled: one a case; boxes that hold no labelled voxel are left out. Empty: all are kept.
        weights: one a case: in each round, which is as long as before, a box comes as often as its weight says, relative to the
            others; in part by chance where that is no whole number. Needs a seed.
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
    ends = np.cumsum([weights[case].of(box) for case, box in boxes]) if weights else None
    if ends is not None and not ends[-1] > 0:
        raise DataError(NO_WEIGHT.format(len(shapes)))
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


def random_boxes(shapes: Shapes, tile: tuple[int, ...], seed: int, weights: Sequence[Weight] = ()) -> Sampler:
    """Boxes anywhere, cases in proportion to their area times weight. An image smaller than the tile lies somewhere inside it."""
    return Sampler(partial(_random, places_of(shapes, tile, weights), seed))


def balanced_boxes(
    shapes: Shapes,
    tile: tuple[int, ...],
    seed: int,
    foreground: Sequence[Foreground],
    share: float = 0.5,
    jitter: float = 0.8,
    weights: Sequence[Weight] = (),
) -> Sampler:
    """A `share` of the boxes holds foreground, all classes equally often; the others are random.

    Args:
        foreground: one a case; classes are matched by name. Cases without labels have none.
        jitter: 0 puts the foreground point at the box's centre, 1 anywhere in the box.
        weights: one a case: of its points, and of its area. Empty: all alike.

    Raises:
        ValueError: number of shapes and of foregrounds differ.
    """
    places = places_of(shapes, tile, weights)
    if len(foreground) != len(shapes):
        raise ValueError(f"{len(foreground)} foregrounds for {len(shapes)} cases; give one a case")
    names = sorted({name for case in foreground for name, points in case.points.items() if len(points)})
    pools = [_pool(foreground, name, weights) for name in names]
    drawn = tuple((points, ends) for points, ends in pools if ends is None or ends[-1] > 0)
    return Sampler(partial(_balanced, places, seed, drawn, share, jitter))


def _balanced(
    places: Places,
    seed: int,
    pools: tuple[tuple[np.ndarray, np.ndarray | None], ...],
    share: float,
    jitter: float,
    n: int,
) -> tuple[int, Box]:
    rng = stream(seed, n, 1)
    if not pools or rng.random() >= share:
        return _random(places, seed, n)
    points, ends = pools[rng.integers(len(pools))]
    case, *point = (int(v) for v in points[rng.integers(len(points)) if ends is None else chosen(ends, rng)])
    reach = [jitter * (t - 1) / 2 for t in places.tile]
    centre = [p + rng.uniform(-r, r) for p, r in zip(point, reach, strict=True)]
    return case, places.around(case, centre)


def _random(places: Places, seed: int, n: int) -> tuple[int, Box]:
    return places.anywhere(stream(seed, n))


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


def _pool(foreground: Sequence[Foreground], name: str, weights: Sequence[Weight]) -> tuple[np.ndarray, np.ndarray | None]:
    """(points, 1 + rank): case index and position of every candidate point of a class; and their weights added up."""
    parts = [(case, fg.points[name]) for case, fg in enumerate(foreground) if len(fg.points.get(name, ()))]
    points = np.concatenate([np.column_stack([np.full(len(points), case), points]) for case, points in parts])
    if not weights:
        return points, None
    return points, np.cumsum(np.concatenate([weights[case].at(foreground[case].points[name]) for case, _ in parts]))
