"""Lovász losses by hand, by the authors' formula in NumPy, by brute force over sorted errors, and beside smp."""

import itertools

import numpy as np
import pytest
import torch

from malpighi.models.loss_lovasz import lovasz_hinge, lovasz_softmax, prices
from malpighi.models.losses import UNLABELLED, LossOptions, build_loss
from malpighi.models.outputs import Outputs

HINGE = [(2, 3, 8, 8), (2, 2, 3, 6, 6)]


def _pair(shape, seed=1):
    torch.manual_seed(seed)
    return torch.randn(shape), torch.randint(0, 2, shape, dtype=torch.uint8)


def _authors(errors, there):
    """Σ of sorted errors × differences of the Jaccard loss: algorithm 1 of the paper, as its authors' NumPy reads."""
    order = np.argsort(-errors, kind="stable")
    errors, there = errors[order], there[order].astype(float)
    jaccard = 1 - (there.sum() - there.cumsum()) / (there.sum() + (1 - there).cumsum())
    jaccard[1:] -= jaccard[:-1].copy()
    return float((np.maximum(errors, 0) * jaccard).sum())


def _brute(errors, there):
    """The definition: the integral over levels of the Jaccard loss of all voxels whose error is above the level."""

    def loss(wrong):
        found = np.where(wrong, ~there, there)
        either = (found | there).sum()
        return 1 - (found & there).sum() / either if either else 0.0

    levels = np.concatenate([[0.0], np.sort(np.maximum(errors, 0))])
    return sum((high - low) * loss(errors > low) for low, high in itertools.pairwise(levels))


def test_hinge_by_hand():
    # two voxels, both wrong by 1.5 and .5: the first is the class (all of it), the second is not
    logits = torch.tensor([[[[-0.5, -0.5]]]])
    target = torch.tensor([[[[1, 0]]]], dtype=torch.uint8)
    # errors 1.5 (class) and .5: Jaccard losses 1 - 0/1 = 1, then 1 - 0/2 = 1: prices 1 and 0
    assert lovasz_hinge(logits, target).item() == pytest.approx(1.5)
    # the other way about: error 2 where it is not: 1 - 1/2, then all: prices .5 and .5
    logits = torch.tensor([[[[0.0, 1.0]]]])
    assert lovasz_hinge(logits, target).item() == pytest.approx(0.5 * 2 + 0.5 * 1)


def test_hinge_of_three_voxels_by_hand():
    # class, class, rest with errors 1, 3, 2. In order 3 (class), 2 (rest), 1 (class): losses 1 - 1/2, 1 - 1/3, 1 - 0/3
    logits = torch.tensor([[[[0.0, -2.0, 1.0]]]])
    target = torch.tensor([[[[1, 1, 0]]]], dtype=torch.uint8)
    assert lovasz_hinge(logits, target).item() == pytest.approx(3 / 2 + 2 * (2 / 3 - 1 / 2) + 1 / 3)


def test_of_a_class_that_is_nowhere_the_worst_voxel_counts():
    logits = torch.tensor([[[[-0.5, 2.0, -3.0]]]], requires_grad=True)
    loss = lovasz_hinge(logits, torch.zeros(1, 1, 1, 3, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == pytest.approx(3.0)
    assert logits.grad.flatten().tolist() == [0, 1, 0]


@pytest.mark.parametrize("shape", HINGE, ids=str)
@pytest.mark.parametrize("reference", [_authors, _brute])
def test_hinge_equals_references(shape, reference):
    logits, target = _pair(shape)
    target[0, 0, ..., :2] = UNLABELLED
    expected = []
    for k in range(shape[1]):
        known = (target[:, k] != UNLABELLED).numpy()
        there, z = (target[:, k] == 1).numpy()[known], logits[:, k].double().numpy()[known]
        expected.append(reference(1 - z * (2 * there - 1.0), there))
    assert lovasz_hinge(logits, target).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_hinge_equals_smp():
    import segmentation_models_pytorch as smp

    logits, target = _pair((3, 1, 8, 8))
    reference = smp.losses.LovaszLoss("binary", per_image=False)(logits, target.float())
    assert lovasz_hinge(logits, target).item() == pytest.approx(reference.item(), rel=1e-5)


def test_hinge_by_tile_equals_smp_and_leaves_out_tiles_without_labels():
    import segmentation_models_pytorch as smp

    logits, target = _pair((4, 1, 8, 8))
    target[1] = 0
    reference = smp.losses.LovaszLoss("binary", per_image=True)(logits, target.float()).item()
    assert lovasz_hinge(logits, target, by_tile=True).item() == pytest.approx(reference, rel=1e-5)
    more = torch.cat([logits, 9 * logits[:1]]), torch.cat([target, torch.full_like(target[:1], UNLABELLED)])
    assert lovasz_hinge(*more, by_tile=True).item() == pytest.approx(reference, rel=1e-5)
    made = build_loss(LossOptions("lovasz", lovasz_by_tile=True))
    assert made(Outputs(logits), target).item() == pytest.approx(reference, rel=1e-5)


def test_hinge_by_tile_weighs_classes():
    logits, target = _pair((3, 2, 5, 5))
    first, last = (lovasz_hinge(logits[:, k : k + 1], target[:, k : k + 1], by_tile=True).item() for k in (0, 1))
    found = lovasz_hinge(logits, target, by_tile=True, weights=torch.tensor([1.0, 3.0])).item()
    assert found == pytest.approx((first + 3 * last) / 4, rel=1e-5)


def test_soft_targets_are_the_class_from_a_half_on():
    logits, target = _pair((2, 2, 6, 6))
    soft = torch.where(target == 1, 0.5, 0.49)
    assert lovasz_hinge(logits, soft).item() == lovasz_hinge(logits, target).item()


def test_prices_of_many_voxels_keep_all_digits_of_float32():
    """Which is all that some devices have: Apple's know no float64."""
    there = torch.rand(300_000, generator=torch.Generator().manual_seed(0)) > 0.6
    found = prices(there, there.sum())
    assert found.dtype == torch.float32
    found = found.double().numpy()
    wrong, total = np.cumsum(there.numpy()), there.sum().item()
    losses = 1 - (total - wrong) / (total + np.arange(1, len(there) + 1) - wrong)  # float64
    assert found.sum() == pytest.approx(1, abs=1e-7)
    np.testing.assert_allclose(found[1:], np.diff(losses), rtol=3e-7, atol=1e-15)


def _labels(shape, classes, seed=2):
    torch.manual_seed(seed)
    logits = torch.randn(shape[0], classes, *shape[1:])
    number = torch.randint(0, classes + 1, shape)
    return logits, number, torch.stack([number == k for k in range(1, classes + 1)], 1).byte()


@pytest.mark.parametrize("reference", [_authors, _brute])
@pytest.mark.parametrize("classes", [1, 3])
def test_softmax_equals_references(classes, reference):
    logits, number, target = _labels((2, 6, 7), classes)
    p = torch.cat([torch.zeros(2, 1, 6, 7), logits], 1).double().softmax(1).numpy()
    number = number.numpy()
    each = [reference(np.abs((number == k) - p[:, k]).ravel(), (number == k).ravel()) for k in range(classes + 1)]
    assert lovasz_softmax(logits, target).item() == pytest.approx(np.mean(each), rel=1e-5)


def test_softmax_equals_smp_and_leaves_out_absent_classes():
    import segmentation_models_pytorch as smp

    logits, number, target = _labels((2, 6, 6), 3)
    number[number == 2] = 0
    target[:, 1] = 0
    whole = torch.cat([torch.zeros(2, 1, 6, 6), logits], 1)
    reference = smp.losses.LovaszLoss("multiclass", per_image=False, from_logits=True)(whole, number)
    assert lovasz_softmax(logits, target).item() == pytest.approx(reference.item(), rel=1e-5)


def test_softmax_leaves_out_voxels_that_may_be_an_unlabelled_class():
    logits, number, target = _labels((1, 6, 6), 2)
    partial = target.clone()
    partial[:, 1, 3:] = UNLABELLED  # there only the voxels of the first class are sure
    sure = (number == 1) | (torch.arange(6) < 3)[:, None]
    expected = lovasz_softmax(logits[..., sure[0]][..., None], target[..., sure[0]][..., None])
    assert lovasz_softmax(logits, partial).item() == pytest.approx(expected.item(), rel=1e-6)


def test_softmax_weighs_classes_and_background():
    logits, number, target = _labels((2, 6, 6), 2)
    p = torch.cat([torch.zeros(2, 1, 6, 6), logits], 1).double().softmax(1).numpy()
    number = number.numpy()
    each = np.array([_authors(np.abs((number == k) - p[:, k]).ravel(), (number == k).ravel()) for k in range(3)])
    for given, weights in (((2.0, 3.0), (1, 2, 3)), ((0.5, 2.0, 3.0), (0.5, 2, 3))):
        found = lovasz_softmax(logits, target, torch.tensor(given)).item()
        assert found == pytest.approx(np.average(each, weights=weights), rel=1e-5)
