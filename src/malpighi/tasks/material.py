"""What a run trains on: open cases, the batches drawn from them, and what its network takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from malpighi.annotations.base import Annotation
from malpighi.geometry import Spacing
from malpighi.recipes.recipe import Recipe
from malpighi.sampling.augment import check_augment
from malpighi.sampling.boxes import sampler
from malpighi.sampling.cases import Case, CaseTable, OpenCase, open_case
from malpighi.sampling.dataset import TileBatches
from malpighi.sampling.folds import Fold, make_folds
from malpighi.sampling.foreground import Foreground, find_foreground
from malpighi.sampling.intensity import Intensity, measure_intensity
from malpighi.sampling.labelled import find_labelled
from malpighi.sampling.stain_bank import Stains, fit_stains, needs_stains
from malpighi.sampling.turned import require_alike, turned
from malpighi.tasks.image import prepare_source
from malpighi.tasks.run import Inputs
from malpighi.tasks.talk import Talk


@dataclass(frozen=True)
class Material:
    """Open cases on both sides of the split (volumes once a direction), the batches, what the network takes and gives."""

    trained: tuple[OpenCase, ...]
    held: tuple[OpenCase, ...]
    inputs: Inputs
    batches: TileBatches


def gather(table: CaseTable, fold: Fold, recipe: Recipe, stack: ExitStack, talk: Talk) -> Material:
    """Open the cases of a fold (closed with `stack`), measure intensities, find where the objects are.

    Raises:
        DataError: a file cannot be read, or an image differs from the others in channels or axes.
        SpacingError: an image's pixel size is in another unit than the recipe's.
    """
    classes = tuple(recipe.data.classes) or table.classes
    with talk.bar("opening images", total=len(fold.train) + len(fold.validation)) as advance:
        trained, held = (_open(table.cases, part, classes, stack, advance) for part in fold)
    spacing = recipe.data.working_spacing(trained[0].source.space.rank)
    tile = recipe.data.sides(spacing.rank)
    inputs = _inputs(trained, classes, recipe, spacing)
    for case in (*trained, *held):
        inputs.check(case.source)
    if recipe.intensity.per == "image":
        with talk.bar("measuring intensities", total=len(trained) + len(held)) as advance:
            trained, held = (tuple(_scaled(case, recipe, advance) for case in part) for part in (trained, held))
    if spacing.rank == 3:
        require_alike(recipe.data.axes, spacing)
        trained = tuple(turned(case, axis) for case in trained for axis in recipe.data.axes)
    with talk.bar("finding objects to train on", total=len(trained)) as advance:
        foreground = [_points(case, spacing, tile, advance) for case in trained]
    labelled = [find_labelled(_labels(case), spacing, tile) for case in trained] if spacing.rank == 3 else ()
    options = recipe.train
    shapes = [case.source.space.shape_at(spacing) for case in trained]
    draw = sampler(recipe.sampling, shapes, tile, options.seed, foreground, labelled)
    batches = TileBatches(
        trained,
        draw,
        spacing,
        tile,
        recipe.data.context,
        recipe.augment,
        options.batch,
        options.seed,
        options.loaders,
        recipe.instances.kind,
        stains=_stains(trained, spacing, recipe, talk),
    )
    return Material(trained, held, inputs, batches)


def _stains(cases: Sequence[OpenCase], spacing: Spacing, recipe: Recipe, talk: Talk) -> Stains | None:
    """The stains of every case and of the images that they are made to look like; None where the recipe does not ask for it.

    Raises:
        RecipeError: an augmentation that images of this kind cannot be given.
        DataError: the recipe names no image to look like, or one without stains.
    """
    source, options = cases[0].source, recipe.augment
    check_augment(options, spacing.rank, source.dtype.name, len(source.channels))
    if not needs_stains(options):
        return None
    with talk.bar("finding stains", total=None) as advance:
        return fit_stains(cases, spacing, options, advance, lambda line: talk.say(f"[yellow]note:[/yellow] {line}"))


def _inputs(cases: Sequence[OpenCase], classes: tuple[str, ...], recipe: Recipe, spacing: Spacing) -> Inputs:
    """What the network is given: raw voxels of one type and their scale, or voxels that are scaled image by image."""
    channels = len(cases[0].source.channels)
    if recipe.intensity.per == "image":
        return Inputs(classes, channels, spacing, Intensity.identity(channels), layers=recipe.instances.layers)
    intensity = measure_intensity([case.source for case in cases], recipe.intensity, spacing)
    return Inputs(classes, channels, spacing, intensity, cases[0].source.dtype.name, recipe.instances.layers)


def _scaled(case: OpenCase, recipe: Recipe, advance: Callable[..., None]) -> OpenCase:
    scaled = replace(case, source=prepare_source(case.source, recipe))
    advance()
    return scaled


def fold_of(cases: Sequence[Case], recipe: Recipe) -> Fold:
    """The split of the recipe; with fold -1 everything is trained on and fold 0 is looked at."""
    labelled = [i for i, case in enumerate(cases) if case.labels]
    groups = {case.group or case.id for case in cases}
    fixed = any(case.split == "validation" for case in cases)
    folds = make_folds(cases, n=min(recipe.data.folds, max(2, len(groups))))
    chosen = folds[0 if fixed else max(0, recipe.data.fold)]
    train = tuple(labelled) if recipe.data.fold == -1 else chosen.train
    return Fold(train, chosen.validation)


def _points(case: OpenCase, spacing: Spacing, tile: tuple[int, ...], advance: Callable[..., None]) -> Foreground:
    """Where a case's objects are, for the sampler."""
    found = find_foreground(_labels(case), spacing, tile)
    advance()
    return found


def _labels(case: OpenCase) -> Annotation:
    assert case.annotation is not None, "training cases are labelled"
    return case.annotation


def _open(
    cases: Sequence[Case], part: Iterable[int], classes: tuple[str, ...], stack: ExitStack, advance: Callable[..., None]
) -> tuple[OpenCase, ...]:
    opened = []
    for i in part:
        opened.append(stack.enter_context(open_case(cases[i], classes)))
        advance()
    return tuple(opened)
