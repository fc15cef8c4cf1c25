"""Each loss by hand, against an independent reference, and its slope against finite differences."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch

from malpighi.models.loss_lovasz import lovasz_hinge, lovasz_softmax
from malpighi.models.loss_regions import boundary_dou, jaccard, soft_dice, tversky
from malpighi.models.loss_skeletons import cl_dice, soft_skeleton
from malpighi.models.loss_surfaces import boundary, signed_distance, surface, surface_areas
from malpighi.models.loss_voxels import cross_entropy, edge_cross_entropy, edges, focal, known_and_wanted
from malpighi.models.losses import UNLABELLED

SHAPES = [(2, 3, 8, 8), (2, 2, 5, 6, 6)]


def _pair(shape, seed=1):
    torch.manual_seed(seed)
    return torch.randn(shape), torch.randint(0, 2, shape, dtype=torch.uint8)


def _line(*shape):
    target = torch.zeros(1, 1, *shape, dtype=torch.uint8)
    target[..., shape[-2] // 2, :] = 1
    return target


# voxels


def test_cross_entropy_of_zero_logits_is_log_two():
    target = torch.tensor([[[[0, 1], [1, 0]]]], dtype=torch.uint8)
    assert cross_entropy(torch.zeros(1, 1, 2, 2), target).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy_equals_torch(shape):
    logits, target = _pair(shape)
    reference = torch.nn.functional.binary_cross_entropy_with_logits(logits, target.float())
    assert cross_entropy(logits, target).item() == pytest.approx(reference.item(), rel=1e-6)


@pytest.mark.parametrize("soft", [False, True])
def test_known_and_wanted_by_hand(soft):
    target = torch.tensor([0, 1, UNLABELLED], dtype=torch.uint8)
    target = torch.tensor([0.0, 0.7, math.nan]) if soft else target
    known, wanted = known_and_wanted(torch.zeros(1, dtype=torch.float64), target)
    assert (known.tolist(), wanted.tolist()) == ([1, 1, 0], [0, pytest.approx(0.7 if soft else 1.0), 0])
    assert known.dtype == wanted.dtype == torch.float64


@pytest.mark.parametrize("term", [cross_entropy, focal], ids=lambda term: term.__name__)
def test_losses_of_soft_targets_are_expected_ones(term):
    logits, target = torch.randn(2, 1, 4, 4), torch.full((2, 1, 4, 4), 0.3)
    there, not_there = (term(logits, torch.full_like(target, side)).item() for side in (1.0, 0.0))
    assert term(logits, target).item() == pytest.approx(0.3 * there + 0.7 * not_there, rel=1e-6)


def test_smoothed_cross_entropy_equals_smp():
    import segmentation_models_pytorch as smp

    logits, target = _pair((2, 1, 6, 6))
    reference = smp.losses.SoftBCEWithLogitsLoss(smooth_factor=0.1)(logits, target.float())
    assert cross_entropy(logits, target, smoothing=0.2).item() == pytest.approx(reference.item(), rel=1e-6)


@pytest.mark.parametrize("term", [boundary, surface, lovasz_hinge, lovasz_softmax, cl_dice], ids=lambda t: t.__name__)
def test_of_soft_targets_surfaces_and_ranks_see_the_likelier_side(term):
    logits, target = _pair((1, 1, 6, 6))
    soft = torch.where(target == 1, 0.5, 0.4)
    assert term(logits, soft).item() == term(logits, target).item()


def test_edges_by_hand():
    wanted = torch.tensor([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1], [0, 0, 0, 0]]).float()[None, None]
    expected = torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]]).float()
    torch.testing.assert_close(edges(torch.ones_like(wanted), wanted)[0, 0], expected)
    known = torch.ones_like(wanted)
    known[..., 0, :] = 0  # of the row above nobody spoke: no edge towards it
    expected[0] = 0
    torch.testing.assert_close(edges(known, wanted)[0, 0], expected)


@pytest.mark.parametrize("rank", [2, 3])
def test_edges_equal_morphology(rank):
    from scipy import ndimage

    wanted = np.random.default_rng(0).random((6,) * rank) > 0.5
    cross = ndimage.generate_binary_structure(rank, 1)
    expected = ndimage.binary_dilation(wanted, cross) & ~ndimage.binary_erosion(wanted, cross, border_value=1)
    found = edges(torch.ones(1, 1, *wanted.shape), torch.from_numpy(wanted).float()[None, None])
    np.testing.assert_array_equal(found[0, 0].numpy() > 0, expected)


def test_edge_cross_entropy_by_hand():
    target = _line(3, 4)  # one line, so every voxel is beside an edge
    plain = cross_entropy(torch.zeros(1, 1, 3, 4), target)
    assert edge_cross_entropy(torch.zeros(1, 1, 3, 4), target, 1.0).item() == pytest.approx(2 * plain.item())
    target = _line(5, 4)  # three of five rows are
    assert edge_cross_entropy(torch.zeros(1, 1, 5, 4), target, 1.0).item() == pytest.approx(1.6 * math.log(2))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (1.5, -1.0), (0.5, 0.7)])
def test_focal_equals_torchvision(shape, gamma, alpha):
    from torchvision.ops import sigmoid_focal_loss

    logits, target = _pair(shape)
    reference = sigmoid_focal_loss(logits, target.float(), alpha, gamma, "mean")
    assert focal(logits, target, gamma, alpha).item() == pytest.approx(reference.item(), rel=1e-5)


def test_focal_without_gamma_or_alpha_is_cross_entropy():
    logits, target = _pair((2, 1, 4, 4))
    assert focal(logits, target, 0.0, -1.0).item() == pytest.approx(cross_entropy(logits, target).item(), rel=1e-6)


# regions


def test_dice_by_hand():
    # probabilities .5 everywhere, one of four voxels is the class: 2·.5 / (2 + 1) with no smoothing
    target = torch.tensor([[[[1, 0], [0, 0]]]], dtype=torch.uint8)
    assert soft_dice(torch.zeros(1, 1, 2, 2), target, smooth=0.0).item() == pytest.approx(1 - 1 / 3)


def test_dice_equals_smp():
    import segmentation_models_pytorch as smp

    logits, target = _pair((3, 2, 8, 8))
    reference = smp.losses.DiceLoss(mode="multilabel", smooth=0.0)(logits, target)
    assert soft_dice(logits, target, smooth=0.0).item() == pytest.approx(reference.item(), rel=1e-5)


def test_jaccard_by_hand():
    target = torch.tensor([[[[1, 0], [0, 0]]]], dtype=torch.uint8)
    assert jaccard(torch.zeros(1, 1, 2, 2), target, smooth=0.0).item() == pytest.approx(1 - 0.5 / (2 + 1 - 0.5))


def test_jaccard_equals_smp():
    import segmentation_models_pytorch as smp

    logits, target = _pair((3, 2, 8, 8))
    reference = smp.losses.JaccardLoss(mode="multilabel", smooth=1.0)(logits, target)
    assert jaccard(logits, target).item() == pytest.approx(reference.item(), rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("prices", [(0.3, 0.7), (0.5, 0.5)])
def test_tversky_equals_monai(shape, prices):
    from monai.losses import TverskyLoss

    logits, target = _pair(shape)
    reference = TverskyLoss(sigmoid=True, alpha=prices[0], beta=prices[1], smooth_nr=1.0, smooth_dr=1.0, batch=True)
    assert tversky(logits, target, prices).item() == pytest.approx(reference(logits, target.float()).item(), rel=1e-5)


def test_tversky_of_equal_prices_is_dice():
    logits, target = _pair((2, 2, 8, 8))
    assert tversky(logits, target, (0.5, 0.5), smooth=0.5).item() == pytest.approx(soft_dice(logits, target, 1.0).item())


def test_focal_tversky_is_its_power():
    logits, target = _pair((2, 1, 8, 8))
    plain = tversky(logits, target)
    assert tversky(logits, target, power=0.75).item() == pytest.approx(plain.item() ** 0.75, rel=1e-6)


def test_boundary_dou_by_hand():
    # a 6×6 square in 10×10 has 20 of 36 voxels on its edge: α = 1 - 2·20/36; all p = .5
    target = torch.zeros(1, 1, 10, 10, dtype=torch.uint8)
    target[..., 2:8, 2:8] = 1
    alpha, squares, both = 1 - 40 / 36, 0.25 * 100 + 36, 0.5 * 36
    expected = (squares - 2 * both) / (squares - (1 + alpha) * both)
    assert boundary_dou(torch.zeros(1, 1, 10, 10), target).item() == pytest.approx(expected, rel=1e-5)


def test_boundary_dou_of_thick_objects_is_capped_and_of_lines_is_dice():
    logits, target = torch.zeros(1, 1, 100, 100), torch.zeros(1, 1, 100, 100, dtype=torch.uint8)
    target[..., 5:95, 5:95] = 1  # α = 1 - 2·356/8100 > .8
    squares, both = 0.25 * 1e4 + 8100, 4050.0
    assert boundary_dou(logits, target).item() == pytest.approx((squares - 2 * both) / (squares - 1.8 * both), rel=1e-5)
    line = _line(5, 6)
    squares, both = 0.25 * 30 + 6, 3.0
    assert boundary_dou(torch.zeros(1, 1, 5, 6), line).item() == pytest.approx(1 - 2 * both / squares, rel=1e-5)


# surfaces


def test_signed_distance_by_hand():
    wanted = np.zeros((2, 1, 1, 7), bool)
    wanted[0, 0, 0, 2:5] = True
    np.testing.assert_allclose(signed_distance(wanted)[0, 0, 0], [2, 1, 0, -1, 0, 1, 2])
    assert not signed_distance(wanted)[1].any()  # nothing there: no distance
    assert not signed_distance(~wanted)[1].any()  # nothing else there
    tall = np.zeros((1, 1, 5, 1), bool)
    tall[0, 0, 0] = True
    np.testing.assert_allclose(signed_distance(tall, (4.0, 2.0))[0, 0, :, 0], [-1, 2, 4, 6, 8])


def test_signed_distance_equals_brute_force_in_3d():
    wanted = np.random.default_rng(0).random((5, 6, 7)) > 0.8
    spacing = np.array((3.0, 1.0, 2.0))
    places = [np.argwhere(side) * spacing for side in (~wanted, wanted)]
    expected = np.zeros(wanted.shape)
    for index in np.ndindex(wanted.shape):
        nearest = np.linalg.norm(places[0 if wanted[index] else 1] - np.array(index) * spacing, axis=1).min()
        expected[index] = 1 - nearest if wanted[index] else nearest
    np.testing.assert_allclose(signed_distance(wanted[None, None], spacing)[0, 0], expected, rtol=1e-6)


def test_boundary_by_hand():
    target = torch.tensor([[[[0, 0, 1, 1, 1, 0, 0]]]], dtype=torch.uint8)
    logits = torch.full((1, 1, 1, 7), -50.0)
    logits[..., 0] = 50  # one false positive, two voxels away
    assert boundary(logits, target).item() == pytest.approx(2 / 7)
    target[..., 0] = UNLABELLED
    assert boundary(logits, target).item() == pytest.approx(0, abs=1e-6)


def test_areas_by_hand():
    flat, corner = 0b00001111, 0b00000001
    assert surface_areas((1.0, 1.0, 1.0))[flat] == pytest.approx(1)
    assert surface_areas((1.0, 1.0, 1.0))[corner] == pytest.approx(math.sqrt(3) / 8)
    assert surface_areas((2.0, 1.0, 3.0))[flat] == pytest.approx(3)  # z differs between the halves: the plane is y × x
    assert surface_areas((2.0, 1.0, 3.0))[0b01010101] == pytest.approx(2)  # x differs: z × y
    assert surface_areas((1.0, 1.0, 1.0))[0] == surface_areas((1.0, 1.0, 1.0))[255] == 0


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 3.5), (1.0, 1.0), (2.0, 1.0)])
def test_areas_are_those_of_the_metric(spacing):
    from malpighi.metrics.surface_areas import area_table

    # the metric's bits run the other way: the code of the mirrored cube, whose area is the same
    np.testing.assert_allclose(surface_areas(spacing), area_table(spacing), rtol=1e-6)


def _expected_overlap(logits, target, spacing):
    """The three Dice of the cubes, cube by cube, from the probabilities of all codes."""
    p, t = torch.sigmoid(logits)[0, 0].double().numpy(), target[0, 0].numpy()
    corners = list(itertools.product((0, 1), repeat=p.ndim))
    areas = surface_areas(spacing)
    sums = np.zeros((3, 2))
    for start in np.ndindex(tuple(side - 1 for side in p.shape)):
        at = [tuple(np.add(start, corner)) for corner in corners]
        chance = [math.prod(p[i] if bit else 1 - p[i] for i, bit in zip(at, bits, strict=True)) for bits in ALL[p.ndim]]
        code = sum(int(t[i]) << bit for bit, i in enumerate(reversed(at)))
        true = (code == len(areas) - 1, code == 0, areas[code])
        found = (chance[-1], chance[0], areas[code] * sum(chance[1:-1]))
        for kind in range(3):
            weight = true[kind] if kind == 2 else 1
            sums[kind] += (2 * found[kind] * (true[kind] > 0), found[kind] + weight * (true[kind] > 0))
    return 1 - np.mean((sums[:, 0] + 1) / (sums[:, 1] + 1))


ALL = {rank: list(itertools.product((0, 1), repeat=2**rank)) for rank in (2, 3)}


@pytest.mark.parametrize(
    ("shape", "spacing"), [((4, 5), (1.0, 1.0)), ((3, 3, 4), (1.0, 1.0, 1.0)), ((3, 4, 3), (3.0, 1.0, 2.0))]
)
def test_surface_equals_the_sum_over_all_codes(shape, spacing):
    logits, target = _pair((1, 1, *shape))
    expected = _expected_overlap(logits, target, spacing)
    assert surface(logits, target, spacing).item() == pytest.approx(expected, rel=1e-5)
    assert surface(logits, target, tuple(10 * size for size in spacing)).item() == pytest.approx(expected, rel=1e-5)


def test_surface_of_one_slice_is_that_of_the_plane():
    logits, target = _pair((2, 1, 1, 6, 6))
    plane = surface(logits[:, :, 0], target[:, :, 0], (2.0, 1.0))
    assert surface(logits, target, (5.0, 2.0, 1.0)).item() == pytest.approx(plane.item())


# skeletons


@pytest.mark.parametrize("shape", [(1, 1, 12, 12), (1, 1, 7, 8, 9)])
def test_soft_skeleton_and_cl_dice_equal_monai(shape):
    from monai.losses import SoftclDiceLoss
    from monai.losses.cldice import soft_skel

    logits, target = _pair(shape)
    torch.testing.assert_close(soft_skeleton(torch.sigmoid(logits), 3), soft_skel(torch.sigmoid(logits), 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = SoftclDiceLoss(iter_=3, sigmoid=True)(logits, target.float())
    assert cl_dice(logits, target).item() == pytest.approx(reference.item(), rel=1e-5)


def test_cl_dice_minds_a_gap_more_than_a_thin_vessel():
    target = torch.zeros(1, 1, 9, 21, dtype=torch.uint8)
    target[..., 3:6, 1:20] = 1
    thin, broken = target.clone(), target.clone()
    thin[..., 3, :] = thin[..., 5, :] = 0  # 38 voxels less, the line is whole
    broken[..., 9:12] = 0  # 9 voxels less
    cost = {
        name: [f(20.0 * t - 10, target).item() for t in (thin, broken)] for name, f in (("cl", cl_dice), ("dice", soft_dice))
    }
    assert cost["cl"][0] < cost["cl"][1]
    assert cost["dice"][0] > cost["dice"][1]


# slopes

EVERY = [
    *(cross_entropy, edge_cross_entropy, focal),
    *(soft_dice, jaccard, tversky, boundary_dou, lovasz_hinge, lovasz_softmax),
    *(boundary, surface, cl_dice),
]


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (1, 1, 3, 4, 4)], ids=str)
@pytest.mark.parametrize("term", EVERY, ids=lambda term: term.__name__)
def test_slope_equals_finite_differences(term, shape):
    logits, target = _pair(shape)
    target[..., 0, 0] = UNLABELLED
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: term(x, target), (logits,), eps=1e-7, atol=1e-6)
