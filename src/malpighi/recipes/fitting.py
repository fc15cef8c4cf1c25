"""What `predict` and `objects` ask for, against the network that a recipe builds: an option that would do nothing is refused."""

from __future__ import annotations

from malpighi.errors import RecipeError
from malpighi.inference.options import PredictOptions
from malpighi.models.build import ModelOptions
from malpighi.objects.measure import ObjectOptions


def require_fitting(task: str, model: ModelOptions, predict: PredictOptions, objects: ObjectOptions) -> None:
    """Refuse options of inference, and of what follows it, that do not go with the task or the network.

    Raises:
        RecipeError: says which, and what to do.
    """
    for wrong in (_gate(model, predict), _images(model, predict, objects), _instances(task, predict, objects), _top(predict)):
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


def _top(predict: PredictOptions) -> str:
    if predict.top and predict.one_class:
        return f"predict.one_class with predict.top = {predict.top}: top gives every class as many voxels; set one of them off"
    return ""
