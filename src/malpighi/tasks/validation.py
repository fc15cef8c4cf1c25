"""Scoring a network on whole held-out images, by the path that `segment` takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.inference.options import PredictOptions
from malpighi.inference.predict import Forward
from malpighi.metrics.overlap import Overlap
from malpighi.sampling.cases import OpenCase
from malpighi.tasks.image import forward_of, predict_image
from malpighi.tasks.run import Inputs
from malpighi.tasks.task import Task
from malpighi.training.options import TrainOptions

if TYPE_CHECKING:
    from torch import nn


class Validator:
    """Held-out cases, and how a network is scored on them."""

    def __init__(
        self, cases: Sequence[OpenCase], inputs: Inputs, task: Task, predict: PredictOptions, device: str, train: TrainOptions
    ) -> None:
        self.cases, self.inputs, self.task, self.predict = cases, inputs, task, predict
        self.device, self.train = device, train

    def quick(self, network: nn.Module) -> dict[str, Any]:
        """Mean Dice over images and by class, for the learning curve."""
        forward = self._forward(network)
        dice = np.array([self.score(forward, case).dice for case in self.cases])  # (case, class), NaN where not annotated
        by_class = {name: _mean(column) for name, column in zip(self.inputs.classes, dice.T, strict=True)}
        return {"dice": _mean(dice) or 0.0, "by_class": by_class}

    def score(self, forward: Forward, case: OpenCase) -> Overlap:
        """Counts of one case, box by box: memory does not depend on the image."""
        total = Overlap.none(len(self.inputs.classes))
        for box, probabilities in predict_image(forward, case.source, self.inputs, self.predict):
            assert case.annotation is not None, "held-out cases are labelled"
            truth = case.annotation.rasterise(box, self.inputs.spacing)
            total = total + self.task.score(self.task.decode(probabilities), truth)
        return total

    def _forward(self, network: nn.Module) -> Forward:
        return forward_of(network, self.inputs, self.predict, self.device, self.train.precision, self.train.channels_last)


def _mean(scores: np.ndarray) -> float | None:
    """Mean of what was scored; None where nothing was."""
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else None
