"""Samplers: which box of which case comes next. They know shapes and points, never pixels.

Box number n is a function of (seed, n) alone, so that a run that is resumed at step n, or split over workers, draws what the
uninterrupted one would have drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal

import numpy as np

from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Box, Grid
from malpighi.sampling.foreground import Foreground, find_foreground
from malpighi.sampling.labelled import Labelled, find_labelled
from malpighi.sampling.seeds import item_seed, stream

__all__ = [
    "Sampler",
    "SamplerOptions",
    "annotated_boxes",
    "balanced_boxes",
    "find_foreground",
    "find_labelled",
    "grid_boxes",
    "grid_round",
    "random_boxes",
    "sampler",
]

Shapes = Sequence[tuple[int, ...]]
_TRIES = 8  # boxes drawn before one is laid over a labelled voxel


@dataclass(frozen=True, slots=True)
class SamplerOptions:
    """How training boxes are chosen.

    Attributes:
        kind: "balanced" (a share of the boxes holds foreground), "random" (anywhere), "grid" (every place once an epoch), "area" (of a
            grid, as many with foreground as `foreground` says, those balanced over bins of how much they hold) or "until" (drawn
            anywhere, and a share of them again until they hold foreground).
        foreground: for "balanced", the share of boxes centred near foreground; the others are random. For "area" the share of boxes that
            hold any; for "until" the share that is drawn again.
        jitter: for "balanced", how far the foreground point may lie from the box's centre: 1 reaches the box's border.
        shifted: for "grid" and "area", whether a second grid, moved by half a step, is used too.
        bins: for "area": so many bins of equal counts of boxes; 1 draws those with foreground as they come.
        tries: for "until": at most so many draws; the last one stands.
        hard: share of the boxes that are, once the network has been looked at, those in which it found most that is not there; they are
            looked for anew at each validation.
        least_std: boxes whose grey values, 0 … 255, deviate less are blank and drawn again; 0 takes none for blank.
        least_saturation: boxes none of whose 1 % most saturated pixels (HSV, 0 … 255) has as much are blank and drawn again; 0: none.
    """

    kind: Literal["balanced", "random", "grid", "area", "until"] = "balanced"
    foreground: float = 0.5
    jitter: float = 0.8
    shifted: bool = True
    bins: int = 4
    tries: int = 25
    hard: float = 0.0
    least_std: float = 0.0
    least_saturation: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("balanced", "random", "grid", "area", "until"):
            raise RecipeError(f"sampler.kind is {self.kind!r}; use 'balanced', 'random', 'grid', 'area' or 'until'")
        for name in ("bins", "tries"):
            if getattr(self, name) < 1:
                raise RecipeError(f"sampler.{name} is {getattr(self, name)}; it is at least 1")
        for name in ("least_std", "least_saturation"):
            if not 0 <= getattr(self, name) <= 255:
                raise RecipeError(f"sampler.{name} is {getattr(self, name)}; it lies between 0 and 255")
        for name in ("foreground", "jitter", "hard"):
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"sampler.{name} is {getattr(self, name)}; it lies between 0 and 1")


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


def sampler(
    options: SamplerOptions,
    shapes: Shapes,
    tile: tuple[int, ...],
    seed: int,
    foreground: Sequence[Foreground] = (),
    labelled: Sequence[Labelled] = (),
) -> Sampler:
    """The sampler that the options ask for; lists hold one entry a case, on its grid at the working spacing.

    Args:
        labelled: for sparse annotation: no box is then wholly unlabelled. Empty: all of every case is labelled.

    Raises:
        DataError: nothing at all is labelled.
    """
    if labelled and options.kind != "grid":
        plain = partial(sampler, options, shapes, tile, foreground=foreground)
        return annotated_boxes(lambda other: plain(seed=other), shapes, tile, seed, labelled)
    if options.kind == "grid":
        return grid_boxes(shapes, tile, shifted=options.shifted, seed=seed, labelled=labelled)
    if options.kind == "random":
        return random_boxes(shapes, tile, seed)
    return balanced_boxes(shapes, tile, seed, foreground, options.foreground, options.jitter)


def annotated_boxes(
    make: Callable[[int], Sampler], shapes: Shapes, tile: tuple[int, ...], seed: int, labelled: Sequence[Labelled]
) -> Sampler:
    """Boxes of another sampler, each drawn anew until it holds a labelled voxel; after `_TRIES` one is laid over such a voxel.

    Args:
        make: the sampler of a seed.

    Raises:
        DataError: nothing at all is labelled.
    """
    if not sum(case.count for case in labelled):
        raise DataError(f"nothing is labelled in any of the {len(labelled)} cases; check the masks and the annotated region")
    seeds = (seed, *(item_seed(seed, attempt) for attempt in range(1, _TRIES)))
    return Sampler(
        partial(_annotated, tuple(make(s) for s in seeds), tuple(labelled), _checked(shapes, tile), tuple(tile), seed)
    )


def grid_boxes(
    shapes: Shapes,
    tile: tuple[int, ...],
    step: tuple[int, ...] = (),
    shifted: bool = True,
    seed: int | None = None,
    labelled: Sequence[Labelled] = (),
) -> Sampler:
    """Every box of a grid over each case, moved back inside where it would hang over; then all of them again.

    Args:
        step: distance of neighbouring boxes, the tile where empty.
        shifted: whether a second grid, moved by half a step, is laid over the first.
        seed: shuffles each round anew; None keeps the order of cases and rows.
        labelled: one a case; boxes that hold no labelled voxel are left out. Empty: all are kept.

    Raises:
        DataError: no box is left.
    """
    boxes = tuple(
        (case, box) for case, box in grid_round(shapes, tile, step, shifted) if not labelled or labelled[case].any(box)
    )
    if not boxes:
        raise DataError(f"no box of {tile} holds a labelled voxel in any of the {len(labelled)} cases; check the masks")
    return Sampler(partial(_from_rounds, boxes, seed))


def grid_round(
    shapes: Shapes, tile: tuple[int, ...], step: tuple[int, ...] = (), shifted: bool = True
) -> Iterator[tuple[int, Box]]:
    """One round of `grid_boxes` in order: each (case index, box) once."""
    step = tuple(step) or tuple(tile)
    for case, shape in enumerate(_checked(shapes, tile)):
        offsets = [(0,) * len(shape), tuple(s // 2 for s in step)][: 2 if shifted else 1]
        grids = [Grid(shape, tuple(tile), step, offset) for offset in offsets]
        starts = (_kept(grid.tile_box(index).start, shape, tile) for grid in grids for index in grid)
        yield from ((case, Box(start, tuple(tile))) for start in dict.fromkeys(starts))


def random_boxes(shapes: Shapes, tile: tuple[int, ...], seed: int) -> Sampler:
    """Boxes anywhere, cases in proportion to their area. An image smaller than the tile lies somewhere inside it."""
    shapes = _checked(shapes, tile)
    return Sampler(partial(_random, shapes, _areas(shapes), tuple(tile), seed))


def balanced_boxes(
    shapes: Shapes, tile: tuple[int, ...], seed: int, foreground: Sequence[Foreground], share: float = 0.5, jitter: float = 0.8
) -> Sampler:
    """A `share` of the boxes holds foreground, all classes equally often; the others are random.

    Args:
        foreground: one a case; classes are matched by name. Cases without labels have none.
        jitter: 0 puts the foreground point at the box's centre, 1 anywhere in the box.

    Raises:
        ValueError: number of shapes and of foregrounds differ.
    """
    shapes = _checked(shapes, tile)
    if len(foreground) != len(shapes):
        raise ValueError(f"{len(foreground)} foregrounds for {len(shapes)} cases; give one a case")
    names = sorted({name for case in foreground for name, points in case.points.items() if len(points)})
    pools = tuple(_pool(foreground, name) for name in names)
    return Sampler(partial(_balanced, shapes, _areas(shapes), tuple(tile), seed, pools, share, jitter))


def _balanced(
    shapes: Shapes,
    areas: np.ndarray,
    tile: tuple[int, ...],
    seed: int,
    pools: tuple[np.ndarray, ...],
    share: float,
    jitter: float,
    n: int,
) -> tuple[int, Box]:
    rng = stream(seed, n, 1)
    if not pools or rng.random() >= share:
        return _random(shapes, areas, tile, seed, n)
    pool = pools[rng.integers(len(pools))]
    case, *point = (int(v) for v in pool[rng.integers(len(pool))])
    reach = [jitter * (t - 1) / 2 for t in tile]
    centre = [p + rng.uniform(-r, r) for p, r in zip(point, reach, strict=True)]
    start = tuple(round(c - (t - 1) / 2) for c, t in zip(centre, tile, strict=True))
    return case, Box(_kept(start, shapes[case], tile), tile)


def _random(shapes: Shapes, areas: np.ndarray, tile: tuple[int, ...], seed: int, n: int) -> tuple[int, Box]:
    rng = stream(seed, n)
    case = int(np.searchsorted(areas, rng.random() * areas[-1], side="right"))
    ranges = [sorted((0, size - t)) for size, t in zip(shapes[case], tile, strict=True)]
    return case, Box(tuple(int(rng.integers(low, high + 1)) for low, high in ranges), tile)


def _annotated(
    samplers: tuple[Sampler, ...],
    labelled: tuple[Labelled, ...],
    shapes: Shapes,
    tile: tuple[int, ...],
    seed: int,
    n: int,
) -> tuple[int, Box]:
    for draw in samplers:
        case, box = draw(n)
        if labelled[case].any(box):
            return case, box
    rng = stream(seed, n, 2)
    ends = np.cumsum([case.count for case in labelled])
    number = int(rng.integers(ends[-1]))
    case = int(np.searchsorted(ends, number, side="right"))
    place = labelled[case].place(number - int(ends[case]) + labelled[case].count)
    ranges = [(b - t, a) for a, b, t in zip(place.start, place.stop, tile, strict=True)]
    start = [int(rng.integers(low, high + 1)) for low, high in ranges]
    return case, Box(_kept(start, shapes[case], tile), tile)


def _areas(shapes: Shapes) -> np.ndarray:
    """Areas (3-D: volumes) added up case by case."""
    return np.cumsum([np.prod(shape, dtype=float) for shape in shapes])


def _from_rounds(boxes: tuple[tuple[int, Box], ...], seed: int | None, n: int) -> tuple[int, Box]:
    turn, place = divmod(n, len(boxes))
    return boxes[place if seed is None else int(_order(len(boxes), seed, turn)[place])]


@lru_cache(maxsize=4)
def _order(count: int, seed: int, turn: int) -> np.ndarray:
    return stream(seed, turn).permutation(count)


def _pool(foreground: Sequence[Foreground], name: str) -> np.ndarray:
    """(points, 1 + rank): case index and position of every candidate point of a class."""
    parts = [(case, fg.points[name]) for case, fg in enumerate(foreground) if len(fg.points.get(name, ()))]
    return np.concatenate([np.column_stack([np.full(len(points), case), points]) for case, points in parts])


def _kept(start: Sequence[int], shape: tuple[int, ...], tile: tuple[int, ...]) -> tuple[int, ...]:
    """The start moved so that the tile hangs over the border no more than it must."""
    low_high = (sorted((0, size - t)) for size, t in zip(shape, tile, strict=True))
    return tuple(min(max(s, low), high) for s, (low, high) in zip(start, low_high, strict=True))


def _checked(shapes: Shapes, tile: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    checked = tuple(tuple(int(n) for n in shape) for shape in shapes)
    wrong = [shape for shape in checked if len(shape) != len(tile) or min(shape) < 1]
    if wrong or not checked or min(tile) < 1:
        raise ValueError(
            f"shapes {wrong or checked} and tile {tile}: need at least one case, equal rank and sides of 1 or more"
        )
    return checked
