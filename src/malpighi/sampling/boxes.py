"""Samplers: which box of which case comes next. They know shapes, points and counts, never pixels.

Box number n is a function of (seed, n) alone, so that a run that is resumed at step n, or split over workers, draws what the
uninterrupted one would have drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from malpighi.errors import RecipeError
from malpighi.sampling.area_boxes import BoxCounts, area_boxes
from malpighi.sampling.blank_tiles import TileSums
from malpighi.sampling.foreground import Foreground, find_foreground
from malpighi.sampling.labelled import Labelled, find_labelled
from malpighi.sampling.places import Shapes
from malpighi.sampling.plain_boxes import Sampler, balanced_boxes, grid_boxes, grid_round, random_boxes
from malpighi.sampling.regions import Weight
from malpighi.sampling.until_boxes import annotated_boxes, tissue_boxes, until_boxes

__all__ = [
    "Sampler",
    "SamplerOptions",
    "annotated_boxes",
    "area_boxes",
    "balanced_boxes",
    "find_foreground",
    "find_labelled",
    "grid_boxes",
    "grid_round",
    "random_boxes",
    "sampler",
    "tissue_boxes",
    "until_boxes",
]


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
        bins: for "area": so many bins by the foreground in a box, equal in width, each drawn from as often as the others; 1 draws
            boxes with foreground as they come.
        tries: for "until": at most so many draws; the last one stands.
        hard: share of the boxes that are, once the network has been looked at, those in which it found most that is not there; they are
            looked for anew at each validation.
        least_std: of 8-bit RGB: boxes whose grey values, 0 … 255, deviate less are blank: a grid leaves them out, others draw again;
            0 takes none for blank.
        least_saturation: boxes of whose pixels less than 1 % have as much saturation (HSV, 0 … 255) are blank and drawn again; 0: none.
        regions: of images whose manifest names a file of `regions`: names of outlines in it, such as Cortex and Medulla. A box belongs to
            the one that its middle lies in; where two overlap, to that named later.
        region_weights: how often boxes of each are drawn, relative to boxes elsewhere; 0: never.
        elsewhere: the same outside of all `regions`, and in images without any.
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
    regions: tuple[str, ...] = ()
    region_weights: tuple[float, ...] = ()
    elsewhere: float = 1.0

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
        self._check_regions()

    def _check_regions(self) -> None:
        told, weights = list(self.regions), [*self.region_weights, self.elsewhere]
        if not told and self.elsewhere != 1:
            raise RecipeError(f"sampling.elsewhere is {self.elsewhere}, elsewhere than in what? name sampling.regions")
        if len(told) != len(self.region_weights) or len(set(told)) != len(told):
            raise RecipeError(
                f"sampling.regions {told} and sampling.region_weights {list(self.region_weights)}: name each region once and give "
                "each a weight"
            )
        if not all(0 <= weight < float("inf") for weight in weights) or not any(weights):
            raise RecipeError(
                f"sampling.region_weights {list(self.region_weights)} and sampling.elsewhere {self.elsewhere}: give numbers of 0 or "
                "more, and at least one above"
            )


def sampler(
    options: SamplerOptions,
    shapes: Shapes,
    tile: tuple[int, ...],
    seed: int,
    foreground: Sequence[Foreground] = (),
    labelled: Sequence[Labelled] = (),
    *,
    held: Sequence[Labelled] = (),
    counts: Sequence[BoxCounts] = (),
    weights: Sequence[Weight] = (),
    blank: Sequence[TileSums] = (),
) -> Sampler:
    """The sampler that the options ask for; lists hold one entry a case, on its grid at its spacing.

    Hard boxes (`SamplerOptions.hard`) are no part of it: see `hard_boxes`.

    Args:
        foreground: for "balanced".
        labelled: for sparse annotation: no box is then wholly unlabelled. Empty: all of every case is labelled. "area" sees to it by
            itself.
        held: for "until": the cells with foreground.
        counts: for "area".
        weights: how often a case, and what region of it, is drawn. Empty: all alike.
        blank: what is known of blank boxes. Empty: there are none.

    Raises:
        DataError: nothing at all is labelled, or all is blank, or of weight 0.
    """
    if options.kind == "area":
        return area_boxes(counts, seed, options.foreground, options.bins, weights, blank)
    if options.kind == "grid":
        return grid_boxes(shapes, tile, shifted=options.shifted, seed=seed, labelled=labelled, weights=weights, blank=blank)

    def plain(seed: int) -> Sampler:
        if options.kind == "random":
            return random_boxes(shapes, tile, seed, weights)
        if options.kind == "until":
            return until_boxes(shapes, tile, seed, held, options.foreground, options.tries, weights)
        return balanced_boxes(shapes, tile, seed, foreground, options.foreground, options.jitter, weights)

    make = partial(tissue_boxes, plain, blank=blank) if blank else plain
    return annotated_boxes(make, shapes, tile, seed, labelled, weights) if labelled else make(seed)
