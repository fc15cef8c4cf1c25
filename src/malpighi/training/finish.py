"""The end of a run: the weights that the recipe asked for, measured, scored and written."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from malpighi.training.checkpoint import save_weights
from malpighi.training.metrics_log import MetricsLog
from malpighi.training.norms import measure_norms
from malpighi.training.state import State

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from malpighi.training.loop import Fit

MEASURED = 32
"""Batches over which batch norms of averaged weights are measured."""


def finish(task: Fit, state: State, log: MetricsLog, run: Path, fabric: Fabric, layout: torch.memory_format) -> None:
    """Leave the weights of `train.keep` in `weights.safetensors`, and say in `state.ended` which they are.

    A mean is validated once more, as a line "kept" of the log says. Of the state that a checkpoint holds only times are changed, so that a run
    that is killed here does the same again.
    """
    keep = state.keep
    if keep.kind == "best":
        kept = ([state.best_step], state.best_score)
    elif keep.kind == "last":
        save_weights(run, state.average.network, task.facts)
        kept = ([state.step], state.last_score)
    else:
        steps = [state.step - keep.steps + 1, state.step] if keep.kind == "swa" else sorted(step for step, _ in keep.members)
        began = time.perf_counter()
        network = _averaged(task, state, fabric, layout)
        scores = task.validate(network)
        save_weights(run, network, task.facts)
        seconds = time.perf_counter() - began
        log.write(state.step, kept={"by": keep.kind, "steps": steps, **scores, "seconds": seconds})
        state.validation_seconds += seconds
        kept = (steps, scores["score"])
    state.ended = {"kept": keep.kind, "kept_steps": kept[0], "kept_score": kept[1]}


def _averaged(task: Fit, state: State, fabric: Fabric, layout: torch.memory_format) -> nn.Module:
    """The mean as a network, its batch norms measured on the batches that would have come next."""
    network = copy.deepcopy(state.average.network).requires_grad_(False).eval()
    network.load_state_dict(state.keep.averaged())
    with fabric.autocast():
        measure_norms(network, _inputs(task, state.step, fabric, layout))
    return network


def _inputs(task: Fit, first: int, fabric: Fabric, layout: torch.memory_format) -> Iterator[Tensor]:
    with closing(task.batches(first)) as batches:
        for batch in islice(batches, MEASURED):
            images = fabric.to_device(torch.from_numpy(batch.images))
            yield task.prepare(images).contiguous(memory_format=layout)
