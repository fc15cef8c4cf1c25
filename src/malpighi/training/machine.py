"""What the machine is and what it gains from: measured, not assumed."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import psutil
import torch
from torch import nn

from malpighi.models.layout import memory_formats
from malpighi.training.loop import PRECISIONS

PATIENCE = 10.0
"""Seconds that timing one setting may take; a step of a large 3-D network on a CPU takes as long by itself."""


def device_facts() -> dict[str, object]:
    """Device that work will run on: "device", "name", "memory_gb", "cores"."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return {"device": "cuda", "name": properties.name, "memory_gb": properties.total_memory / 2**30, "cores": cores}
    memory = psutil.virtual_memory().total / 2**30
    if torch.backends.mps.is_available():
        return {"device": "mps", "name": "Apple GPU", "memory_gb": memory / 2, "cores": cores}
    return {"device": "cpu", "name": f"CPU, {cores} cores", "memory_gb": memory, "cores": cores}


def time_steps(
    make: Callable[[], nn.Module], shape: tuple[int, ...], device: str, repeats: int = 3
) -> dict[tuple[str, bool], float]:
    """Seconds of a forward and backward pass and an AdamW step by (precision, channels_last), medians.

    Half precision is tried where the device has it. Of images on a GPU only channels-last is, which is never slower there;
    of volumes both orders are, everywhere.

    Args:
        make: builds the network.
        shape: (batch, channel, *tile) of a training step.
        device: torch device.
        repeats: timed steps a setting, after one that warms up; fewer where they take longer than `PATIENCE`.
    """
    times = {}
    precisions = ["float32", "bfloat16"] if device == "cpu" or torch.cuda.is_bf16_supported() else ["float32", "float16"]
    for precision in precisions:
        for channels_last in (True,) if device != "cpu" and len(shape) == 4 else (False, True):
            times[precision, channels_last] = _time(make(), shape, device, precision, channels_last, repeats)
    return times


def _time(network: nn.Module, shape: tuple[int, ...], device: str, precision: str, channels_last: bool, repeats: int) -> float:
    weights, inputs = memory_formats(network, channels_last)
    network = network.to(device=device, memory_format=weights).train()
    optimiser = torch.optim.AdamW(network.parameters())
    images = torch.rand(shape, device=device).contiguous(memory_format=inputs)
    half = torch.bfloat16 if precision == "bfloat16" else torch.float16
    seconds: list[float] = []
    while not seconds or (len(seconds) <= repeats and sum(seconds) < PATIENCE):
        began = time.perf_counter()
        with torch.autocast(device, dtype=half, enabled=PRECISIONS[precision] != "32-true"):
            loss = network(images).logits.float().square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:] or seconds)
