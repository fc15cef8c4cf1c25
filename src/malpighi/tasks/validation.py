"""Scoring a network on whole held-out images, by the path that `segment` takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.geometry import Box
from malpighi.inference.options import PredictOptions
from malpighi.inference.predict import ALIGN, Forward
from malpighi.inference.slices import Axis
from malpighi.inference.top import Kept
from malpighi.metrics.overlap import Overlap
from malpighi.sampling.cases import OpenCase
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
    ) -> None:
        self.cases, self.inputs, self.task, self.predict = cases, inputs, task, predict
        self.device, self.train, self.axes = device, train, axes

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
        total = Overlap.none(len(self.inputs.classes))
        for box, mask in self._masks(forward, stride, case):
            total = total + self.task.score(mask, case.annotation.rasterise(box, self.inputs.spacing))
        return total

    def _masks(self, forward: Forward, stride: tuple[int, ...], case: OpenCase) -> Iterator[tuple[Box, np.ndarray]]:
        """Boxes of a case with their masks, (class, *spatial) uint8."""
        boxes = predict_image(forward, case.source, self.inputs, self.predict, stride=stride)
        if not self.predict.top:
            yield from ((box, self.task.decode(probabilities)) for box, probabilities in boxes)
            return
        spacing, shape = self.inputs.spacing, case.source.space.shape_at(self.inputs.spacing)
        with TemporaryDirectory(prefix="malpighi-") as folder:
            kept = Kept(Path(folder) / "probabilities.zarr", shape, spacing, self.inputs.classes, shard=ALIGN[len(shape)])
            for box, probabilities in boxes:
                kept.write(box, probabilities)
            limits = np.array(kept.limits(self.predict.top)).reshape(-1, *[1] * len(shape))
            for box in Box.of_shape(shape).split(kept.align):
                yield box, (kept.read(box) >= limits).view(np.uint8)

    def _forward(self, network: Network) -> Forward:
        train = self.train
        return forward_of(network, self.inputs, self.predict, self.device, train.precision, train.channels_last, self.axes)


def _mean(scores: np.ndarray) -> float | None:
    """Mean of what was scored; None where nothing was."""
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else None
