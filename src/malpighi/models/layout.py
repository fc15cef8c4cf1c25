"""Memory order of a network's weights and of its input: channels last, where asked for and where it has a meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn


def memory_formats(network: nn.Module, channels_last: bool) -> tuple[torch.memory_format, torch.memory_format]:
    """Memory formats of (weights, input).

    A network on slices of volumes has two-dimensional kernels and three-dimensional input: it folds the input itself.
    """
    plain = torch.contiguous_format
    if not channels_last:
        return plain, plain
    if getattr(network, "slices", None):
        return torch.channels_last, plain
    if getattr(network, "rank", 2) == 3:
        return torch.channels_last_3d, torch.channels_last_3d
    return torch.channels_last, torch.channels_last
