"""Memory formats by kind of network."""

import torch
from torch import nn

from malpighi.models.layout import memory_formats


def _network(rank, slices=None):
    network = nn.Identity()
    network.rank, network.slices = rank, slices
    return network


def test_kernels_and_input_have_the_format_of_their_own_rank():
    assert memory_formats(_network(2), True) == (torch.channels_last, torch.channels_last)
    assert memory_formats(_network(3), True) == (torch.channels_last_3d, torch.channels_last_3d)
    # two-dimensional kernels that are given (batch, channel, slices, y, x)
    assert memory_formats(_network(3, (3, 1)), True) == (torch.channels_last, torch.contiguous_format)
    assert memory_formats(_network(3), False) == (torch.contiguous_format, torch.contiguous_format)
