"""Losses that are a mean over voxels. Logits and target (batch, class, *spatial); target 0, 1, or 255 for unlabelled."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from malpighi.models.losses import UNLABELLED


def known_and_wanted(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Where somebody said what is there, and where the class is; both 0 or 1 in the type of the logits."""
    return (target != UNLABELLED).to(logits.dtype), (target == 1).to(logits.dtype)


def mean_over(known: Tensor, each: Tensor) -> Tensor:
    """Mean of `each` over the labelled voxels of all classes; 0 where nothing is labelled."""
    return (each * known).sum() / known.sum().clamp(min=1)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy, mean over labelled voxels of all classes."""
    known, wanted = known_and_wanted(logits, target)
    return mean_over(known, F.binary_cross_entropy_with_logits(logits, wanted, reduction="none"))


def edge_cross_entropy(logits: Tensor, target: Tensor, edge_weight: float = 1.0) -> Tensor:
    """Cross-entropy times 1 + `edge_weight` on both sides of every edge of the target, mean over labelled voxels.

    After the fifth place of SenNet + HOA. An edge lies between labelled face neighbours of which one is the class.
    """
    known, wanted = known_and_wanted(logits, target)
    each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return mean_over(known, each * (1 + edge_weight * edges(known, wanted)))


def edges(known: Tensor, wanted: Tensor) -> Tensor:
    """1 at voxels with a labelled face neighbour of the other side, else 0."""
    found = torch.zeros_like(wanted)
    for axis in range(2, wanted.ndim):
        for shift in (1, -1):
            neighbour = (wanted.roll(shift, axis) != wanted) & (known.roll(shift, axis) * known > 0)
            border = [slice(None)] * wanted.ndim
            border[axis] = slice(0, 1) if shift == 1 else slice(-1, None)
            neighbour[tuple(border)] = False  # rolled in from the other end
            found = torch.where(neighbour, torch.ones_like(found), found)
    return found


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """-α_t (1 - p_t)^γ log p_t, mean over labelled voxels: Lin et al., Focal Loss (2017).

    Args:
        gamma: 0 is cross-entropy.
        alpha: weight of the class; the rest has 1 - alpha. Negative: both have 1.
    """
    known, wanted = known_and_wanted(logits, target)
    each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    wrong = F.logsigmoid(logits * (1 - 2 * wanted))  # log(1 - p_t), whose power has a finite slope everywhere
    weight = wanted * alpha + (1 - wanted) * (1 - alpha) if alpha >= 0 else 1.0
    return mean_over(known, weight * torch.exp(gamma * wrong) * each)
