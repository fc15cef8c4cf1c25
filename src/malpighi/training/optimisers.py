"""A recipe's [optim] → the optimiser, with groups of weights that have a rate and a decay of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from malpighi.training.options import OptimOptions

FACTOR = "rate_factor"
"""Key of a group of weights: its rate over the schedule's."""

KEPT = ("relative_position_bias", "pos_embed", "cls_token")
"""How names of weights of transformers begin that are no matrices, whatever their shape: no decay acts on them."""

LOOK_BACK, LOOK_EVERY = 0.5, 6
"""Of Lookahead (Zhang et al. 2019): share of the way that slow weights go to the fast ones, and after how many steps."""


def build_optimiser(network: nn.Module, options: OptimOptions) -> torch.optim.Optimizer:
    """The optimiser; weight decay acts on matrices and kernels, not on biases and norms. `set_rate` moves its rates.

    Raises:
        RecipeError: another rate for the encoder of a network that has none.
    """
    groups = _groups(network, options)
    if options.name == "sgd":
        return torch.optim.SGD(groups, lr=options.rate, momentum=0.9, nesterov=True)
    if options.name == "adamw":
        return torch.optim.AdamW(groups, lr=options.rate, amsgrad=options.amsgrad)
    if options.name == "adam":
        return torch.optim.Adam(groups, lr=options.rate, amsgrad=options.amsgrad)
    if options.name == "adan":
        from timm.optim.adan import Adan

        return Adan(groups, lr=options.rate)
    # timm's own RAdam is kept for reference only and points here
    radam = torch.optim.RAdam(groups, lr=options.rate, decoupled_weight_decay=True)
    if options.name == "radam":
        return radam
    from timm.optim.lookahead import Lookahead

    # its slow weights live in RAdam's state, and so in the checkpoint; they begin with the weights of its first look
    return Lookahead(radam, alpha=LOOK_BACK, k=LOOK_EVERY)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give each group of weights its part of the schedule's rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group[FACTOR]


def _groups(network: nn.Module, options: OptimOptions) -> list[dict[str, Any]]:
    """Weights with decay and those without; with another rate for the encoder, the same once more for it."""
    encoder = encoder_of(network)
    options.require_encoder(encoder is not None)
    apart = set() if encoder is None or options.encoder_rate == 1 else {id(p) for p in encoder.parameters()}
    groups = []
    for factor, inside in ((1.0, False), (options.encoder_rate, True)):
        here = [(name, p) for name, p in network.named_parameters() if p.requires_grad and (id(p) in apart) == inside]
        decays = [p.ndim > 1 and not name.rpartition(".")[2].startswith(KEPT) for name, p in here]
        for decay, wanted in ((options.weight_decay, True), (0.0, False)):
            some = [p for (_, p), each in zip(here, decays, strict=True) if each == wanted]
            if some or not inside:
                groups.append({"params": some, "weight_decay": decay, FACTOR: factor})
    return groups


def encoder_of(network: nn.Module) -> nn.Module | None:
    """The part that may have published weights: the first module of the name "encoder"; where there is a stem beside, the one within."""
    found = next((module for name, module in network.named_modules() if name.rpartition(".")[2] == "encoder"), None)
    while found is not None and isinstance(inner := getattr(found, "encoder", None), nn.Module):
        found = inner
    return found
