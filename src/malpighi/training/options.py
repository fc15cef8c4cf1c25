"""What a recipe may say of training. Torch-free, so that recipes are read without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from malpighi.errors import RecipeError


@dataclass(frozen=True)
class OptimOptions:
    """How weights move.

    Attributes:
        name: "adamw", "adam" (decay as L2), "sgd" (Nesterov momentum .9), "radam" (Liu et al. 2020, decay decoupled), "ranger"
            (RAdam under Lookahead, Zhang et al. 2019, α .5, k 6) or "adan" (Xie et al. 2022); Lookahead and Adan are of
            `timm.optim`, the others of torch.
        rate: highest learning rate.
        weight_decay: on weights of two and more dimensions only, never on biases and norms, nor on a transformer's positions and tokens.
        schedule: "cosine", "one-cycle", "linear", "poly" (a power of .9), "plateau" (the rate falls tenfold-root when validation stalls)
            or "constant".
        warmup: share of all steps over which the rate climbs, linearly, or of "one-cycle" along its first arm; -1 is the
            schedule's own: .3 of "one-cycle", else .05.
        first: from which part of the highest rate it climbs, in equal steps; the first step is already one up. -1 is the
            schedule's own: 1/25 of "one-cycle", else 0.
        final: last rate over the highest.
        encoder_rate: rate of the encoder over that of the rest; 0.1 spares published weights, 0 leaves them as they are. A stem
            beside the encoder has no published weights and is of the rest.
        amsgrad: of "adamw" and "adam": Reddi et al. (2018).
        clip: largest gradient norm; 0 switches clipping off.
        average: decay of the exponential moving average of the weights that is validated and saved; 0 switches it off.
    """

    name: Literal["adamw", "adam", "sgd", "radam", "ranger", "adan"] = "adamw"
    rate: float = 1e-3
    weight_decay: float = 1e-2
    schedule: Literal["cosine", "one-cycle", "linear", "poly", "plateau", "constant"] = "cosine"
    warmup: float = -1.0
    final: float = 0.01
    clip: float = 1.0
    average: float = 0.995
    first: float = -1.0
    encoder_rate: float = 1.0
    amsgrad: bool = False

    def __post_init__(self) -> None:
        _require(self.rate > 0, f"optim.rate is {self.rate}; it must be more than 0")
        _require(self.weight_decay >= 0, f"optim.weight_decay is {self.weight_decay}; it must be 0 or more")
        _require(self.clip >= 0, f"optim.clip is {self.clip}; it must be 0 (off) or more")
        for name in ("warmup", "first"):
            value = getattr(self, name)
            _require(value == -1 or 0 <= value <= 1, f"optim.{name} is {value}; it lies between 0 and 1, or is -1")
        _require(0 <= self.final <= 1, f"optim.final is {self.final}; it lies between 0 and 1")
        _require(self.encoder_rate >= 0, f"optim.encoder_rate is {self.encoder_rate}; it must be 0 or more")
        if self.amsgrad:
            _require(self.name in ("adamw", "adam"), f'optim.amsgrad: "{self.name}" has no such variant; use "adamw" or "adam"')
        _require(0 <= self.average < 1, f"optim.average is {self.average}; it must be 0 (off) or more, and less than 1")

    def require_encoder(self, has: bool) -> None:
        """Stop at a rate of the encoder of a network that has none.

        Raises:
            RecipeError: `encoder_rate` is not 1.
        """
        _require(
            has or self.encoder_rate == 1,
            f"optim.encoder_rate is {self.encoder_rate}, but the network has no encoder of its own; set it to 1",
        )


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
        keep: which weights the run ends with: "best", those of the best validation; "last"; "top", the mean of those of the
            `keep_count` best validations; "snapshots", the mean of those of the last `keep_count` validations; "swa", the mean over
            every step of the last quarter (Izmailov et al. 2018). Of means batch norms are measured anew. All are of the averaged
            weights where `optim.average` is on, see `training.keep`.
        keep_count: of "top" and "snapshots".
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
    keep: Literal["best", "last", "top", "snapshots", "swa"] = "best"
    keep_count: int = 3
    minutes: float = 30.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate_every", "log_every", "loaders", "keep_count"):
            _require(getattr(self, name) >= 1, f"train.{name} is {getattr(self, name)}; it must be 1 or more")
        for name in ("seed", "patience"):
            _require(getattr(self, name) >= 0, f"train.{name} is {getattr(self, name)}; it must be 0 or more")
        _require(
            self.keep != "swa" or self.patience == 0,
            f'train.keep = "swa" is a mean over the last quarter of all steps, which a run that stops early never sees; '
            f"set train.patience = 0 (it is {self.patience}), or keep another",
        )
        _require(self.minutes > 0, f"train.minutes is {self.minutes}; it must be more than 0")


def _require(fine: bool, message: str) -> None:
    if not fine:
        raise RecipeError(message)
