"""Cross-entropy of exclusive classes: by hand where labels are partial, beside torch and smp where they are whole."""

import math

import pytest
import torch
import torch.nn.functional as F

from malpighi.models.loss_exclusive import exclusive_cross_entropy, exclusive_shares
from malpighi.models.losses import UNLABELLED

NAN = math.nan


def _labels(shape, classes, seed=2):
    torch.manual_seed(seed)
    logits = torch.randn(shape[0], classes, *shape[1:])
    number = torch.randint(0, classes + 1, shape)
    return logits, number, torch.stack([number == k for k in range(1, classes + 1)], 1).byte()


def _whole(logits):
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)


def _voxel(*values):
    return torch.tensor(values).reshape(1, -1, 1, 1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(2, 5, 6), (2, 3, 4, 5)])
def test_whole_labels_equal_torch(shape, smoothing):
    logits, number, target = _labels(shape, 3)
    reference = F.cross_entropy(_whole(logits), number, label_smoothing=smoothing)
    assert exclusive_cross_entropy(logits, target, smoothing).item() == pytest.approx(reference.item(), rel=1e-5)


def test_whole_labels_equal_smp():
    import segmentation_models_pytorch as smp

    logits, number, target = _labels((2, 5, 6), 3)
    reference = smp.losses.SoftCrossEntropyLoss(smooth_factor=0.1)(_whole(logits), number)
    assert exclusive_cross_entropy(logits, target, 0.1).item() == pytest.approx(reference.item(), rel=1e-5)


@pytest.mark.parametrize(("given", "weights"), [((2.0, 0.5), (1.0, 2.0, 0.5)), ((0.3, 2.0, 0.5), (0.3, 2.0, 0.5))])
def test_weighted_labels_equal_torch(given, weights):
    logits, number, target = _labels((2, 5, 6), 2)
    reference = F.cross_entropy(_whole(logits), number, torch.tensor(weights))
    found = exclusive_cross_entropy(logits, target, weights=torch.tensor(given))
    assert found.item() == pytest.approx(reference.item(), rel=1e-5)


def test_soft_labels_equal_torch():
    logits, _, _ = _labels((2, 5, 6), 3)
    target = torch.rand(2, 3, 5, 6)
    target = target / target.sum(1, keepdim=True) * torch.rand(2, 1, 5, 6)
    whole = torch.cat([1 - target.sum(1, keepdim=True), target], 1)
    reference = F.cross_entropy(_whole(logits), whole)
    assert exclusive_cross_entropy(logits, target).item() == pytest.approx(reference.item(), rel=1e-5)


def test_one_class_is_binary_cross_entropy():
    logits, _, target = _labels((2, 5, 6), 1)
    for smoothing in (0.0, 0.2):
        smooth = target.float() * (1 - smoothing) + smoothing / 2
        reference = F.binary_cross_entropy_with_logits(logits, smooth)
        assert exclusive_cross_entropy(logits, target, smoothing).item() == pytest.approx(reference.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("target", "chance"),
    [
        ((0, 0), 1 / 6),  # background alone is left
        ((1, 0), 2 / 6),
        ((0, UNLABELLED), 4 / 6),  # background or the second class
        ((UNLABELLED, 0), 3 / 6),
        ((1, UNLABELLED), 2 / 6),  # the first class is there, so the second is not
        ((UNLABELLED, 1), 3 / 6),
        ((1, 1), 3 / 6),  # the later class lies on top
    ],
)
def test_partial_labels_cost_the_chance_of_all_that_they_allow(target, chance):
    logits = _voxel(math.log(2.0), math.log(3.0))  # chances 1/6, 2/6, 3/6
    found = exclusive_cross_entropy(logits, _voxel(*target).byte())
    assert found.item() == pytest.approx(-math.log(chance), rel=1e-6)
    soft = [NAN if t == UNLABELLED else float(t) for t in target]
    assert exclusive_cross_entropy(logits, _voxel(*soft)).item() == pytest.approx(-math.log(chance), rel=1e-6)


def test_partial_soft_labels_by_hand():
    logits = _voxel(math.log(2.0), math.log(3.0))
    # the first class with .4, the rest is background or the second
    expected = -0.4 * math.log(2 / 6) - 0.6 * math.log(4 / 6)
    assert exclusive_cross_entropy(logits, _voxel(0.4, NAN)).item() == pytest.approx(expected, rel=1e-6)
    smooth = -(0.9 * 0.4 + 0.1 / 3) * math.log(2 / 6) - (0.9 * 0.6 + 0.2 / 3) * math.log(4 / 6)
    assert exclusive_cross_entropy(logits, _voxel(0.4, NAN), 0.1).item() == pytest.approx(smooth, rel=1e-6)


def test_unlabelled_voxels_are_not_in_the_mean():
    logits, _, target = _labels((1, 4, 6), 2)
    target[..., 3:] = UNLABELLED
    half = exclusive_cross_entropy(logits[..., :3], target[..., :3])
    assert exclusive_cross_entropy(logits, target).item() == pytest.approx(half.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("wanted", "shares"),
    [
        ((1.0, 1.0, 0.0), (0.0, 1.0, 0.0)),
        ((1.0, 1.0, 1.0), (0.0, 0.0, 1.0)),
        ((0.25, 0.5, 0.0), (0.25, 0.5, 0.0)),
        ((0.75, 0.5, 0.25), (0.25, 0.5, 0.25)),
    ],
)
def test_shares_of_classes_that_overlap(wanted, shares):
    assert exclusive_shares(_voxel(*wanted)).flatten().tolist() == list(shares)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_slope_equals_finite_differences(smoothing):
    logits, _, target = _labels((1, 3, 4), 2)
    target[0, 1, 0] = target[0, 0, 1] = target[0, :, 2] = UNLABELLED
    logits = logits.double().requires_grad_()
    weights = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
    found = lambda x: exclusive_cross_entropy(x, target, smoothing, weights)  # noqa: E731
    assert torch.autograd.gradcheck(found, (logits,), eps=1e-7, atol=1e-6)
