"""Batch norms of a network whose weights were averaged: what they ran on is not what they meet."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def measure_norms(network: nn.Module, inputs: Iterable[Tensor]) -> int:
    """Measure the running statistics of all batch norms anew, as plain means over `inputs`; nothing else changes.

    As `torch.optim.swa_utils.update_bn` (Izmailov et al. 2018), but only the norms are in training mode: dropout stays off, so that
    they see what they meet in prediction. Norms that an evaluated network does not reach, as of heads for training, keep theirs.

    Returns:
        The number of batch norms that were measured.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return 0
    before = [(norm.momentum, {key: value.clone() for key, value in norm.named_buffers()}) for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean
        norm.train()
    with torch.no_grad():
        for batch in inputs:
            network(batch)
    measured = 0
    for norm, (momentum, buffers) in zip(norms, before, strict=True):
        norm.momentum = momentum
        if norm.num_batches_tracked:
            measured += 1
        else:
            norm.load_state_dict(buffers, strict=False)
    network.eval()
    return measured
