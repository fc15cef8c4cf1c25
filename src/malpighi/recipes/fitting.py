"""What the sections of a recipe ask for, against its task and its network: an option that would do nothing is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from malpighi.errors import RecipeError
from malpighi.inference.options import PredictOptions
from malpighi.models.build import ModelOptions
from malpighi.objects.measure import ObjectOptions
from malpighi.sampling.boxes import SamplerOptions

if TYPE_CHECKING:
    from malpighi.recipes.recipe import DataOptions


def require_fitting(task: str, model: ModelOptions, predict: PredictOptions, objects: ObjectOptions) -> None:
    """Refuse options of inference, and of what follows it, that do not go with the task or the network.

    Raises:
        RecipeError: says which, and what to do.
    """
    for wrong in (
        _gate(model, predict),
        _images(model, predict, objects),
        _instances(task, predict, objects),
        _layers(task, model),
        _top(predict),
    ):
        if wrong:
            raise RecipeError(wrong)


def _gate(model: ModelOptions, predict: PredictOptions) -> str:
    if not predict.gate:
        return ""
    if model.slices_in:
        return (
            f"predict.gate = {predict.gate}: slices of a volume are not asked for the classes of a tile; set predict.gate = 0"
        )
    if not model.tile_class:
        return (
            f"predict.gate = {predict.gate}: the network does not say which classes a tile holds; train it with "
            "model.tile_class = true, or set predict.gate = 0"
        )
    return ""


def _images(model: ModelOptions, predict: PredictOptions, objects: ObjectOptions) -> str:
    """What images have and volumes have not."""
    asked = {"predict.across": predict.across, "objects.fill_holes": objects.fill_holes, "objects.otsu": objects.otsu}
    for key, value in asked.items():
        if value and model.rank == 3:
            return f"{key} = {value}: is for images, and this network takes volumes; set {key} = 0"
    return ""


def _instances(task: str, predict: PredictOptions, objects: ObjectOptions) -> str:
    """What is done to masks, and not to objects that a network tells apart."""
    asked: dict[str, object] = {
        "predict.gate": predict.gate,
        "predict.across": predict.across,
        "predict.one_class": predict.one_class,
        "objects.otsu": objects.otsu,
        "objects.energy": objects.energy,
    }
    for key, value in asked.items():
        if value and task == "instances":
            off = "false" if value is True else "0"
            return f'{key} = {str(value).lower()}: task "instances" makes objects of layers, not of masks; set {key} = {off}'
    return ""


def _layers(task: str, model: ModelOptions) -> str:
    """What is said of classes, and not of the layers that objects are made of."""
    for key in ("exclusive", "tile_class"):
        if task == "instances" and getattr(model, key):
            return f'model.{key} = true: task "instances" gives layers, not classes; set model.{key} = false'
    return ""


def _top(predict: PredictOptions) -> str:
    if predict.top and predict.one_class:
        return f"predict.one_class with predict.top = {predict.top}: top gives every class as many voxels; set one of them off"
    return ""


def require_sampling_fits(task: str, rank: int, data: DataOptions, sampling: SamplerOptions) -> None:
    """Refuse options of what is drawn that do not go with the task, or with images of `rank` axes.

    Raises:
        RecipeError: says which, and what to do.
    """
    if data.across and tuple(data.reductions) != (1.0,):
        raise RecipeError(
            f"data.across {list(data.across)} and data.reductions {list(data.reductions)}: both say at which scales tiles are "
            "drawn; leave one of them out"
        )
    if rank == 3:
        for key, value, plain in (
            ("data.reductions", list(data.reductions), [1.0]),
            ("data.across", list(data.across), []),
            ("sampling.least_std", sampling.least_std, 0.0),
            ("sampling.least_saturation", sampling.least_saturation, 0.0),
            ("sampling.regions", list(sampling.regions), []),
        ):
            if value != plain:
                raise RecipeError(f"{key} = {value}: of images of two axes only; for volumes leave it at {plain}")
    if task == "instances" and sampling.hard:
        raise RecipeError(
            f"sampling.hard = {sampling.hard}: hard boxes are found by what a network takes for a class, and one that tells "
            "objects apart gives distances; set sampling.hard = 0"
        )


def require_told(model: ModelOptions, told: dict[str, tuple[str, ...]]) -> None:
    """Refuse heads for attributes that the images to train on do not have.

    Args:
        told: attribute → its values among them.

    Raises:
        RecipeError: one has no value.
    """
    for name, values in told.items():
        if not values:
            raise RecipeError(
                f"model.tells {list(model.tells)}: no image to train on says its {name!r}; give manifest.csv a column of this "
                "name, or leave it out"
            )
