"""Losses that are a mean over voxels. Logits and target (batch, class, *spatial).

Targets are uint8, 0, 1 or 255 for unlabelled, or float in 0 … 1, NaN for unlabelled: the probability that the class is there.
Of such a target a loss of voxels is the expected one, t · loss(1) + (1 - t) · loss(0).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from malpighi.models.losses import UNLABELLED


def known_and_wanted(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Where somebody said what is there, 0 or 1, and how surely the class is, 0 … 1; in the type of the logits, 0 where unknown."""
    if target.is_floating_point():
        return (~target.isnan()).to(logits.dtype), target.to(logits.dtype).nan_to_num(0.0)
    return (target != UNLABELLED).to(logits.dtype), (target == 1).to(logits.dtype)


def hard(wanted: Tensor) -> Tensor:
    """The class where it is at least as likely as not, for losses of edges, surfaces, skeletons and ranks; 0 or 1."""
    return (wanted >= 0.5).to(wanted.dtype)


def mean_over(known: Tensor, each: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of `each` over the labelled voxels of all classes, (class,) `weights` each; 0 where nothing is labelled."""
    if weights is None:
        return (each * known).sum() / known.sum().clamp(min=1)
    known = known * weights.reshape(-1, *[1] * (known.ndim - 2))
    total = known.sum()
    return (each * known).sum() / torch.where(total > 0, total, 1)


def cross_entropy(logits: Tensor, target: Tensor, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, mean over labelled voxels of all classes.

    Args:
        smoothing: share of the undecided answer, 1/2, that is mixed into the target (Szegedy et al. 2016).
        weights: (class,).
    """
    known, wanted = known_and_wanted(logits, target)
    return mean_over(known, _entropy(logits, wanted, smoothing), weights)


def edge_cross_entropy(
    logits: Tensor, target: Tensor, edge_weight: float = 1.0, smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy times 1 + `edge_weight` on both sides of every edge of the target, mean over labelled voxels.

    After the fifth place of SenNet + HOA. An edge lies between labelled face neighbours of which one is the class.
    """
    known, wanted = known_and_wanted(logits, target)
    each = _entropy(logits, wanted, smoothing)
    return mean_over(known, each * (1 + edge_weight * edges(known, hard(wanted))), weights)


def _entropy(logits: Tensor, wanted: Tensor, smoothing: float) -> Tensor:
    if smoothing:
        wanted = wanted * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")


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


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0, alpha: float = 0.25, weights: Tensor | None = None) -> Tensor:
    """-α_t (1 - p_t)^γ log p_t, mean over labelled voxels: Lin et al., Focal Loss (2017).

    Args:
        gamma: 0 is cross-entropy.
        alpha: weight of the class; the rest has 1 - alpha. Negative: both have 1.
        weights: (class,).
    """
    known, wanted = known_and_wanted(logits, target)
    there, not_there = F.logsigmoid(logits), F.logsigmoid(-logits)  # log p and log(1 - p), whose powers have finite slopes
    shares = (alpha * wanted, (1 - alpha) * (1 - wanted)) if alpha >= 0 else (wanted, 1 - wanted)
    each = shares[0] * torch.exp(gamma * not_there) * there + shares[1] * torch.exp(gamma * there) * not_there
    return mean_over(known, -each, weights)
