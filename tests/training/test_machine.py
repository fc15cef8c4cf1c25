"""Steps of every kind of network can be timed, in every setting that the device has."""

import pytest
from torch import nn

from malpighi.models.build import ModelOptions, build_network
from malpighi.models.outputs import Outputs
from malpighi.training import machine

LIGHT = {"pretrained": "never", "encoder": "resnet10t", "decoder_channels": (16, 8, 8, 8, 8)}


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        (ModelOptions("unet", **LIGHT), (2, 2, 32, 64)),
        (ModelOptions("unet", slices_in=3, slices_out=3, stem=True, **LIGHT), (2, 2, 3, 32, 64)),
        (ModelOptions("attention-unet", widths=(4, 8, 8), slices_in=1, repeat=3), (1, 2, 1, 16, 16)),
        (ModelOptions("res-unet3d", widths=(4, 8, 8), flat=1), (1, 2, 4, 16, 16)),
        (ModelOptions("dynunet", widths=(4, 8, 8)), (1, 2, 8, 16, 16)),
    ],
    ids=lambda value: getattr(value, "architecture", ""),
)
def test_every_kind_of_network_is_timed(options, shape):
    times = machine.time_steps(lambda: build_network(options, 2, 1), shape, "cpu", repeats=1)
    assert set(times) == {(precision, order) for precision in ("float32", "bfloat16") for order in (False, True)}
    assert min(times.values()) > 0


class Counting(nn.Module):
    rank, calls = 2, 0

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 1)

    def forward(self, x):
        Counting.calls += 1
        return Outputs(self.convolution(x))


@pytest.mark.parametrize(("patience", "calls"), [(0.0, 1), (1e9, 4)])
def test_slow_networks_are_timed_fewer_times(monkeypatch, patience, calls):
    monkeypatch.setattr(machine, "PATIENCE", patience)
    Counting.calls = 0
    times = machine.time_steps(Counting, (1, 1, 4, 4), "cpu", repeats=3)
    assert Counting.calls == calls * len(times)
