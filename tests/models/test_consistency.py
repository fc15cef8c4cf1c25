"""Consistency of maps, on a classifier whose maps are known: the means of blocks of the image."""

import copy

import pytest
import torch
from torch import nn

from malpighi.models.classifier import Classifier, build_classifier
from malpighi.models.classify import ClassifierOptions

SIDE = 32


class Means(nn.Module):
    """An encoder whose features are the channels' means of blocks of 32; with `context`, less the image's own mean."""

    def __init__(self, context: bool = False) -> None:
        super().__init__()
        self.context = context

    def forward(self, x):
        means = nn.functional.avg_pool2d(x, SIDE)
        return means - x.mean((2, 3), keepdim=True) if self.context else means


def known(consistency: str, context: bool = False) -> Classifier:
    """A classifier whose class maps are the blocks' means of the two channels."""
    network = Classifier(Means(context), 2, 2, 2, ClassifierOptions(consistency=consistency)).train()
    nn.init.zeros_(network.head.bias)
    network.head.weight.data = torch.eye(2)[:, :, None, None]
    return network


def blocks(*values) -> torch.Tensor:
    """Images (batch, 2, y, x) of blocks that have these values."""
    return torch.tensor(values).repeat_interleave(SIDE, -1).repeat_interleave(SIDE, -2).float()


def test_puzzle_joins_the_parts_in_their_places():
    x = blocks(torch.arange(32).reshape(2, 4, 4).tolist())
    whole, joined = known("puzzle")(x).deep
    torch.testing.assert_close(joined, whole)
    torch.testing.assert_close(whole[0, 0], torch.arange(16.0).reshape(4, 4))


def test_puzzle_sees_parts_without_their_surroundings():
    x = blocks([[[0, 1], [2, 5]], [[0, 0], [0, 0]]])
    outputs = known("puzzle", context=True)(x)
    assert outputs.deep[0][0, 0].tolist() == [[-2, -1], [0, 3]]
    assert outputs.deep[1][0, 0].tolist() == [[0, 0], [0, 0]]


def test_puzzle_teaches_both_scores():
    x = torch.cat([blocks([[[0, 1], [2, 5]], [[0, 0], [0, 4]]]), blocks([[[8, 8], [8, 8]], [[1, 1], [1, 1]]])])
    assert known("puzzle")(x).image_logits.tolist() == [[2, 1], [8, 1], [2, 1], [8, 1]]


@pytest.mark.parametrize("sides", [(32, 32), (96, 64), (50, 200)])
def test_puzzle_of_sides_that_have_no_half(sides):
    network = known("puzzle")
    x = torch.rand(1, 2, *sides)
    outputs = network(x)
    assert outputs.deep[0].shape == outputs.deep[1].shape
    torch.testing.assert_close(outputs.image_logits[:1], network.eval()(x).image_logits)


def test_cutmix_of_maps_is_the_map_of_the_mix():
    torch.manual_seed(0)
    network = known("cutmix")
    x = blocks(*(torch.full((2, 4, 4), value).tolist() for value in (1, 2, 3)))
    for _ in range(20):
        outputs = network(x)
        mixed, taught = outputs.deep
        torch.testing.assert_close(mixed, taught)
        for image in range(3):
            assert 1 <= (mixed[image, 0] != image + 1).sum() <= 15  # something is pasted, and never all
        assert outputs.image_logits.tolist() == [[1, 1], [2, 2], [3, 3]]


def test_cutmix_teaches_the_mixed_map_alone():
    torch.manual_seed(0)
    network = known("cutmix", context=True)
    mixed, taught = network(torch.rand(2, 2, 64, 64)).deep
    assert mixed.requires_grad
    assert not taught.requires_grad
    assert not torch.allclose(mixed, taught)


def test_cutmix_of_one_image_is_plain():
    assert known("cutmix")(torch.rand(1, 2, 64, 64)).deep == ()


@pytest.mark.parametrize("kind", ["puzzle", "cutmix"])
def test_evaluation_and_weights_are_the_plain_networks(kind):
    plain = build_classifier(ClassifierOptions("resnet10t", "never"), 2, 2).eval()
    other = build_classifier(ClassifierOptions("resnet10t", "never", consistency=kind), 2, 2).eval()
    other.load_state_dict(plain.state_dict())
    x = torch.rand(2, 2, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(copy.deepcopy(other)(x).image_logits, plain(x).image_logits)
    assert other(x).deep == ()


def test_chance_is_torchs_own():
    network, x = known("cutmix", context=True), torch.rand(4, 2, 128, 128)
    state = torch.get_rng_state()
    first = [network(x).deep[0] for _ in range(3)]
    torch.set_rng_state(state)
    for before in first:
        assert torch.equal(network(x).deep[0], before)
    assert not torch.equal(first[0], first[1])
