"""The training loop: batches in, weights and a log out. Devices and precision are Lightning Fabric's."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from malpighi.errors import DataError
from malpighi.models.layout import memory_formats
from malpighi.models.losses import Loss
from malpighi.sampling.dataset import Batch
from malpighi.training.average import Average
from malpighi.training.checkpoint import load_last, save_last, save_weights
from malpighi.training.metrics_log import MetricsLog
from malpighi.training.options import OptimOptions, TrainOptions
from malpighi.training.schedule import Schedule

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision that the plan already gives
PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
SAVE_SECONDS = 300.0  # a killed run loses at most this much, whatever the validation interval


@dataclass(frozen=True)
class Fit:
    """What `fit` needs to know besides numbers.

    Attributes:
        network: to train, in place.
        batches: `batches(n)` iterates over the batches from number n on; batch n is always the same one.
        prepare: raw voxels (batch, channel, *spatial) on the device → float network input.
        loss: of outputs and target.
        validate: scores a network on held-out images: {"score": the higher the better, …}; called with the averaged weights.
        facts: strings kept beside the weights.
    """

    network: nn.Module
    batches: Callable[[int], Generator[Batch]]
    prepare: Callable[[Tensor], Tensor]
    loss: Loss
    validate: Callable[[nn.Module], dict[str, Any]]
    facts: dict[str, str]


@dataclass
class FitResult:
    """How a run ended: "finished", "early stop" or "interrupted", and its best validation."""

    stopped: str
    steps: int
    best_score: float
    best_step: int
    train_seconds: float
    data_seconds: float
    validation_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For summary.json."""
        return asdict(self)


def fit(
    task: Fit,
    options: TrainOptions,
    optim: OptimOptions,
    run: Path,
    fabric: Fabric,
    progress: Callable[..., None] = lambda *_, **__: None,
) -> FitResult:
    """Train, validate, save; go on from `run`'s last checkpoint where there is one.

    Writes `last.ckpt` (state to go on from), `weights.safetensors` (best validation), `metrics.jsonl`, `tensorboard/`.
    On the CPU a run that was killed and goes on logs the same losses as one that was not.

    Args:
        task: the callables.
        options: length, batch, precision.
        optim: optimiser and schedule.
        run: folder, exists.
        fabric: launched; holds device and precision.
        progress: called after each step, before a checkpoint is written, with `step=`, `loss=`, `score=`.

    Raises:
        DataError: the loss is no longer finite.
    """
    weights, layout = memory_formats(task.network, options.channels_last)
    task.network.to(memory_format=weights)
    optimiser = build_optimiser(task.network, optim)
    network, optimiser = fabric.setup(task.network, optimiser)
    state = _State(task.network, optimiser, Schedule(optim, options.steps), Average(task.network, optim.average))
    state.restore(load_last(run))
    saved_at = time.monotonic()
    leaving = "finished" if state.step >= options.steps else ""

    with (
        _interruptible() as interrupted,
        closing(MetricsLog(run, state.step)) as log,
        closing(task.batches(state.step)) as batches,
    ):
        while not leaving:
            began = time.perf_counter()
            batch = next(batches)
            images = fabric.to_device(torch.from_numpy(batch.images))
            target = fabric.to_device(torch.from_numpy(batch.targets))
            waited = time.perf_counter() - began

            rate = state.schedule.rate(state.step)
            for group in optimiser.param_groups:
                group["lr"] = rate
            outputs = network(task.prepare(images).contiguous(memory_format=layout))
            loss = task.loss(outputs, target)
            fabric.backward(loss)
            if optim.clip:
                fabric.clip_gradients(network, optimiser, max_norm=optim.clip, error_if_nonfinite=False)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            state.average.update(task.network)
            state.stepped(loss.detach(), waited, time.perf_counter() - began)

            validates = state.step % options.validate_every == 0 or state.step == options.steps
            if state.step % options.log_every == 0 or state.step == options.steps:
                log.write(state.step, lr=rate, **state.window())
            if validates:
                _validate(task, state, log, run)
            progress(step=state.step, loss=state.last_loss, score=state.best_score)
            leaving = _leaving(state, options, interrupted)
            if leaving or validates or time.monotonic() - saved_at > SAVE_SECONDS:
                save_last(run, state.as_dict())
                saved_at = time.monotonic()
    return state.result(leaving)


def _leaving(state: _State, options: TrainOptions, interrupted: threading.Event) -> str:
    """Why the loop ends after this step; empty where it goes on."""
    if state.step >= options.steps:
        return "finished"
    if options.patience and state.since_best >= options.patience:
        return "early stop"
    return "interrupted" if interrupted.is_set() else ""


def _validate(task: Fit, state: _State, log: MetricsLog, run: Path) -> None:
    """Score the averaged weights on held-out images; keep them if they are the best so far."""
    began = time.perf_counter()
    scores = task.validate(state.average.network)
    task.network.train()  # without averaging it is the network that was validated, and so left in evaluation mode
    seconds = time.perf_counter() - began
    state.validated(scores["score"], seconds)
    log.write(state.step, validation={**scores, "seconds": seconds})
    if state.best_step == state.step:
        save_weights(run, state.average.network, task.facts)


def build_optimiser(network: nn.Module, options: OptimOptions) -> torch.optim.Optimizer:
    """The optimiser; weight decay acts on matrices and kernels, not on biases and norms."""
    weights = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    rest = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": options.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    if options.name == "sgd":
        return torch.optim.SGD(groups, lr=options.rate, momentum=0.9, nesterov=True)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[options.name]
    return kind(groups, lr=options.rate)


class _State:
    """Everything that changes from step to step, in one place, so that a checkpoint is whole."""

    def __init__(self, network: nn.Module, optimiser: torch.optim.Optimizer, schedule: Schedule, average: Average) -> None:
        self.network, self.optimiser, self.schedule, self.average = network, optimiser, schedule, average
        self.step = 0
        self.best_score, self.best_step, self.since_best = -1.0, 0, 0
        self.train_seconds = self.data_seconds = self.validation_seconds = 0.0
        self.last_loss = float("nan")
        self._losses: list[Tensor] = []
        self._waits: list[float] = []
        self._times: list[float] = []

    def stepped(self, loss: Tensor, waited: float, seconds: float) -> None:
        self.step += 1
        self._losses.append(loss)
        self._waits.append(waited)
        self._times.append(seconds)

    def window(self) -> dict[str, float]:
        """Means since the last call; reads the losses from the device, which waits for it."""
        self.last_loss = float(torch.stack([loss.float().cpu() for loss in self._losses]).mean())
        if self.last_loss != self.last_loss or abs(self.last_loss) == float("inf"):
            raise DataError(
                f'the training loss is {self.last_loss} at step {self.step}; lower optim.rate, or set train.precision = "float32"'
            )
        n = len(self._waits)
        row = {"loss": self.last_loss, "data_seconds": sum(self._waits) / n, "step_seconds": sum(self._times) / n}
        self.data_seconds += sum(self._waits)
        self.train_seconds += sum(self._times)
        self._losses, self._waits, self._times = [], [], []
        return row

    def validated(self, score: float, seconds: float) -> None:
        self.validation_seconds += seconds
        self.schedule.report(score)
        self.since_best += 1
        if score > self.best_score:
            self.best_score, self.best_step, self.since_best = score, self.step, 0

    def as_dict(self) -> dict[str, Any]:
        names = ("step", "best_score", "best_step", "since_best", "train_seconds", "data_seconds", "validation_seconds")
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": self.average.state_dict(),
            "counters": {name: getattr(self, name) for name in names},
            "window": [[float(loss) for loss in self._losses], self._waits, self._times],
            "random": torch.get_rng_state(),
        }

    def restore(self, saved: dict[str, Any] | None) -> None:
        if saved is None:
            return
        self.network.load_state_dict(saved["network"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.schedule.load_state_dict(saved["schedule"])
        self.average.load_state_dict(saved["average"])
        for name, value in saved["counters"].items():
            setattr(self, name, value)
        losses, self._waits, self._times = saved["window"]
        self._losses = [torch.tensor(loss) for loss in losses]
        torch.set_rng_state(saved["random"])

    def result(self, stopped: str) -> FitResult:
        seconds = (self.train_seconds, self.data_seconds, self.validation_seconds)
        return FitResult(stopped, self.step, self.best_score, self.best_step, *seconds)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C or SIGTERM sets the event, so that the step ends and the state is saved; a second one stops at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def handler(number: int, frame: object) -> None:
        event.set()
        signal.signal(number, before[signal.Signals(number)])

    for s in before:
        signal.signal(s, handler)
    try:
        yield event
    finally:
        for s, old in before.items():
            signal.signal(s, old)
