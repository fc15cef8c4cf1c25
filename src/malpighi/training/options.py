"""What a recipe may say of training. Torch-free, so that recipes are read without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OptimOptions:
    """How weights move.

    Attributes:
        name: "adamw", "adam" or "sgd" (Nesterov momentum .9).
        rate: highest learning rate.
        weight_decay: on weights of two and more dimensions only, never on biases and norms.
        schedule: "cosine", "one-cycle", "plateau" (the rate falls tenfold-root when validation stalls) or "constant".
        warmup: share of all steps over which the rate climbs linearly.
        final: last rate over the highest.
        clip: largest gradient norm; 0 switches clipping off.
        average: decay of the exponential moving average of the weights that is validated and saved; 0 switches it off.
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    rate: float = 1e-3
    weight_decay: float = 1e-2
    schedule: Literal["cosine", "one-cycle", "plateau", "constant"] = "cosine"
    warmup: float = 0.05
    final: float = 0.01
    clip: float = 1.0
    average: float = 0.995


@dataclass(frozen=True)
class TrainOptions:
    """How long, how many at a time, how often looked at.

    Attributes:
        steps: optimiser steps.
        batch: tiles a step.
        seed: of weights, boxes and augmentation.
        precision: "float32", "bfloat16" or "float16" (mixed; float32 weights).
        channels_last: memory layout of activations; faster on most CPUs and GPUs.
        validate_every: steps between two validations on whole held-out images.
        patience: validations without gain before the run stops; 0 never stops early.
        log_every: steps between two lines of `metrics.jsonl`.
        loaders: threads that read and augment ahead.
        minutes: time that `steps = "auto"` plans for; not a limit.
    """

    steps: int = 1000
    batch: int = 8
    seed: int = 0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool = True
    validate_every: int = 250
    patience: int = 0
    log_every: int = 10
    loaders: int = 2
    minutes: float = 30.0
