"""Which boxes a run trains on: each image looked through once for what the recipe's sampler asks, then one series of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from malpighi.annotations.base import Annotation
from malpighi.geometry import Spacing
from malpighi.images import Source
from malpighi.recipes.recipe import Recipe
from malpighi.sampling.area_boxes import count_boxes
from malpighi.sampling.blank_tiles import measure_tiles
from malpighi.sampling.boxes import Sampler, SamplerOptions, sampler
from malpighi.sampling.cases import OpenCase
from malpighi.sampling.foreground import find_foreground, find_held
from malpighi.sampling.labelled import find_labelled
from malpighi.sampling.mixed_boxes import mixed_boxes, of_cases
from malpighi.sampling.seeds import item_seed
from malpighi.tasks.talk import Talk

Found = TypeVar("Found")


@dataclass(frozen=True)
class View:
    """A case at one spacing.

    Attributes:
        case: open; its source may be on a scale of its own.
        spacing: at which it is drawn from.
        pixels: its source as the file has it.
    """

    case: OpenCase
    spacing: Spacing
    pixels: Source

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image at the spacing."""
        return self.case.source.space.shape_at(self.spacing)

    @property
    def labels(self) -> Annotation:
        """Its annotation."""
        assert self.case.annotation is not None, "training cases are labelled"
        return self.case.annotation


def draw_of(views: Sequence[View], recipe: Recipe, tile: tuple[int, ...], talk: Talk) -> Sampler:
    """The series of training boxes: (view, box). What a network labelled is a series of its own, with `cycle.share` of the boxes.

    Raises:
        DataError: nothing is labelled, or all is blank.
    """
    hand = [k for k, view in enumerate(views) if not view.case.case.pseudo]
    pseudo = [k for k, view in enumerate(views) if view.case.case.pseudo]
    seed, parts = recipe.train.seed, []
    if hand:
        series = _series([views[k] for k in hand], recipe.sampling, tile, seed, talk)
        parts.append((1 - recipe.cycle.share if pseudo else 1.0, of_cases(series, hand) if pseudo else series))
    if pseudo:
        positive = recipe.cycle.positive
        taught = [views[k] for k in pseudo]
        if not positive or _holds_any(taught, tile, talk):
            series = _series(taught, recipe.sampling, tile, item_seed(seed, 1), talk, positive)
            parts.append((recipe.cycle.share, of_cases(series, pseudo)))
    return mixed_boxes(parts, seed)


def _holds_any(views: Sequence[View], tile: tuple[int, ...], talk: Talk) -> bool:
    with talk.bar("looking for pseudo-labelled objects", total=len(views)) as advance:
        if any(find_held(view.labels, view.spacing, tile, advance).count for view in views):
            return True
    talk.say("[yellow]note:[/yellow] pseudo-labels hold no object, and cycle.positive asks for boxes with some: none are drawn")
    return False


def _series(
    views: Sequence[View], options: SamplerOptions, tile: tuple[int, ...], seed: int, talk: Talk, positive: bool = False
) -> Sampler:
    """The boxes of some views, as the options ask.

    Args:
        positive: every box holds foreground.
    """
    if positive:
        options = replace(options, foreground=1.0) if options.kind == "area" else options
    kind, volumes = options.kind, len(tile) == 3

    def found(wanted: bool, text: str, find: Callable[[View, Callable[..., None]], Found]) -> list[Found]:
        if not wanted:
            return []
        with talk.bar(text, total=len(views)) as advance:
            return [find(view, advance) for view in views]

    objects = "finding objects to train on"
    points = found(kind == "balanced", objects, lambda v, advance: find_foreground(v.labels, v.spacing, tile, advance=advance))
    held = found(
        kind == "until" or (positive and kind != "area"),
        objects,
        lambda v, advance: find_held(v.labels, v.spacing, tile, advance),
    )
    counts = found(
        kind == "area",
        "counting what boxes hold",
        lambda v, advance: count_boxes(v.labels, v.spacing, tile, options.shifted, advance),
    )
    labelled = found(
        volumes and kind != "area" and not positive,
        "finding what is labelled",
        lambda v, advance: find_labelled(v.labels, v.spacing, tile, advance),
    )
    blank = found(
        bool(options.least_std or options.least_saturation),
        "finding blank boxes",
        lambda v, advance: measure_tiles(v.pixels, v.spacing, tile, options.least_std, options.least_saturation, advance),
    )
    return sampler(
        options,
        [view.shape for view in views],
        tile,
        seed,
        points,
        held if positive else labelled,
        held=held,
        counts=counts,
        weights=_weights(views),
        blank=blank,
    )


def _weights(views: Sequence[View]) -> tuple[float, ...]:
    """`Case.weight` of each; none where all are alike."""
    weights = tuple(view.case.case.weight for view in views)
    return () if len(set(weights)) == 1 and weights[0] else weights
