"""Scoring a network on whole held-out images, by the path that `segment` takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.geometry import Box
from malpighi.inference.options import PredictOptions
from malpighi.inference.predict import Forward
from malpighi.inference.slices import Axis
from malpighi.inference.store import PredictionStore
from malpighi.metrics.overlap import Overlap
from malpighi.objects.measure import ObjectOptions
from malpighi.sampling.cases import OpenCase
from malpighi.tasks.after import changes_masks, clean_masks, needs_everywhere
from malpighi.tasks.image import forward_of, predict_image, tile_stride
from malpighi.tasks.run import Inputs
from malpighi.tasks.task import Task
from malpighi.training.options import TrainOptions

if TYPE_CHECKING:
    from malpighi.models.network import Network


class Validator:
    """Held-out cases, and how a network is scored on them."""

    def __init__(
        self,
        cases: Sequence[OpenCase],
        inputs: Inputs,
        task: Task,
        predict: PredictOptions,
        device: str,
        train: TrainOptions,
        axes: Sequence[Axis] = ("z",),
        objects: ObjectOptions | None = None,
    ) -> None:
        """Take what `segment` would take.

        Args:
            cases: open and labelled.
            objects: what is done to masks before they are scored; None: nothing.
        """
        self.cases, self.inputs, self.task, self.predict = cases, inputs, task, predict
        self.device, self.train, self.axes, self.objects = device, train, axes, objects or ObjectOptions()

    def quick(self, network: Network) -> dict[str, Any]:
        """Mean Dice over images, which is the score, and by class."""
        forward, stride = self._forward(network), tile_stride(network)
        dice = np.array(
            [self._score(forward, stride, case).dice for case in self.cases]
        )  # (case, class), NaN where not annotated
        by_class = {name: _mean(column) for name, column in zip(self.inputs.classes, dice.T, strict=True)}
        mean = _mean(dice) or 0.0
        return {"score": mean, "dice": mean, "by_class": by_class}

    def _score(self, forward: Forward, stride: tuple[int, ...], case: OpenCase) -> Overlap:
        """Counts of one case, box by box: memory does not depend on the image."""
        assert case.annotation is not None, "held-out cases are labelled"
        total, inputs = Overlap.none(len(self.inputs.classes)), self.inputs.at(case.source, self.predict)
        for box, mask in self._masks(forward, stride, case, inputs):
            total = total + self.task.score(mask, case.annotation.rasterise(box, inputs.spacing))
        return total

    def _masks(
        self, forward: Forward, stride: tuple[int, ...], case: OpenCase, inputs: Inputs
    ) -> Iterator[tuple[Box, np.ndarray]]:
        """Boxes of a case with their masks, (class, *spatial) uint8: at once, or, where masks depend on the whole image, at its end."""
        options = self.predict
        boxes = partial(predict_image, forward, case.source, inputs, options, stride=stride)
        if not (options.top or changes_masks(self.objects, inputs.spacing, options.one_class)):
            yield from ((box, self.task.decode(probabilities)) for box, probabilities in boxes())
            return
        shape, classes = case.source.space.shape_at(inputs.spacing), inputs.classes
        grown, limits = needs_everywhere(self.objects), options.limits(len(classes))
        with (
            TemporaryDirectory(prefix="malpighi-") as folder,
            PredictionStore(Path(folder), shape, inputs.spacing, classes, limits, top=options.top, everywhere=grown) as store,
        ):
            for box, probabilities in boxes(align=store.align):
                store.add(box, probabilities)
            store.decide()
            clean_masks(store, inputs.spacing, self.objects, one_class=options.one_class)
            reads = [store.read_mask(k) for k in range(len(classes))]
            for box in Box.of_shape(shape).split(store.align):
                yield box, np.stack([read(box) for read in reads])

    def _forward(self, network: Network) -> Forward:
        train = self.train
        return forward_of(network, self.inputs, self.predict, self.device, train.precision, train.channels_last, self.axes)


def _mean(scores: np.ndarray) -> float | None:
    """Mean of what was scored; None where nothing was."""
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else None
