"""What a network says of tiles as wholes: is a class in it, an attribute, the size of a pixel."""

import math

import pytest
import torch
import torch.nn.functional as F

from malpighi.models.loss_heads import tile_loss, tile_target, told_loss
from malpighi.models.losses import UNLABELLED, LossOptions, build_loss
from malpighi.models.outputs import Outputs


def _tiles():
    """Four tiles of two classes: filled, empty, empty as far as anybody said, filled as far as anybody said."""
    target = torch.zeros(4, 2, 3, 3, dtype=torch.uint8)
    target[0, :, 1, 1] = target[3, :, 0, 0] = 1
    target[2:, :, 2] = UNLABELLED
    return target


def test_a_tile_is_known_when_something_is_there_or_all_is_labelled():
    known, wanted = tile_target(_tiles())
    assert known[:, 0].tolist() == [1, 1, 0, 1]
    assert wanted[:, 0].tolist() == [1, 0, 0, 1]
    soft = _tiles().float().masked_fill(_tiles() == UNLABELLED, math.nan) * 0.4
    known, wanted = tile_target(soft)
    assert known[:, 1].tolist() == [1, 1, 0, 0]  # less than a half is not enough for a tile with gaps
    assert wanted[:, 1].tolist() == pytest.approx([0.4, 0, 0, 0.4])


def test_tile_loss_by_hand():
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.0], [9.0, 9.0], [-3.0, 1.0]], requires_grad=True)
    wanted = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    expected = F.binary_cross_entropy_with_logits(logits[[0, 1, 3]], wanted)
    loss = tile_loss(logits, _tiles())
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.all(logits.grad[2] == 0)


def test_told_loss_by_hand():
    said = {
        "tile": torch.zeros(3, 2),
        "organ": torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0], [3.0, 0.0, 1.0]]),
        "pixel_size": torch.tensor([[0.5], [1.0], [9.0]]),
    }
    facts = {"organ": torch.tensor([1, 2, -1]), "pixel_size": torch.tensor([0.0, 2.0, math.nan])}
    entropy = -(torch.tensor([1.0, 2.0, 0.0]).log_softmax(0)[1].item() + math.log(1 / 3)) / 2
    assert told_loss(said, facts).item() == pytest.approx(entropy + (0.25 + 1) / 2, rel=1e-6)


def test_facts_that_nobody_knows_cost_nothing():
    said = {"organ": torch.randn(2, 3, requires_grad=True)}
    loss = told_loss(said, {"organ": torch.tensor([-1, -1])})
    loss.backward()
    assert loss.item() == 0
    assert torch.all(said["organ"].grad == 0)


@pytest.mark.parametrize("facts", [None, {}, {"pixel_size": torch.zeros(2)}])
def test_a_head_without_a_fact_is_an_error(facts):
    with pytest.raises(ValueError, match=r"tells organ, .* leave it out of model\.tells"):
        told_loss({"organ": torch.zeros(2, 3)}, facts)


def test_heads_are_added_with_their_weights():
    torch.manual_seed(0)
    logits, target = torch.randn(4, 2, 3, 3), _tiles()
    told = {"tile": torch.randn(4, 2), "organ": torch.randn(4, 3)}
    facts = {"organ": torch.tensor([0, 1, -1, 2])}
    options = LossOptions("bce", tile_weight=0.3, tells_weight=0.2)
    expected = (
        build_loss(options)(Outputs(logits), target) + 0.3 * tile_loss(told["tile"], target) + 0.2 * told_loss(told, facts)
    )
    assert build_loss(options)(Outputs(logits, told=told), target, facts).item() == pytest.approx(expected.item(), rel=1e-6)
