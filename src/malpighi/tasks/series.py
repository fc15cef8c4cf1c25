"""Which boxes a run trains on: each image looked through once for what the recipe's sampler asks, then one series of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypeVar

from malpighi.annotations.base import Annotation
from malpighi.errors import DataError
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
from malpighi.sampling.regions import Weight, open_regions, weigh_regions
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


def draw_of(views: Sequence[View], weights: Sequence[Weight], recipe: Recipe, tile: tuple[int, ...], talk: Talk) -> Sampler:
    """The series of training boxes: (view, box). What a network labelled is a series of its own, with `cycle.share` of the boxes.

    Args:
        weights: one a view, see `weigh`.

    Raises:
        DataError: nothing is labelled, or all is blank.
    """
    hand = [k for k, view in enumerate(views) if not view.case.case.pseudo]
    pseudo = [k for k, view in enumerate(views) if view.case.case.pseudo]
    seed, parts = recipe.train.seed, []
    if hand:
        series = _series([views[k] for k in hand], [weights[k] for k in hand], recipe.sampling, tile, seed, talk)
        parts.append((1 - recipe.cycle.share if pseudo else 1.0, of_cases(series, hand) if pseudo else series))
    if pseudo:
        positive = recipe.cycle.positive
        taught, told = [views[k] for k in pseudo], [weights[k] for k in pseudo]
        if not positive or _holds_any(taught, tile, talk):
            series = _series(taught, told, recipe.sampling, tile, item_seed(seed, 1), talk, positive)
            parts.append((recipe.cycle.share, of_cases(series, pseudo)))
    return mixed_boxes(parts, seed)


def _holds_any(views: Sequence[View], tile: tuple[int, ...], talk: Talk) -> bool:
    with talk.bar("looking for pseudo-labelled objects", total=len(views)) as advance:
        if any(find_held(view.labels, view.spacing, tile, advance).count for view in views):
            return True
    talk.say("[yellow]note:[/yellow] pseudo-labels hold no object, and cycle.positive asks for boxes with some: none are drawn")
    return False


def _series(
    views: Sequence[View],
    weights: Sequence[Weight],
    options: SamplerOptions,
    tile: tuple[int, ...],
    seed: int,
    talk: Talk,
    positive: bool = False,
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
        weights=() if _alike(weights) else weights,
        blank=blank,
    )


def _alike(weights: Sequence[Weight]) -> bool:
    return len({weight.whole for weight in weights}) == 1 and all(weight.cells is None and weight.whole for weight in weights)


def weigh(views: Sequence[View], options: SamplerOptions, tile: tuple[int, ...], talk: Talk) -> tuple[Weight, ...]:
    """How often boxes of each view are drawn, region by region where the options name any.

    Raises:
        DataError: a file of regions cannot be read, no image has one, or a region is in none of them.
    """
    if not options.regions:
        return tuple(Weight(view.case.case.weight) for view in views)
    wanted = tuple(zip(options.regions, options.region_weights, strict=True))
    weights, met = [], set[str]()
    with talk.bar("finding regions", total=len(views)) as advance:
        for view in views:
            case = view.case.case
            if case.regions is None:
                weights.append(Weight(case.weight * options.elsewhere))
                advance()
                continue
            with closing(open_regions(case.regions, view.case.source.space)) as outlined:
                cells, cell = weigh_regions(outlined, view.spacing, tile, wanted, options.elsewhere, advance)
            met |= set(outlined.classes)
            weights.append(Weight(case.weight, cells, cell))
    _check_regions(views, options, met, talk)
    return tuple(weights)


def _check_regions(views: Sequence[View], options: SamplerOptions, met: set[str], talk: Talk) -> None:
    """Complain of regions that are nowhere; tell of images without any."""
    cases = {view.case.case.id: view.case.case.regions for view in views}
    without = [name for name, regions in cases.items() if regions is None]
    if len(without) == len(cases):
        raise DataError(
            f"sampling.regions {list(options.regions)}: none of {len(cases)} images says where its regions are; give manifest.csv a "
            "column `regions` with a GeoJSON file an image, or leave sampling.regions out"
        )
    unknown = [name for name in options.regions if name not in met]
    if unknown:
        raise DataError(
            f"sampling.regions: no image to train on has a region {unknown[0]!r}; their files name {', '.join(sorted(met)) or 'none'}: "
            "what counts is the class that QuPath gave an outline (`classification`), not its name"
        )
    if without:
        talk.say(
            f"[yellow]note:[/yellow] {len(without)} of {len(cases)} images name no file of regions, {without[0]} for one; all of such an "
            f"image counts as elsewhere: weight {options.elsewhere:g}"
        )
