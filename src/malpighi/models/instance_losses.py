"""The loss of networks for instances: a foreground that is a class, and layers that are numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from malpighi.models.losses import DEEP, central
from malpighi.models.outputs import Outputs

LAYERS_WEIGHT = {"distance": 2.0, "flow": 4.0}
"""Weight of the mean error of the layers beside cross-entropy and Dice: all three start at about the same size."""


class InstanceLoss(nn.Module):
    """BCE + Dice of the foreground, plus the mean absolute error of the other layers, in 0 … 1 after the sigmoid.

    A distance counts in the whole tile: half in objects, half in the background, where it is 0. A flow counts in objects alone:
    what it does outside is never read. Where the target is NaN nothing counts, and a batch of nothing else costs 0. Deep
    supervision is weighed as by `build_loss`. Computed in float32, whatever precision the network runs in.
    """

    def __init__(self, kind: str) -> None:
        """For a kind with layers.

        Raises:
            ValueError: a kind without layers.
        """
        super().__init__()
        if kind not in LAYERS_WEIGHT:
            raise ValueError(f"no loss of instances of kind {kind!r}; known: {', '.join(LAYERS_WEIGHT)}")
        self.kind = kind

    def forward(self, outputs: Outputs, target: Tensor) -> Tensor:
        """Loss of outputs whose logits are (batch, layer, y, x) and a target of the same shape, float, NaN where unknown."""
        target = central(target, outputs.logits.shape)
        total, weights = self._one(outputs.logits, target), 1.0
        for level, logits in enumerate(outputs.deep, start=1):
            total = total + DEEP**level * self._one(logits, target)
            weights += DEEP**level
        return total / weights

    def _one(self, logits: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            logits, target = logits.float(), target.float()
            known = ~target.isnan()
            wanted = target.nan_to_num(0.0)
            return foreground_loss(logits[:, 0], wanted[:, 0], known[:, 0]) + LAYERS_WEIGHT[self.kind] * self._layers(
                logits[:, 1:], wanted, known[:, 1:]
            )

    def _layers(self, logits: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
        error = (torch.sigmoid(logits) - wanted[:, 1:]).abs()
        inside = (wanted[:, :1] > 0.5) & known
        within = mean_where(error, inside)
        if self.kind == "flow":
            return within
        return (within + mean_where(error, known & ~inside)) / 2


def foreground_loss(logits: Tensor, wanted: Tensor, known: Tensor, smooth: float = 1.0) -> Tensor:
    """Cross-entropy plus 1 - Dice over the known pixels of the batch: (batch, y, x) each; 0 where none is known."""
    entropy = mean_where(F.binary_cross_entropy_with_logits(logits, wanted, reduction="none"), known)
    probability = torch.sigmoid(logits) * known
    wanted = wanted * known
    dice = (2 * (probability * wanted).sum() + smooth) / (probability.sum() + wanted.sum() + smooth)
    return entropy + 1 - dice


def mean_where(each: Tensor, where: Tensor) -> Tensor:
    """Mean of `each` over the pixels where `where` is true; 0 where it nowhere is."""
    return (each * where).sum() / where.sum().clamp(min=1)
