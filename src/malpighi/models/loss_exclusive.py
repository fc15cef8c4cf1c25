"""Cross-entropy of classes that exclude one another, with a background whose logit is 0."""

from __future__ import annotations

import torch
from torch import Tensor

from malpighi.models.loss_lovasz import background_first, with_background
from malpighi.models.loss_voxels import known_and_wanted


def exclusive_cross_entropy(logits: Tensor, target: Tensor, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of the softmax over background and classes, mean over the voxels of which anything is labelled.

    Where only some classes are labelled and none of them is there, the voxel may be background or any of the others: minus the log
    of their summed probability (the marginal loss of Fang & Yan 2020; Shi et al. 2021). So unlabelled is not background.

    Args:
        logits: (batch, class, *spatial).
        target: as everywhere; see `exclusive_shares` for classes that overlap.
        smoothing: share of the undecided answer, 1 / (1 + class) each, that is mixed into the target.
        weights: (class,), or (1 + class,) with background first; it has 1 otherwise. As in torch the mean is over weights.
    """
    known, wanted = known_and_wanted(logits, target)
    log_p = with_background(logits).log_softmax(1)
    unknown = known == 0
    maybe = torch.cat([log_p[:, :1], log_p[:, 1:].masked_fill(~unknown, -torch.inf)], 1).logsumexp(1)  # (batch, *spatial)
    shares = exclusive_shares(wanted)
    rest = 1 - shares.sum(1)
    if smoothing:
        even = smoothing / log_p.shape[1]
        shares = ((1 - smoothing) * shares + even) * known
        rest = (1 - smoothing) * rest + even * (1 + unknown.sum(1))
    weigh = background_first(weights, log_p)
    by_class = weigh[1:].reshape(-1, *[1] * (shares.ndim - 2)) * shares
    labelled = (known > 0).any(1)
    cost = -((by_class * log_p[:, 1:]).sum(1) + weigh[0] * rest * maybe) * labelled
    total = ((by_class.sum(1) + weigh[0] * rest) * labelled).sum()
    return cost.sum() / torch.where(total > 0, total, 1)


def exclusive_shares(wanted: Tensor) -> Tensor:
    """What of each voxel each class has when a later class lies on top of the earlier: (batch, class, *spatial), sums of at most 1.

    Of masks that overlap the last has the voxel. Of probabilities each class has its own, from the last to the first, as long as any
    is left; those that sum to 1 or less stay as they are.
    """
    upwards = wanted.flip(1).cumsum(1).clamp(max=1)  # (batch, class): from the last to this one
    return torch.cat([upwards[:, :1], upwards[:, 1:] - upwards[:, :-1]], 1).flip(1)
