"""Groups of weights, their rates and decays; steps of the optimisers beside their definitions."""

import pytest
import torch
from torch import nn

from malpighi.errors import RecipeError
from malpighi.training.optimisers import build_optimiser, encoder_of, set_rate
from malpighi.training.options import OptimOptions


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv2d(1, 2, 3)
        self.decoder = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))


class Stem(nn.Module):
    """As `models.unet2d.StemEncoder`: a stem beside the encoder."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv2d(1, 2, 3)
        self.whole = nn.Conv2d(1, 2, 3)


def _network(encoder=None):
    network = nn.Module()
    network.body = Body()
    if encoder is not None:
        network.body.encoder = encoder
    return network


def _line(value=1.0):
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    return network


def _walk(optimiser, network, steps, rate):
    """Weights after each step down the slope of w² / 2."""
    found = []
    for _ in range(steps):
        set_rate(optimiser, rate)
        optimiser.zero_grad()
        (network.weight**2 / 2).sum().backward()
        optimiser.step()
        found.append(network.weight.item())
    return found


NAMES = ["adamw", "adam", "sgd", "radam", "ranger", "adan"]


@pytest.mark.parametrize("name", NAMES)
def test_biases_and_norms_do_not_decay(name):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    weights, rest = build_optimiser(network, OptimOptions(name=name, weight_decay=0.1)).param_groups
    assert [p.ndim for p in weights["params"]] == [4]
    assert [p.ndim for p in rest["params"]] == [1, 1, 1]
    assert (weights["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)


@pytest.mark.parametrize(
    ("encoder", "kept"),
    [("swin_tiny_patch4_window7_224", "relative_position_bias_table"), ("coat_lite_tiny", "cls_token")],
)
def test_positions_and_tokens_of_transformers_do_not_decay(encoder, kept):
    from malpighi.models.build import ModelOptions, build_network

    with torch.device("meta"):
        network = build_network(ModelOptions("upernet", encoder, "never"), 3, 1)
    groups = build_optimiser(network, OptimOptions(encoder_rate=0.1, weight_decay=0.1)).param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    found = {name: decays[id(p)] for name, p in network.named_parameters()}
    assert {decay for name, decay in found.items() if kept in name} == {0.0}
    assert all(decay == 0.1 for name, decay in found.items() if name.endswith(("qkv.weight", "fc1.weight")))


@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_has_a_rate_of_its_own(name):
    network = _network()
    optimiser = build_optimiser(network, OptimOptions(name=name, encoder_rate=0.1, weight_decay=0.05))
    set_rate(optimiser, 2.0)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    assert len(rates) == 6
    for key, p in network.named_parameters():
        assert rates[id(p)] == pytest.approx(0.2 if "encoder" in key else 2.0)
    assert {group["weight_decay"] for group in optimiser.param_groups} == {0.05, 0.0}


def test_a_stem_is_not_of_the_encoder():
    stem = Stem()
    network = _network(stem)
    assert encoder_of(network) is stem.encoder
    network = nn.Sequential(nn.Conv2d(1, 1, 3))
    assert encoder_of(network) is None


@pytest.mark.parametrize("architecture", ["unet", "fpn"])
def test_encoders_of_our_networks_are_found(architecture):
    from malpighi.models.build import ModelOptions, build_network

    network = build_network(ModelOptions(architecture, "resnet10t", "never"), 3, 1)
    assert encoder_of(network) is network.body.encoder


def test_a_network_without_encoder_is_refused():
    with pytest.raises(RecipeError, match=r"optim\.encoder_rate is 0\.1.*set it to 1"):
        build_optimiser(nn.Linear(2, 2), OptimOptions(encoder_rate=0.1))


def test_a_recipe_without_encoder_is_refused_when_it_is_read():
    from malpighi.recipes.recipe import ModelOptions, Recipe

    with pytest.raises(RecipeError, match=r"optim\.encoder_rate"):
        Recipe(model=ModelOptions("dynunet"), optim=OptimOptions(encoder_rate=0.1))


def test_amsgrad_is_of_adam_alone():
    assert build_optimiser(_line(), OptimOptions(name="adam", amsgrad=True)).param_groups[0]["amsgrad"]
    with pytest.raises(RecipeError, match=r"optim\.amsgrad"):
        OptimOptions(name="sgd", amsgrad=True)


def test_lookahead_draws_weights_half_way_back_every_sixth_step():
    fast, slow = _line(), _line()
    options = {"rate": 0.1, "weight_decay": 0.0}
    plain = _walk(build_optimiser(fast, OptimOptions(name="radam", **options)), fast, 6, 0.1)
    looked = _walk(build_optimiser(slow, OptimOptions(name="ranger", **options)), slow, 12, 0.1)
    assert looked[:6] == plain  # the first look takes the weights as they are
    again = _line()
    optimiser = build_optimiser(again, OptimOptions(name="ranger", **options))
    _walk(optimiser, again, 11, 0.1)
    slow_weight = looked[5]
    optimiser.param_groups[0]["lookahead_k"] = 10**9  # the twelfth step without a look
    without = _walk(optimiser, again, 1, 0.1)[0]
    assert looked[11] == pytest.approx((slow_weight + without) / 2, rel=1e-6)


def test_radam_decays_weights_apart_from_the_slope():
    network = _line(2.0)
    optimiser = build_optimiser(network, OptimOptions(name="radam", rate=0.1, weight_decay=0.5))
    set_rate(optimiser, 0.1)
    network.weight.grad = torch.zeros_like(network.weight)
    optimiser.step()
    assert network.weight.item() == pytest.approx(2 * (1 - 0.1 * 0.5))


@pytest.mark.parametrize("name", NAMES)
def test_every_optimiser_goes_down(name):
    network = _line()
    found = _walk(build_optimiser(network, OptimOptions(name=name, weight_decay=0.0)), network, 60, 0.05)
    assert abs(found[-1]) < 0.7
