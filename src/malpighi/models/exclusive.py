"""Classes that exclude one another, as logits that can be treated one by one."""

from __future__ import annotations

import torch
from torch import Tensor


def independent(logits: Tensor) -> Tensor:
    """The logits whose sigmoids are the softmax of `logits` against a background of logit 0.

    softmax_k = e^z_k / (1 + Σ_j e^z_j) = σ(z_k - log(1 + Σ_{j≠k} e^z_j)). The sum leaves out k itself, rather than subtracting
    it from the whole, which would lose every digit where class k is sure. One class stays as it is.

    Args:
        logits: (batch, class, *spatial), of classes that exclude one another.

    Returns:
        The same shape and dtype.
    """
    classes = logits.shape[1]
    if classes == 1:
        return logits
    background = torch.zeros_like(logits[:, :1])
    against = [torch.cat([background, logits[:, :k], logits[:, k + 1 :]], 1).logsumexp(1) for k in range(classes)]
    return logits - torch.stack(against, 1)
