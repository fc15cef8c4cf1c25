"""Losses against hand-computed cases and independent references."""

import math

import pytest
import torch

from malpighi.annotations.base import UNLABELLED as ANNOTATION_UNLABELLED
from malpighi.models.losses import UNLABELLED, LossOptions, build_loss, cross_entropy, soft_dice
from malpighi.models.outputs import Outputs


def test_unlabelled_is_the_annotations_number():
    assert UNLABELLED == ANNOTATION_UNLABELLED


def test_cross_entropy_of_zero_logits_is_log_two():
    assert cross_entropy(
        torch.zeros(1, 1, 2, 2), torch.tensor([[[[0, 1], [1, 0]]]], dtype=torch.uint8)
    ).item() == pytest.approx(math.log(2))


def test_cross_entropy_equals_torch_where_all_is_labelled():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 5, 4), torch.randint(0, 2, (2, 3, 5, 4), dtype=torch.uint8)
    reference = torch.nn.functional.binary_cross_entropy_with_logits(logits, target.float())
    assert cross_entropy(logits, target).item() == pytest.approx(reference.item(), rel=1e-6)


def test_dice_by_hand():
    # probabilities .5 everywhere, one of four voxels is the class: 2·.5 / (2 + 1) with no smoothing
    target = torch.tensor([[[[1, 0], [0, 0]]]], dtype=torch.uint8)
    assert soft_dice(torch.zeros(1, 1, 2, 2), target, smooth=0.0).item() == pytest.approx(1 - 1 / 3)


def test_dice_equals_smp_where_all_is_labelled():
    import segmentation_models_pytorch as smp

    torch.manual_seed(1)
    logits, target = torch.randn(3, 2, 8, 8), torch.randint(0, 2, (3, 2, 8, 8), dtype=torch.uint8)
    reference = smp.losses.DiceLoss(mode="multilabel", smooth=0.0)(logits, target)
    assert soft_dice(logits, target, smooth=0.0).item() == pytest.approx(reference.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["bce", "dice", "bce+dice"])
def test_unlabelled_voxels_change_neither_loss_nor_gradient(name):
    torch.manual_seed(2)
    loss = build_loss(LossOptions(name=name))
    target = torch.randint(0, 2, (2, 2, 4, 4), dtype=torch.uint8)
    target[:, 1] = UNLABELLED  # one class nobody spoke of
    target[0, 0, :2] = UNLABELLED
    logits = torch.randn(2, 2, 4, 4, requires_grad=True)
    value = loss(Outputs(logits), target)
    value.backward()
    assert torch.all(logits.grad[target == UNLABELLED] == 0)
    assert torch.any(logits.grad != 0)
    changed = logits.detach().clone()
    changed[target == UNLABELLED] = 50
    assert loss(Outputs(changed), target).item() == pytest.approx(value.item())


@pytest.mark.parametrize("name", ["bce", "dice", "bce+dice"])
def test_nothing_labelled_is_zero_not_nan(name):
    logits = torch.randn(1, 1, 4, 4, requires_grad=True)
    value = build_loss(LossOptions(name=name))(Outputs(logits), torch.full((1, 1, 4, 4), UNLABELLED, dtype=torch.uint8))
    value.backward()
    assert value.item() == 0
    assert torch.all(logits.grad == 0)


@pytest.mark.parametrize("name", ["bce", "dice", "bce+dice"])
def test_right_answers_cost_less_than_wrong_ones(name):
    loss = build_loss(LossOptions(name=name))
    target = torch.tensor([[[[1, 0], [0, 1]]]], dtype=torch.uint8)
    right = (target.float() * 2 - 1) * 10
    assert loss(Outputs(right), target) < 0.4 < loss(Outputs(-right), target)


def test_three_dimensional_targets_work():
    target = torch.zeros(1, 1, 3, 4, 5, dtype=torch.uint8)
    target[..., 1, 1, 1] = 1
    assert 0 < build_loss(LossOptions())(Outputs(torch.zeros(1, 1, 3, 4, 5)), target).item() < 3
