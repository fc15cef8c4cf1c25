"""What a run trains on: open cases, the batches drawn from them, and what its network takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from malpighi.errors import DataError, SpacingError
from malpighi.geometry import Spacing
from malpighi.recipes.fitting import require_sampling_fits, require_told
from malpighi.recipes.recipe import Recipe
from malpighi.sampling.augment import check_augment
from malpighi.sampling.cases import UNKNOWN, Case, CaseTable, OpenCase, open_case
from malpighi.sampling.dataset import PIXEL_SIZE, TileBatches
from malpighi.sampling.folds import Fold, left_out, make_folds
from malpighi.sampling.hard_boxes import HardBoxes, hard_boxes
from malpighi.sampling.intensity import Intensity, measure_intensity
from malpighi.sampling.reductions import views
from malpighi.sampling.regions import Weight
from malpighi.sampling.stain_bank import Stains, fit_stains, needs_stains
from malpighi.sampling.turned import require_alike, turned
from malpighi.tasks.image import prepare_source
from malpighi.tasks.run import Inputs
from malpighi.tasks.series import View, draw_of, weigh
from malpighi.tasks.talk import Talk


@dataclass(frozen=True)
class Material:
    """Open cases on both sides of the split (volumes once a direction), the batches, what the network takes and gives.

    Attributes:
        weights: how often boxes of each of the batches' cases are drawn, and of its regions.
        hard: the boxes that come back more often, found while training; None where the recipe asks for none.
    """

    trained: tuple[OpenCase, ...]
    held: tuple[OpenCase, ...]
    inputs: Inputs
    batches: TileBatches
    weights: tuple[Weight, ...] = ()
    hard: HardBoxes | None = None


def gather(table: CaseTable, fold: Fold, recipe: Recipe, stack: ExitStack, talk: Talk) -> Material:
    """Open the cases of a fold (closed with `stack`), measure intensities, find where the objects are.

    Raises:
        DataError: a file cannot be read, or an image differs from the others in channels or axes.
        SpacingError: an image's pixel size is in another unit than the recipe's.
    """
    classes = tuple(recipe.data.classes) or table.classes
    with talk.bar("opening images", total=len(fold.train) + len(fold.validation)) as advance:
        trained, held = (_open(table.cases, part, classes, stack, advance) for part in fold)
    for note in _notes(table.cases, fold):
        talk.say(note)
    spacing = recipe.data.working_spacing(trained[0].source.space.rank)
    tile = recipe.data.sides(spacing.rank)
    require_sampling_fits(recipe.task, spacing.rank, recipe.data, recipe.sampling)
    inputs = _inputs(trained, classes, recipe, spacing)
    for case in (*trained, *held):
        inputs.check(case.source)
        if recipe.task == "instances" and case.annotation is not None and case.annotation.soft:
            raise DataError(
                f"case {case.case.id}: objects cannot be told apart by probabilities; give labels that are no `soft` ones"
            )
    files = [case.source for case in trained]
    if recipe.intensity.per == "image":
        with talk.bar("measuring intensities", total=len(trained) + len(held)) as advance:
            trained, held = (tuple(_scaled(case, recipe, advance) for case in part) for part in (trained, held))
    if spacing.rank == 3:
        require_alike(recipe.data.axes, spacing)
        trained = tuple(turned(case, axis) for case in trained for axis in recipe.data.axes)
        files = [case.source for case in trained]
    seen = [View(trained[i], at, files[i]) for i, at in _views(trained, inputs, tile, recipe)]
    weights = weigh(seen, recipe.sampling, tile, talk)
    draw = draw_of(seen, weights, recipe, tile, talk)
    hard = HardBoxes() if recipe.sampling.hard else None
    options = recipe.train
    if hard is not None:
        draw = hard_boxes(draw, hard, tile, recipe.sampling.hard, options.batch, options.seed)
    batches = TileBatches(
        tuple(view.case for view in seen),
        draw,
        spacing,
        tile,
        recipe.data.context,
        recipe.augment,
        options.batch,
        options.seed,
        options.loaders,
        recipe.instances.kind,
        tuple(view.spacing for view in seen),
        recipe.model.tells,
        inputs.told,
        _stains([view.case for view in seen], spacing, recipe, talk),
    )
    return Material(trained, held, inputs, batches, weights, hard)


def _notes(cases: Sequence[Case], fold: Fold) -> Iterable[str]:
    """What a reader should know of pseudo-labels that are not used."""
    if count := len(left_out(cases, fold)):
        yield f"{count} pseudo-labelled image{'s' * (count > 1)} of held-out donors left out: they would tell of the validation"


def _views(cases: Sequence[OpenCase], inputs: Inputs, tile: tuple[int, ...], recipe: Recipe) -> list[tuple[int, Spacing]]:
    """(case, spacing), each one that the images have pixels for.

    Raises:
        SpacingError: an image would be enlarged or reduced beyond measure.
    """
    data = recipe.data
    seen = views([case.source.space for case in cases], inputs.spacing, tile, data.reductions, data.across)
    for index, spacing in seen:
        try:
            replace(inputs, spacing=spacing).check(cases[index].source)
        except SpacingError as error:
            if spacing == inputs.spacing:
                raise
            asked = f"across {list(data.across)}" if data.across else f"reductions {list(data.reductions)}"
            raise SpacingError(f"data.{asked} with data.tile = {data.tile}: {error}") from error
    return seen


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
    channels, told = len(cases[0].source.channels), _told(cases, recipe)
    if recipe.intensity.per == "image":
        return Inputs(classes, channels, spacing, Intensity.identity(channels), layers=recipe.instances.layers, told=told)
    intensity = measure_intensity([case.source for case in cases], recipe.intensity, spacing)
    return Inputs(classes, channels, spacing, intensity, cases[0].source.dtype.name, recipe.instances.layers, told)


def _told(cases: Sequence[OpenCase], recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """The values of each attribute that the network is taught to tell, in order."""
    names = [name for name in recipe.model.tells if name != PIXEL_SIZE]
    told = {name: tuple(sorted({case.case.value(name) for case in cases} - {UNKNOWN})) for name in names}
    require_told(recipe.model, told)
    return told


def _scaled(case: OpenCase, recipe: Recipe, advance: Callable[..., None]) -> OpenCase:
    scaled = replace(case, source=prepare_source(case.source, recipe))
    advance()
    return scaled


def fold_of(cases: Sequence[Case], recipe: Recipe) -> Fold:
    """The split of the recipe; with fold -1 everything is trained on and fold 0 is looked at.

    Raises:
        DataError: there are too few groups for that fold.
    """
    labelled = [i for i, case in enumerate(cases) if case.labels]
    groups = {case.group or case.id for case in cases if not case.pseudo}
    fixed = any(case.split == "validation" for case in cases)
    folds = make_folds(cases, n=min(recipe.data.folds, max(2, len(groups))))
    if not fixed and recipe.data.fold >= len(folds):
        raise DataError(
            f"data.fold = {recipe.data.fold}: {len(groups)} donors (groups) make {len(folds)} folds; set data.fold to one of 0 to "
            f"{len(folds) - 1}"
        )
    chosen = folds[0 if fixed else max(0, recipe.data.fold)]
    train = tuple(labelled) if recipe.data.fold == -1 else chosen.train
    return Fold(train, chosen.validation)


def _open(
    cases: Sequence[Case], part: Iterable[int], classes: tuple[str, ...], stack: ExitStack, advance: Callable[..., None]
) -> tuple[OpenCase, ...]:
    opened = []
    for i in part:
        opened.append(stack.enter_context(open_case(cases[i], classes)))
        advance()
    return tuple(opened)
