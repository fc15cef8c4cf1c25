"""Boxes that are drawn again: until they hold foreground, or something labelled, or show any tissue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.sampling.blank_tiles import TileSums
from malpighi.sampling.labelled import Labelled
from malpighi.sampling.places import Places, Shapes, checked, kept, places_of
from malpighi.sampling.plain_boxes import Sampler
from malpighi.sampling.regions import Weight
from malpighi.sampling.seeds import item_seed, stream

TRIES = 8
"""Boxes drawn before one is laid over a labelled voxel, or taken blank as it is."""


def until_boxes(
    shapes: Shapes,
    tile: tuple[int, ...],
    seed: int,
    held: Sequence[Labelled],
    share: float = 1.0,
    tries: int = 25,
    weights: Sequence[Weight] = (),
) -> Sampler:
    """Boxes anywhere; a `share` of them drawn again until they hold foreground, or as often as `tries` says: the last stands.

    Args:
        held: one a case: the cells that hold foreground, see `find_held`. Whether a box does is seen by the cells that lie in it as a
            whole: what reaches into its outer eighth alone is not.
        weights: one a case, of its area.

    Raises:
        ValueError: numbers of shapes and of `held` differ.
    """
    if len(held) != len(shapes):
        raise ValueError(f"{len(held)} tables of foreground for {len(shapes)} cases; give one a case")
    return Sampler(partial(_until, places_of(shapes, tile, weights), seed, tuple(held), share, tries))


def annotated_boxes(
    make: Callable[[int], Sampler],
    shapes: Shapes,
    tile: tuple[int, ...],
    seed: int,
    labelled: Sequence[Labelled],
    weights: Sequence[Weight] = (),
) -> Sampler:
    """Boxes of another sampler, each drawn anew until it holds a labelled voxel; after `TRIES` one is laid over such a voxel.

    Args:
        make: the sampler of a seed.
        weights: of the cases; none is laid over a case of weight 0.

    Raises:
        DataError: nothing at all is labelled.
    """
    every = weights or [Weight()] * len(labelled)
    counts = tuple(case.count * (weight.whole > 0) for case, weight in zip(labelled, every, strict=True))
    if not sum(counts):
        raise DataError(f"nothing is labelled in any of the {len(labelled)} cases; check the masks and the annotated region")
    seeds = (seed, *(item_seed(seed, attempt) for attempt in range(1, TRIES)))
    samplers = tuple(make(s) for s in seeds)
    return Sampler(partial(_annotated, samplers, tuple(labelled), counts, checked(shapes, tile), tuple(tile), seed))


def tissue_boxes(make: Callable[[int], Sampler], seed: int, blank: Sequence[TileSums]) -> Sampler:
    """Boxes of another sampler, a blank one drawn anew; the last of `TRIES` stands.

    Args:
        make: the sampler of a seed.
        blank: one a case.
    """
    seeds = (seed, *(item_seed(seed, attempt, 1) for attempt in range(1, TRIES)))
    return Sampler(partial(_tissue, tuple(make(s) for s in seeds), tuple(blank)))


def _until(
    places: Places,
    seed: int,
    held: tuple[Labelled, ...],
    share: float,
    tries: int,
    n: int,
) -> tuple[int, Box]:
    rng = stream(seed, n, 3)
    again = tries if rng.random() < share else 1
    for _ in range(again):
        case, box = places.anywhere(rng)
        if held[case].any(box):
            break
    return case, box


def _annotated(
    samplers: tuple[Sampler, ...],
    labelled: tuple[Labelled, ...],
    counts: tuple[int, ...],
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
    ends = np.cumsum(counts)
    number = int(rng.integers(ends[-1]))
    case = int(np.searchsorted(ends, number, side="right"))
    place = labelled[case].place(number - int(ends[case]) + counts[case])
    ranges = [(b - t, a) for a, b, t in zip(place.start, place.stop, tile, strict=True)]
    start = [int(rng.integers(low, high + 1)) for low, high in ranges]
    return case, Box(kept(start, shapes[case], tile), tile)


def _tissue(samplers: tuple[Sampler, ...], blank: tuple[TileSums, ...], n: int) -> tuple[int, Box]:
    for draw in samplers:
        case, box = draw(n)
        if not blank[case].blank(box):
            break
    return case, box
