"""clDice: overlap of centrelines, so that a broken vessel costs more than a thin one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from malpighi.models.loss_regions import mean_of_labelled, over_space
from malpighi.models.loss_voxels import hard, known_and_wanted


def cl_dice(logits: Tensor, target: Tensor, steps: int = 3, smooth: float = 1.0, weights: Tensor | None = None) -> Tensor:
    """1 - 2 P S / (P + S): Shit et al., clDice (2021), a class over the whole batch, mean over labelled classes.

    P is the share of the predicted soft skeleton that lies in the target, S that of the target's in the prediction. By far
    the dearest of the losses: on a CPU it can cost as much as the network (benchmarks/networks.py).

    Args:
        steps: erosions of the soft skeleton; at least the radius in voxels of the thickest vessel.
        weights: (class,).
    """
    known, wanted = known_and_wanted(logits, target)
    wanted = hard(wanted)
    probability = torch.sigmoid(logits) * known
    predicted, true = soft_skeleton(probability, steps), soft_skeleton(wanted, steps)
    precision = (over_space(predicted * wanted) + smooth) / (over_space(predicted) + smooth)
    sensitivity = (over_space(true * probability) + smooth) / (over_space(true) + smooth)
    return mean_of_labelled(known, 1 - 2 * precision * sensitivity / (precision + sensitivity + 1e-4), weights)


def soft_skeleton(image: Tensor, steps: int) -> Tensor:
    """What each of `steps` erosions of (batch, class, *spatial) takes away and no opening gives back, 0 … 1."""
    eroded = _eroded(image)
    skeleton = F.relu(image - _dilated(eroded))
    for _ in range(steps):
        image, eroded = eroded, _eroded(eroded)
        ridge = F.relu(image - _dilated(eroded))
        skeleton = skeleton + F.relu(ridge - skeleton * ridge)
    return skeleton


def _eroded(image: Tensor) -> Tensor:
    """Minimum over face neighbours (the cross of three voxels an axis)."""
    rank = image.ndim - 2
    pool = F.max_pool2d if rank == 2 else F.max_pool3d
    turned = found = -image
    for axis in range(rank):
        kernel = tuple(3 if a == axis else 1 for a in range(rank))
        found = torch.maximum(found, pool(turned, kernel, 1, tuple(k // 2 for k in kernel)))
    return -found


def _dilated(image: Tensor) -> Tensor:
    """Maximum over the cube of three voxels an axis."""
    return F.max_pool2d(image, 3, 1, 1) if image.ndim == 4 else F.max_pool3d(image, 3, 1, 1)
