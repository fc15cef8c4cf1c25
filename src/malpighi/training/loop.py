"""The training loop: batches in, weights and a log out. Devices and precision are Lightning Fabric's."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from malpighi.models.layout import memory_formats
from malpighi.models.losses import Loss
from malpighi.sampling.dataset import Batch
from malpighi.training.average import Average
from malpighi.training.checkpoint import load_last, save_last, save_weights
from malpighi.training.finish import finish
from malpighi.training.interrupt import interruptible
from malpighi.training.keep import Keep
from malpighi.training.metrics_log import MetricsLog
from malpighi.training.optimisers import build_optimiser, set_rate
from malpighi.training.options import OptimOptions, TrainOptions
from malpighi.training.schedule import Schedule
from malpighi.training.state import FitResult, State

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
        loss: of outputs and target, and of a batch's facts (tensors on the device, by name) where it has any.
        validate: scores a network on held-out images: {"score": the higher the better, …}; called with the averaged weights.
        facts: strings kept beside the weights.
        mine: looks for what is hard, with the network that was just validated and the number of its steps; then `batches` is asked anew
            for what follows. It is called after every validation but the last, before the checkpoint of that step, and keeps what it
            found by itself.
    """

    network: nn.Module
    batches: Callable[[int], Generator[Batch]]
    prepare: Callable[[Tensor], Tensor]
    loss: Loss
    validate: Callable[[nn.Module], dict[str, Any]]
    facts: dict[str, str]
    mine: Callable[[nn.Module, int], None] | None = None


def fit(
    task: Fit,
    options: TrainOptions,
    optim: OptimOptions,
    run: Path,
    fabric: Fabric,
    progress: Callable[..., None] = lambda *_, **__: None,
) -> FitResult:
    """Train, validate, save; go on from `run`'s last checkpoint where there is one.

    Writes `last.ckpt` (state to go on from), `weights.safetensors` (best validation; at the end those of `train.keep`),
    `metrics.jsonl`, `tensorboard/`, and while it runs `kept/`. On the CPU a run that was killed and goes on logs the same losses as one
    that was not, and ends with the same weights.

    Args:
        task: the callables.
        options: length, batch, precision.
        optim: optimiser and schedule.
        run: folder, exists.
        fabric: launched; holds device and precision.
        progress: called after each step, before a checkpoint is written, with `step=`, `loss=`, `score=`.

    Raises:
        DataError: the loss is no longer finite.
        RecipeError: a rate of the encoder, of a network without one.
    """
    weights, layout = memory_formats(task.network, options.channels_last)
    task.network.to(memory_format=weights)
    optimiser = build_optimiser(task.network, optim)
    network, optimiser = fabric.setup(task.network, optimiser)
    average, keep = Average(task.network, optim.average), Keep(options, run)
    state = State(task.network, optimiser, Schedule(optim, options.steps), average, keep, fabric.strategy.precision)
    state.restore(load_last(run))
    saved_at = time.monotonic()
    leaving = state.ended.get("stopped", "") or _leaving(state, options)

    with (
        interruptible() as interrupted,
        closing(MetricsLog(run, state.step)) as log,
        closing(_Feed(task, state.step)) as feed,
    ):
        while not leaving:
            began = time.perf_counter()
            batch = feed.next()
            images = fabric.to_device(torch.from_numpy(batch.images))
            target = fabric.to_device(torch.from_numpy(batch.targets))
            facts = {name: fabric.to_device(torch.from_numpy(values)) for name, values in batch.facts.items()}
            waited = time.perf_counter() - began

            rate = state.schedule.rate(state.step)
            set_rate(optimiser, rate)
            outputs = network(task.prepare(images).contiguous(memory_format=layout))
            loss = task.loss(outputs, target, facts) if facts else task.loss(outputs, target)
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
            leaving = _leaving(state, options) or ("interrupted" if interrupted.is_set() else "")
            if validates and task.mine and leaving in ("", "interrupted"):
                _mine(task, state, feed)
            if leaving or validates or time.monotonic() - saved_at > SAVE_SECONDS:
                save_last(run, state.as_dict())
                keep.prune()
                saved_at = time.monotonic()
        if leaving != "interrupted":
            _end(task, state, leaving, log, run, fabric, layout)
    return state.result(leaving)


def _end(
    task: Fit, state: State, leaving: str, log: MetricsLog, run: Path, fabric: Fabric, layout: torch.memory_format
) -> None:
    """Choose the weights that the run leaves, once; a finished run that is asked again has them."""
    if not state.ended:
        finish(task, state, log, run, fabric, layout)
        state.ended["stopped"] = leaving
        save_last(run, state.as_dict())
    state.keep.clear()


class _Feed:
    """The batches that come next; they can be asked for anew."""

    def __init__(self, task: Fit, first: int) -> None:
        self.task = task
        self.batches = task.batches(first)

    def next(self) -> Batch:
        return next(self.batches)

    def again(self, first: int) -> None:
        self.batches.close()
        self.batches = self.task.batches(first)

    def close(self) -> None:
        self.batches.close()


def _mine(task: Fit, state: State, feed: _Feed) -> None:
    """Let the miner look, and draw what follows from what it found."""
    assert task.mine is not None
    began = time.perf_counter()
    task.mine(state.average.network, state.step)
    task.network.train()
    feed.again(state.step)
    state.validation_seconds += time.perf_counter() - began


def _leaving(state: State, options: TrainOptions) -> str:
    """Why the loop ends after this step; empty where it goes on."""
    if state.step >= options.steps:
        return "finished"
    return "early stop" if options.patience and state.since_best >= options.patience else ""


def _validate(task: Fit, state: State, log: MetricsLog, run: Path) -> None:
    """Score the averaged weights on held-out images; keep them if they are the best so far."""
    state.require_finite()
    began = time.perf_counter()
    scores = task.validate(state.average.network)
    task.network.train()  # without averaging it is the network that was validated, and so left in evaluation mode
    seconds = time.perf_counter() - began
    state.validated(scores["score"], seconds)
    log.write(state.step, validation={**scores, "seconds": seconds})
    if state.best_step == state.step:
        save_weights(run, state.average.network, task.facts)
