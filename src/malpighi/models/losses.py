"""Losses on independent class logits. A voxel whose target is `UNLABELLED` counts in none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from malpighi.models.outputs import Outputs

UNLABELLED = 255
"""As `annotations.base.UNLABELLED`; models and annotations are siblings and share the number, not the code."""

Loss = Callable[["Outputs", "Tensor"], "Tensor"]
"""Of the network's outputs and a target (batch, class, *spatial) uint8: one number."""


@dataclass(frozen=True)
class LossOptions:
    """Which loss.

    Attributes:
        name: "bce", "dice" or "bce+dice" (their weighted sum).
        bce_weight: weight of cross-entropy in the sum.
        dice_weight: weight of Dice in the sum.
        smooth: added to Dice's numerator and denominator, in voxels; keeps an empty class defined.
    """

    name: Literal["bce", "dice", "bce+dice"] = "bce+dice"
    bce_weight: float = 1.0
    dice_weight: float = 1.0
    smooth: float = 1.0


def build_loss(options: LossOptions) -> Loss:
    """The loss as a function of the network's outputs and a target (batch, class, *spatial) uint8 of 0, 1, 255."""
    terms: dict[str, list[tuple[float, Callable[[Tensor, Tensor], Tensor]]]] = {
        "bce": [(1.0, cross_entropy)],
        "dice": [(1.0, partial(soft_dice, smooth=options.smooth))],
        "bce+dice": [(options.bce_weight, cross_entropy), (options.dice_weight, partial(soft_dice, smooth=options.smooth))],
    }
    chosen = terms[options.name]

    def loss(outputs: Outputs, target: Tensor) -> Tensor:
        logits = outputs.logits.float()
        total = logits.new_zeros(())
        for weight, term in chosen:
            total = total + weight * term(logits, target)
        return total

    return loss


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy, mean over labelled voxels of all classes; 0 where nothing is labelled."""
    import torch.nn.functional as F

    known = target != UNLABELLED
    each = F.binary_cross_entropy_with_logits(logits, (target == 1).to(logits.dtype), reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def soft_dice(logits: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - (2 Σpt + s) / (Σp + Σt + s), a class over the whole batch; mean over classes that are labelled in it.

    Milletari et al., V-Net (2016), with plain instead of squared sums. Batch-wise sums, so that a tile without the class
    pushes down false positives by their area instead of by an all-or-nothing term.
    """
    import torch

    known = (target != UNLABELLED).to(logits.dtype)
    wanted = (target == 1).to(logits.dtype)
    probability = torch.sigmoid(logits) * known
    axes = (0, *range(2, logits.ndim))
    overlap = (probability * wanted).sum(axes)
    score = (2 * overlap + smooth) / (probability.sum(axes) + wanted.sum(axes) + smooth)
    labelled = (known.sum(axes) > 0).to(logits.dtype)
    return ((1 - score) * labelled).sum() / labelled.sum().clamp(min=1)
