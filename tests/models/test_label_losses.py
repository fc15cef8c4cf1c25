"""Losses of labels against independent references, and what nobody said against everything."""

import math

import pytest
import torch
from timm.loss import AsymmetricLossMultiLabel
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from malpighi.models.classify import LabelLossOptions
from malpighi.models.label_losses import build_label_loss, class_weights
from malpighi.models.outputs import Outputs

NAMES = ["bce", "focal", "asymmetric", "ce"]
NAN = float("nan")


def outputs(scores, deep=()) -> Outputs:
    return Outputs(torch.zeros(len(scores), scores.shape[1], 1, 1), deep=deep, image_logits=scores)


def drawn(rows=6, classes=4):
    generator = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn(rows, classes, generator=generator)
    return scores, (torch.rand(rows, classes, generator=generator) > 0.5).float()


def loss(name, scores, target, weights=None, **options):
    return build_label_loss(LabelLossOptions(name, **options), weights)(outputs(scores), target)


def test_bce_is_torchs():
    scores, target = drawn()
    torch.testing.assert_close(loss("bce", scores, target), functional.binary_cross_entropy_with_logits(scores, target))


def test_focal_is_torchvisions():
    scores, target = drawn()
    expected = sigmoid_focal_loss(scores, target, alpha=-1, gamma=1.5, reduction="mean")
    torch.testing.assert_close(loss("focal", scores, target, gamma=1.5), expected)


def test_asymmetric_is_timms():
    scores, target = drawn()
    expected = AsymmetricLossMultiLabel(gamma_neg=3, gamma_pos=0, clip=0.05, reduction="mean")(scores, target)
    torch.testing.assert_close(loss("asymmetric", scores, target, gamma=3), expected, rtol=1e-5, atol=1e-6)


def test_ce_is_torchs_of_one_label_with_weights():
    scores, _ = drawn()
    label, weights = torch.tensor([0, 1, 2, 3, 3, 0]), [1.0, 2.0, 0.5, 3.0]
    target = functional.one_hot(label, 4).float()
    expected = functional.cross_entropy(scores, label, weight=torch.tensor(weights))
    torch.testing.assert_close(loss("ce", scores, target, weights), expected)
    smooth = functional.cross_entropy(scores, label, label_smoothing=0.2)
    torch.testing.assert_close(loss("ce", scores, target, smoothing=0.2), smooth)


def test_ce_of_several_labels_shares_the_softmax():
    """Three classes with equal scores: whatever the labels are, each costs log 3."""
    target = torch.tensor([[1.0, 1.0, 0.0]])
    assert loss("ce", torch.zeros(1, 3), target).item() == pytest.approx(math.log(3))
    scores = torch.tensor([[2.0, 2.0, -30.0]])  # both labels at a half: nothing better can be said
    assert loss("ce", scores, target).item() == pytest.approx(math.log(2))


def test_ce_leaves_out_classes_of_which_nobody_said():
    scores, target = torch.tensor([[1.0, 5.0, 0.0]]), torch.tensor([[1.0, NAN, 0.0]])
    assert loss("ce", scores, target).item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_smoothing_moves_labels_towards_a_half():
    """Probability 1/4 of a present label that is smoothed to 0.9."""
    scores = torch.tensor([[math.log(1 / 3)]])
    expected = -0.9 * math.log(0.25) - 0.1 * math.log(0.75)
    assert loss("bce", scores, torch.ones(1, 1), smoothing=0.2).item() == pytest.approx(expected)


def test_weights_are_shares():
    scores, target = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    alone = [loss("bce", scores[:, c : c + 1], target[:, c : c + 1]).item() for c in (0, 1)]
    assert loss("bce", scores, target, [3.0, 1.0]).item() == pytest.approx((3 * alone[0] + alone[1]) / 4)


@pytest.mark.parametrize("name", NAMES)
def test_what_nobody_said_counts_nowhere(name):
    scores, target = drawn()
    target = functional.one_hot(target.argmax(1), 4).float()
    unknown = target.clone()
    unknown[2:4] = NAN
    expected = loss(name, torch.cat([scores[:2], scores[4:]]), torch.cat([target[:2], target[4:]]))
    torch.testing.assert_close(loss(name, scores, unknown), expected)

    scores.requires_grad_()
    loss(name, scores, unknown).backward()
    assert scores.grad[2:4].eq(0).all()
    assert scores.grad.isfinite().all()
    assert scores.grad[:2].ne(0).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_which_nobody_said_anything_costs_nothing(name):
    scores = torch.randn(3, 4, requires_grad=True)
    total = loss(name, scores, torch.full((3, 4), NAN), [1.0, 2.0, 3.0, 4.0])
    total.backward()
    assert total.item() == 0
    assert scores.grad.eq(0).all()


def test_ce_leaves_out_images_without_a_label():
    scores, target = drawn(3)
    target[1] = 0
    torch.testing.assert_close(loss("ce", scores, target), loss("ce", scores[[0, 2]], target[[0, 2]]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_extreme_scores_have_finite_costs_and_gradients(name, gamma):
    scores = torch.tensor([[300.0, -300.0, 300.0, -300.0]], requires_grad=True)
    total = loss(name, scores, torch.tensor([[1.0, 1.0, 0.0, 0.0]]), gamma=gamma)
    total.backward()
    assert total.isfinite()
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_right_costs_less_than_wrong_in_half_precision_too(name):
    target = torch.tensor([[1.0, 0.0, 0.0]])
    right = torch.tensor([[4.0, -4.0, -4.0]], dtype=torch.bfloat16)
    good, bad = loss(name, right, target), loss(name, -right, target)
    assert good.dtype == torch.float32
    assert good < bad / 10


def test_scores_of_several_views_are_taught_the_same():
    scores, target = drawn()
    twice = build_label_loss(LabelLossOptions())(outputs(torch.cat([scores, -scores])), target)
    each = [loss("bce", s, target) for s in (scores, -scores)]
    torch.testing.assert_close(twice, (each[0] + each[1]) / 2)


def test_maps_that_differ_cost_by_their_probabilities():
    scores, target = drawn(1, 2)
    a = torch.tensor([[[[0.0, 0.0]], [[0.0, 0.0]]]])  # probability 1/2 everywhere
    b = torch.tensor([[[[0.0, math.log(3)]], [[0.0, 0.0]]]])  # 3/4 at one of four
    plain = loss("bce", scores, target)
    apart = build_label_loss(LabelLossOptions(), None, 2.0)(outputs(scores, (a, b)), target)
    assert (apart - plain).item() == pytest.approx(2 * 0.25 / 4)
    share = build_label_loss(LabelLossOptions("ce"), None, 1.0)(outputs(scores, (a, b)), target)
    expected = 2 * 0.25 / 4  # a softmax of two: one class gains 1/4, the other loses it
    assert (share - loss("ce", scores, target)).item() == pytest.approx(expected)
    unknown = build_label_loss(LabelLossOptions(), None, 1.0)(outputs(scores, (a, b)), torch.full((1, 2), NAN))
    assert unknown.item() == pytest.approx(0.25 / 4)


def test_targets_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\) for scores of shape \(2, 4\)"):
        loss("bce", torch.zeros(2, 4), torch.zeros(2, 3))


def test_rare_labels_weigh_by_the_root():
    assert class_weights([100, 25]) == pytest.approx(((62.5 / 100) ** 0.5, 2 * (62.5 / 100) ** 0.5))
    assert class_weights([7, 7, 0]) == (1, 1, 1)
    assert class_weights([0, 0]) == (1, 1)
