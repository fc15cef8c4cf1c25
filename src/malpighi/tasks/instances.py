"""Objects told apart by a network: what its recipe must say, its layers made into objects, its score on held-out images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.annotations.base import UNLABELLED, Annotation
from malpighi.errors import RecipeError
from malpighi.geometry import Box, Spacing
from malpighi.inference.options import PredictOptions
from malpighi.inference.predict import Forward
from malpighi.metrics.instances import Intersections, average_precisions
from malpighi.metrics.overlap import Overlap, count
from malpighi.objects.instances import InstanceOptions
from malpighi.objects.label import find_components
from malpighi.recipes.recipe import Recipe
from malpighi.sampling.cases import OpenCase
from malpighi.tasks.image import forward_of, predict_image, tile_stride
from malpighi.tasks.run import Inputs
from malpighi.training.options import TrainOptions

if TYPE_CHECKING:
    from malpighi.models.network import Network

BLOCK = 2048
"""Side of the blocks in which layers become objects: a file of the label image each, and with its halo 64 MB of layers."""
IN_MEMORY = 2**28
"""Bytes from which an array of a held-out image lies in a temporary file."""

Read = Callable[[Box], np.ndarray]


def require_instances(recipe: Recipe, classes: Sequence[str]) -> None:
    """Refuse what a network that tells objects apart cannot do; recipes of other tasks pass.

    Raises:
        RecipeError: several classes; mirrored predictions of vectors, which turn; a share of the voxels instead of objects.
    """
    if recipe.task != "instances":
        return
    if len(classes) != 1:
        raise RecipeError(
            f"recipe {recipe.name}: tells objects of one class apart, and the data have {len(classes)} "
            f"({', '.join(classes)}); choose one with --only class=NAME, or data.classes"
        )
    if recipe.model.rank != 2:
        raise RecipeError(f"recipe {recipe.name}: objects are told apart in 2-D; choose a 2-D network, model.slices_in = 0")
    kind, predict = recipe.instances.kind, recipe.predict
    if kind == "flow" and predict.flips != "none":
        raise RecipeError(
            f'predict.flips = "{predict.flips}" with instances.kind = "flow": a mirrored image has mirrored vectors, whose mean '
            'says nothing; set predict.flips = "none"'
        )
    if predict.top:
        raise RecipeError(
            f"predict.top = {predict.top}: objects are found by instances.foreground, not by a share of the voxels; set it to 0"
        )


def find_instances(
    layers: Read,
    shape: Sequence[int],
    write: Callable[[Box, np.ndarray], None],
    options: InstanceOptions,
    min_voxels: int = 0,
    on_block: Callable[[], None] | None = None,
) -> int:
    """Make objects of a network's layers, block by block.

    Args:
        layers: one box of them, (layer, y, x) uint8, 255 stands for 1.
        shape: of the image.
        write: takes every block of the label image once, (y, x) of object numbers 1 … n.
        min_voxels: smaller objects are left out.
        on_block: called after each block.

    Returns:
        How many objects there are.
    """
    from malpighi.objects.instances import decode
    from malpighi.objects.stitch import stitch

    def labels(box: Box) -> np.ndarray:
        return decode(layers(box).astype(np.float32) / np.float32(255), options)

    return stitch(
        labels, tuple(shape), write, block=(BLOCK, BLOCK), halo=options.halo, min_voxels=min_voxels, on_block=on_block
    )


def numbered(annotation: Annotation, layer: int, spacing: Spacing, shape: Sequence[int]) -> Read:
    """Object numbers of one class, box by box: as the file tells objects apart, else connected components."""
    if annotation.has_objects:
        name = annotation.classes[layer]
        return lambda box: annotation.instances(box, spacing, (name,))
    return find_components(lambda box: annotation.rasterise(box, spacing)[layer] == 1, shape).labels


@dataclass(frozen=True)
class InstanceValidator:
    """Held-out cases, and how a network that tells objects apart is scored on them.

    Attributes:
        cases: open, with annotations of the one class.
        min_voxels: of an object.
    """

    cases: Sequence[OpenCase]
    inputs: Inputs
    predict: PredictOptions
    instances: InstanceOptions
    min_voxels: int
    device: str
    train: TrainOptions

    def quick(self, network: Network) -> dict[str, Any]:
        """Mean over images of AP at IoU .5, which is the score, and over .5 … .95; Dice of the foreground."""
        options = self.train
        forward = forward_of(network, self.inputs, self.predict, self.device, options.precision, options.channels_last)
        rows = [self._score(forward, tile_stride(network), case) for case in self.cases]
        mean = {name: _mean([row[name] for row in rows]) for name in ("ap50", "mean_precision", "dice")}
        return {"score": mean["ap50"], **mean, "by_class": {self.inputs.classes[0]: mean["dice"]}}

    def _score(self, forward: Forward, stride: tuple[int, ...], case: OpenCase) -> Mapping[str, float]:
        """Scores of one image; what nobody labelled counts on neither side."""
        spacing, truth = self.inputs.spacing, case.annotation
        assert truth is not None, "held-out cases are labelled"
        shape = case.source.space.shape_at(spacing)
        layers = _array((len(self.inputs.layers), *shape), np.uint8)
        for box, found in predict_image(forward, case.source, self.inputs, self.predict, stride=stride):
            layers[(slice(None), *box.slices)] = np.rint(found * 255)
        labels = _array(shape, np.int32)

        def write(box: Box, numbers: np.ndarray) -> None:
            labels[box.slices] = numbers

        find_instances(lambda box: layers[(slice(None), *box.slices)], shape, write, self.instances, self.min_voxels)
        true, shared, total = numbered(truth, 0, spacing, shape), Intersections(), Overlap.none(1)
        for box in Box.of_shape(shape).split((BLOCK, BLOCK)):
            mask, drawn = layers[0][box.slices] >= 255 * self.instances.foreground, truth.rasterise(box, spacing)[:1]
            known = drawn[0] != UNLABELLED
            total = total + count(mask[None].view(np.uint8), drawn)
            shared.add(labels[box.slices] * known, true(box) * known)
        precisions = average_precisions(shared.pairs())
        return {
            "ap50": precisions[0.5],
            "mean_precision": float(np.mean(list(precisions.values()))),
            "dice": float(total.dice[0]),
        }


def _array(shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    """Zeros, in memory or in a file that goes away with them."""
    if np.prod(shape, dtype=np.int64) * np.dtype(dtype).itemsize < IN_MEMORY:
        return np.zeros(shape, dtype)
    with TemporaryFile(prefix="malpighi-") as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def _mean(values: Sequence[float]) -> float:
    """Of the images that somebody labelled; 0 where there is none."""
    scored = [value for value in values if math.isfinite(value)]
    return float(np.mean(scored)) if scored else 0.0
