"""Lovász extension of the Jaccard loss (Berman et al. 2018): errors of voxels, sorted, each weighed by what it costs the index.

Its cost is the sort. Only errors above 0 count and they come first, so the hinge sorts no others: few, once a network has learnt
(benchmarks/losses.py). Targets that are probabilities count as the class from 0.5 on.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from malpighi.models.loss_regions import mean_of_labelled
from malpighi.models.loss_voxels import hard, known_and_wanted, mean_over


def lovasz_hinge(logits: Tensor, target: Tensor, by_tile: bool = False, weights: Tensor | None = None) -> Tensor:
    """Of each class the Lovász extension of its errors 1 - z · sign, over the labelled voxels of the whole batch; mean over classes.

    As the authors' `lovasz_hinge`: of a class that is nowhere, the largest error alone counts.

    Args:
        by_tile: over the voxels of one tile, and the mean over tiles too: `per_image=True` there, which is its default.
        weights: (class,).
    """
    known, wanted = known_and_wanted(logits, target)
    inside = hard(wanted)
    error = F.relu(1 - logits * (2 * inside - 1)) * known
    if by_tile:
        pairs = zip(error.flatten(2).flatten(0, 1), inside.flatten(2).flatten(0, 1) > 0, strict=True)
        each = torch.stack([_extension(*pair) for pair in pairs]).reshape(logits.shape[:2])
        return mean_over(known.flatten(2).amax(2), each, weights)
    all_tiles = [_extension(error[:, k].flatten(), inside[:, k].flatten() > 0) for k in range(logits.shape[1])]
    return mean_of_labelled(known, torch.stack(all_tiles), weights)


def lovasz_softmax(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Of background and each class that is present in the batch, the Lovász extension of |[it is there] - softmax|; their mean.

    As the authors' `lovasz_softmax(classes="present", per_image=False)`. A voxel of which some classes are not labelled is left out
    unless another class is there.

    Args:
        logits: (batch, class, *spatial) of classes that exclude one another and background, whose logit is 0.
        target: as everywhere; where classes overlap the last counts.
        weights: (class,), or (1 + class,) with background first; it has 1 otherwise.
    """
    known, wanted = known_and_wanted(logits, target)
    probability = with_background(logits).softmax(1)
    inside = hard(wanted)
    number = (inside * torch.arange(1, 1 + inside.shape[1], device=inside.device).reshape(-1, *[1] * (inside.ndim - 2))).amax(1)
    counts = (number > 0) | (known > 0).all(1)  # (batch, *spatial)
    each, present = [], []
    for k in range(probability.shape[1]):
        there = (number == k) & counts
        error = (there.to(logits.dtype) - probability[:, k]).abs() * counts
        each.append(_extension(error.flatten(), there.flatten()))
        present.append(there.any())
    share = torch.stack(present).to(logits.dtype) * background_first(weights, probability)
    total = share.sum()
    return (torch.stack(each) * share).sum() / torch.where(total > 0, total, 1)


def with_background(logits: Tensor) -> Tensor:
    """(batch, class, *spatial) → (batch, 1 + class, *spatial): background, whose logit is 0, comes first."""
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)


def background_first(weights: Tensor | None, whole: Tensor) -> Tensor:
    """Weights of background and classes, (1 + class,), of what was given: nothing, those of the classes, or all."""
    if weights is None:
        return whole.new_ones(whole.shape[1])
    missing = whole.shape[1] - len(weights)
    return torch.cat([weights.new_ones(missing), weights])


def _extension(error: Tensor, there: Tensor) -> Tensor:
    """Σ error × its price, largest errors first, (voxels,) each; errors are not negative, and those that are 0 cost nothing.

    The price of the n-th error is by how much the Jaccard loss 1 - I/U grows when that voxel turns wrong too. Berman et al. take
    differences of neighbouring losses; here they are in closed form, 1/U where the class is and I / (U (U - 1)) where it is not,
    since in float32 a difference of two numbers near 1 keeps hardly a digit of a price of a millionth.
    """
    return (error * _weights(error.detach(), there)).sum()


@torch.no_grad()
def _weights(error: Tensor, there: Tensor) -> Tensor:
    """The price of each voxel's error, in the voxels' order. It is the loss's slope: no gradient goes through the sort."""
    some = error.nonzero().squeeze(1)
    order = some[error[some].argsort(descending=True)]
    return torch.zeros_like(error).index_put_((order,), prices(there[order], there.sum()).to(error.dtype))


@torch.no_grad()
def prices(there: Tensor, total: Tensor) -> Tensor:
    """By how much each voxel, in this order, makes the Jaccard loss grow.

    Args:
        there: (voxels,) bool: is the class there.
        total: how many voxels of the class there are, those that are not listed too.

    Returns:
        (voxels,) float32. Counts are exact at any size.
    """
    missed = there.cumsum(0)
    union = total + torch.arange(1, len(there) + 1, device=there.device) - missed
    steps = torch.where(there, 1 / union, (total - missed) / (union * (union - 1)).clamp(min=1))
    if len(steps):  # of a class that is nowhere the first error costs all, the others nothing
        steps[0] = torch.where(total > 0, steps[0], 1.0)
    return steps
