"""Everything that changes from step to step, in one place, so that a checkpoint is whole."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from lightning_fabric.plugins.precision import Precision
from torch import Tensor, nn

from malpighi.errors import DataError
from malpighi.training.average import Average
from malpighi.training.keep import Keep
from malpighi.training.schedule import Schedule


@dataclass
class FitResult:
    """How a run ended.

    Attributes:
        stopped: "finished", "early stop" or "interrupted".
        steps: done, of all sittings.
        best_score: of the best validation, at `best_step`.
        train_seconds: of steps, of which `data_seconds` waiting for batches.
        kept: which weights the run ended with, as `TrainOptions.keep` names them; empty where it was interrupted.
        kept_steps: of the validations that they are of, or the first and the last step of a mean over steps.
        kept_score: their own score; for a mean that of the one validation more.
    """

    stopped: str
    steps: int
    best_score: float
    best_step: int
    train_seconds: float
    data_seconds: float
    validation_seconds: float
    kept: str = ""
    kept_steps: list[int] = field(default_factory=list)
    kept_score: float = -1.0

    def as_dict(self) -> dict[str, Any]:
        """For summary.json."""
        return asdict(self)


class State:
    """Weights, optimiser, counters of a run, and what was logged of it since the last line."""

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        schedule: Schedule,
        average: Average,
        keep: Keep,
        precision: Precision,
    ) -> None:
        self.network, self.optimiser, self.schedule, self.average, self.keep = network, optimiser, schedule, average, keep
        self.precision = precision  # of float16 it holds by how much losses are scaled, which moves from step to step
        self.step = 0
        self.best_score, self.best_step, self.since_best = -1.0, 0, 0
        self.last_score = -1.0
        self.train_seconds = self.data_seconds = self.validation_seconds = 0.0
        self.last_loss = float("nan")
        self.ended: dict[str, Any] = {}  # "stopped", "kept", "kept_steps", "kept_score" once the weights are chosen
        self._losses: list[Tensor] = []
        self._waits: list[float] = []
        self._times: list[float] = []

    def stepped(self, loss: Tensor, waited: float, seconds: float) -> None:
        """Count an optimiser step; `loss` stays on its device until the next line of the log."""
        self.step += 1
        self._losses.append(loss)
        self._waits.append(waited)
        self._times.append(seconds)
        self.keep.stepped(self.step, self.average.network)

    def window(self) -> dict[str, float]:
        """Means since the last call.

        Raises:
            DataError: the loss is not finite.
        """
        self.require_finite()
        n = len(self._waits)
        row = {"loss": self.last_loss, "data_seconds": sum(self._waits) / n, "step_seconds": sum(self._times) / n}
        self.data_seconds += sum(self._waits)
        self.train_seconds += sum(self._times)
        self._losses, self._waits, self._times = [], [], []
        return row

    def require_finite(self) -> None:
        """Stop where a loss since the last line of the log is not finite, before the weights it left are validated or saved.

        Reads the losses from the device, which waits for it.

        Raises:
            DataError: it is not.
        """
        if not self._losses:
            return
        self.last_loss = float(torch.stack([loss.float().cpu() for loss in self._losses]).mean())
        if not math.isfinite(self.last_loss):
            raise DataError(
                f'the training loss is {self.last_loss} at step {self.step}; lower optim.rate, or set train.precision = "float32"'
            )

    def validated(self, score: float, seconds: float) -> None:
        """Take in a validation."""
        self.validation_seconds += seconds
        self.schedule.report(score)
        self.since_best += 1
        self.last_score = score
        if score > self.best_score:
            self.best_score, self.best_step, self.since_best = score, self.step, 0
        self.keep.validated(self.step, score, self.average.network)

    def as_dict(self) -> dict[str, Any]:
        """For `save_last`.

        Raises:
            DataError: the loss is not finite; a run cannot go on from what it left.
        """
        self.require_finite()
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": self.average.state_dict(),
            "keep": self.keep.state_dict(),
            "precision": self.precision.state_dict(),
            "counters": {name: getattr(self, name) for name in COUNTERS},
            "ended": self.ended,
            "window": [[float(loss) for loss in self._losses], self._waits, self._times],
            "random": torch.get_rng_state(),
        }

    def restore(self, saved: dict[str, Any] | None) -> None:
        """Go on from what `as_dict` gave; from the beginning where there is nothing."""
        if saved is None:
            return
        self.network.load_state_dict(saved["network"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.schedule.load_state_dict(saved["schedule"])
        self.average.load_state_dict(saved["average"])
        self.keep.load_state_dict(saved["keep"], self.average.network)
        if scaling := saved.get("precision"):
            self.precision.load_state_dict(scaling)
        for name, value in saved["counters"].items():
            setattr(self, name, value)
        self.ended = saved["ended"]
        losses, self._waits, self._times = saved["window"]
        self._losses = [torch.tensor(loss) for loss in losses]
        torch.set_rng_state(saved["random"])

    def result(self, stopped: str) -> FitResult:
        """How the run ended."""
        seconds = (self.train_seconds, self.data_seconds, self.validation_seconds)
        result = FitResult(stopped, self.step, self.best_score, self.best_step, *seconds)
        for name, value in self.ended.items():
            setattr(result, name, value)
        return result


COUNTERS = (
    *("step", "best_score", "best_step", "since_best", "last_score"),
    *("train_seconds", "data_seconds", "validation_seconds"),
)
