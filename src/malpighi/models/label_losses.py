"""A recipe's [loss] of labels → one function of a classifier's outputs. A label that nobody gave (NaN) counts nowhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from malpighi.models.classify import LabelLossOptions
from malpighi.models.losses import Loss
from malpighi.models.outputs import Outputs

MARGIN = 0.05
"""Of "asymmetric": absent labels of at most this probability cost nothing, as published."""


def build_label_loss(
    options: LabelLossOptions, weights: Sequence[float] | None = None, consistency_weight: float = 1.0
) -> Loss:
    """The loss as a function of a classifier's outputs and (batch, class) targets in 0 … 1, NaN where nobody said.

    Each is a mean over labels that somebody gave, weighed by class. Of "ce" it is a mean over images: the labels of one share
    its softmax, classes of which nobody said are not in it, and an image without any label counts nowhere. Where
    `outputs.image_logits` has several times the batch's rows, each time is taught the same targets. Two maps in
    `outputs.deep` add `consistency_weight` × the mean absolute difference of their probabilities, of labelled images or not.
    Computed in float32, whatever precision the network runs in; 0, with a gradient, where nobody said anything.

    Args:
        options: which.
        weights: one a class, see `class_weights`; only their ratios matter. None: all alike.
        consistency_weight: of the difference of the maps.

    Raises:
        ValueError: of the returned function: targets of another shape.
    """
    several = _softmax if options.name == "ce" else _independent

    def loss(outputs: Outputs, target: Tensor) -> Tensor:
        scores = outputs.image_logits
        if scores is None:
            raise ValueError("a loss of labels needs a network that gives image_logits")
        if target.ndim != 2 or target.shape[1] != scores.shape[1] or len(scores) % len(target):
            raise ValueError(f"targets of shape {tuple(target.shape)} for scores of shape {tuple(scores.shape)}")
        with torch.autocast(scores.device.type, enabled=False):
            scores, target = scores.float(), target.float().repeat(len(scores) // len(target), 1)
            each = torch.ones_like(scores) if weights is None else scores.new_tensor(list(weights)).expand_as(scores)
            total = several(scores, target, each, options)
            if consistency_weight and len(outputs.deep) == 2:
                total = total + consistency_weight * _difference(*outputs.deep, softmax=options.name == "ce")
        return total

    return loss


def _independent(scores: Tensor, target: Tensor, weights: Tensor, options: LabelLossOptions) -> Tensor:
    known = ~target.isnan()
    target = torch.where(known, target, 0) * (1 - options.smoothing) + options.smoothing / 2
    weights = weights * known
    return (weights * COSTS[options.name](scores, target, options.gamma)).sum() / weights.sum().clamp_min(1e-12)


def _cross_entropy(scores: Tensor, target: Tensor, gamma: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(scores, target, reduction="none")


def _focal(scores: Tensor, target: Tensor, gamma: float) -> Tensor:
    """(1 - p_t)^γ · -log p_t (Lin et al. 2017, without α), both sides of a soft label by its share."""
    p = scores.sigmoid().clamp(1e-7, 1 - 1e-7)  # a root of 0 has no gradient
    present, absent = functional.logsigmoid(scores), functional.logsigmoid(-scores)
    return -target * (1 - p) ** gamma * present - (1 - target) * p**gamma * absent


def _asymmetric(scores: Tensor, target: Tensor, gamma: float) -> Tensor:
    """Ridnik et al. 2021, equation 7 with γ+ = 0: absent labels are moved by `MARGIN` and dwelt on where they are wrong."""
    p = (scores.sigmoid() - MARGIN).clamp_min(0)
    dwelt = p.clamp_min(1e-7) ** gamma  # a root of 0 has no gradient
    return -target * functional.logsigmoid(scores) - (1 - target) * dwelt * torch.log1p(-p)


COSTS = {"bce": _cross_entropy, "focal": _focal, "asymmetric": _asymmetric}
"""Losses of labels that do not exclude each other: (scores, targets in 0 … 1, gamma) → a cost each."""


def _softmax(scores: Tensor, target: Tensor, weights: Tensor, options: LabelLossOptions) -> Tensor:
    known = ~target.isnan()
    target = torch.where(known, target, 0)
    counts = target.sum(1, keepdim=True) > 0
    target = target / target.sum(1, keepdim=True).clamp_min(1e-12)
    target = target * (1 - options.smoothing) + known * options.smoothing / known.sum(1, keepdim=True).clamp_min(1)
    weights = weights * target * counts
    logs = scores.masked_fill(~known & counts, -torch.inf).log_softmax(1)
    return -(weights * torch.where(known, logs, 0)).sum() / weights.sum().clamp_min(1e-12)


def _difference(a: Tensor, b: Tensor, softmax: bool) -> Tensor:
    """Mean absolute difference of what two maps (batch, class, y, x) say, as probabilities.

    Of raw maps that of absent labels would count most: -8 and -12 differ by 4 and both say no.
    """
    a, b = a.float(), b.float()
    said = [maps.softmax(1) if softmax else maps.sigmoid() for maps in (a, b)]
    return functional.l1_loss(*said)


def class_weights(counts: Sequence[float]) -> tuple[float, ...]:
    """(mean count / count) ^ ½ of each class, so that a label four times as rare weighs twice; 1 of one that never occurs."""
    seen = [count for count in counts if count > 0]
    mean = sum(seen) / len(seen) if seen else 1.0
    return tuple((mean / count) ** 0.5 if count > 0 else 1.0 for count in counts)
