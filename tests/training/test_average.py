"""The averaged network by hand."""

import torch
from torch import nn

from malpighi.training.average import Average


def _one(value: float) -> nn.Linear:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    return network


def test_first_update_uses_the_warm_decay():
    network = _one(0.0)
    average = Average(network, decay=0.99)
    nn.init.constant_(network.weight, 1.0)
    average.update(network)  # decay (1 + 1) / (10 + 1): 9/11 of the new weight
    torch.testing.assert_close(average.network.weight.item(), 9 / 11)


def test_it_tends_to_constant_weights_and_counts_buffers():
    network = nn.BatchNorm1d(2)
    average = Average(network, decay=0.9)
    network(torch.randn(8, 2))
    for _ in range(200):
        average.update(network)
    assert average.network.num_batches_tracked == 1
    torch.testing.assert_close(average.network.running_mean, network.running_mean)


def test_without_decay_it_is_the_network_itself():
    network = _one(3.0)
    assert Average(network, decay=0.0).network is network
