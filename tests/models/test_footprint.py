"""Where maps lie, against where gradients come from."""

import pytest
import timm
import torch

from malpighi.models.footprint import Footprint


def followed(name: str, side: int = 160, **options) -> float:
    encoder = timm.create_model(name, num_classes=0, global_pool="", **options).eval()
    footprint = Footprint()
    with torch.inference_mode(), footprint.following(encoder):
        encoder(torch.zeros(1, 3, side, side))
    return footprint.origin


@pytest.mark.parametrize(
    ("name", "options", "origin"),
    [
        ("resnet18", {}, 0),  # kernels of 3 and 7 that pad by 1 and 3, and of 1
        ("resnet18", {"output_stride": 16}, 0),
        ("regnetx_002", {}, 0),
        ("resnet10t", {}, 7),  # thrice half a kernel of 3, half a mean of 2 × 2: (2 + 4 + 8) / 2
        ("convnext_atto", {}, 15.5),  # 4 × 4 of stride 4, then thrice 2 × 2 of stride 2: 1.5 + 2 + 4 + 8
        ("tf_efficientnet_lite0", {}, 31),  # as TensorFlow pads even sides: 1 + 2 + 4 + 8 + 16
    ],
)
def test_by_hand(name, options, origin):
    assert followed(name, **options) == origin


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto", "tf_efficientnet_lite0"])
def test_gradients_come_from_there(name):
    """The centre of mass of the squared gradient of a place in the middle, over channels of a network that knows nothing."""
    torch.manual_seed(0)
    own = {"zero_init_last": False} if name == "resnet10t" else {}  # else its branches are nothing before training
    encoder = timm.create_model(name, num_classes=0, global_pool="", **own).eval()
    x = torch.rand(1, 3, 224, 224, requires_grad=True)
    features = encoder(x)[0, :6, 3, 3]
    mass = sum(torch.autograd.grad(f, x, retain_graph=True)[0].square().sum((0, 1)) for f in features)
    mass = mass.sum(0) + mass.sum(1)
    centre = float((mass * torch.arange(224)).sum() / mass.sum())
    assert centre == pytest.approx(3 * 32 + followed(name), abs=8)
