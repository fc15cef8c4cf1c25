"""clDice and Betti-0 by hand, and on the pairs that TopCoW publishes with their answers."""

import math

import numpy as np
import pytest

from malpighi.errors import RecipeError, SpacingError
from malpighi.geometry import Spacing
from malpighi.metrics.overlap import count
from malpighi.metrics.surface import surface_overlap
from malpighi.metrics.tolerance import Tolerance
from malpighi.metrics.topology import CenterlineOverlap, betti0, centerline_overlap, labelled_part, skeleton


def cldice(prediction, truth, **kwargs):
    return centerline_overlap(lambda box: prediction[box.slices], lambda box: truth[box.slices], truth.shape, **kwargs)


def rods(side=60):
    """Three tubes along the axes, of radius 3, that meet."""
    z, y, x = np.ogrid[:side, :side, :side]
    c = side // 2
    return ((z - c) ** 2 + (y - c) ** 2 <= 9) | ((z - c) ** 2 + (x - c) ** 2 <= 9) | ((y - c) ** 2 + (x - c) ** 2 <= 9)


def test_by_hand():
    # lines are their own skeletons: the predicted one is longer by two voxels at either end
    truth, prediction = np.zeros((2, 7, 20), bool)
    truth[3, 2:18], prediction[3, :] = True, True
    found = cldice(prediction, truth)
    assert found == CenterlineOverlap(20, 16, 16, 16)
    assert (found.precision, found.sensitivity) == (0.8, 1.0)
    assert found.dice == pytest.approx(2 * 0.8 / 1.8)


def test_empty_masks_are_said():
    nothing, line = np.zeros((2, 4, 4, 4), bool)
    line[1, 1] = True
    assert math.isnan(cldice(nothing, nothing).dice)
    assert cldice(nothing, line).dice == cldice(line, nothing).dice == 0.0
    assert math.isnan(cldice(nothing, line).precision)


def test_counts_add():
    one = CenterlineOverlap(10, 20, 5, 20)
    both = one + CenterlineOverlap(10, 0, 5, 0)
    assert both == CenterlineOverlap(20, 20, 10, 20)
    assert both.dice == pytest.approx(2 / 3)


def test_blocks_are_nearly_the_whole():
    truth = rods()
    prediction = np.roll(truth, 1, 1) & (np.random.default_rng(0).random(truth.shape) > 0.001)
    whole = cldice(prediction, truth)
    blocks = cldice(prediction, truth, block=(32, 32, 32), halo=12)
    assert blocks.true == pytest.approx(whole.true, rel=0.03)
    assert blocks.dice == pytest.approx(whole.dice, abs=0.01)


def test_a_skeleton_is_that_of_the_whole_array():
    from skimage.morphology import skeletonize

    mask = np.zeros((9, 30, 30), bool)
    mask[3:6, 4:8, 2:25] = True
    np.testing.assert_array_equal(skeleton(mask), skeletonize(mask) > 0)
    assert skeleton(mask[0]).sum() == 0


def test_unlabelled_is_cut_off_both():
    truth = np.zeros((5, 5, 30), np.uint8)
    truth[2, 2] = 1
    truth[:, :, 10:20] = 255
    prediction = np.ones_like(truth)
    prediction[:, :, :10] = truth[:, :, :10]
    prediction[:, :, 20:] = truth[:, :, 20:]
    p, t = labelled_part(lambda box: prediction[box.slices], lambda box: truth[box.slices])
    found = centerline_overlap(p, t, truth.shape)
    assert found == CenterlineOverlap(20, 20, 20, 20)


# -- the public fixtures ----------------------------------------------------------------------------------------------
def pair(real, truth, prediction):
    """Label images of a pair, (x, y, z) as in the file: small shapes are thinned otherwise in another order of axes."""
    import nibabel

    folder = real / "metric_fixtures"
    return tuple(np.asarray(nibabel.load(next(folder.rglob(f"{name}.nii.gz"))).dataobj) for name in (truth, prediction))


CLDICE = [  # the files are volumes of one slice, thinned as volumes
    ("shape_6x3_2D_clDice_elong_gt", "shape_6x3_2D_clDice_elong_pred", 1.0),
    ("shape_5x5_2D_clDice_Tshaped_gt", "shape_5x5_2D_clDice_Tshaped_pred", (3 / 2) / (7 / 4)),
    ("shape_5x5_2D_clDice_Tshaped_multiclass_gt", "shape_5x5_2D_clDice_Tshaped_multiclass_pred", (3 / 2) / (7 / 4)),
    ("shape_6x3_2D_clDice_Fig51_gt", "shape_6x3_2D_clDice_Fig51_pred_1", 6 / 7),
    ("shape_6x3_2D_clDice_Fig51_gt", "shape_6x3_2D_clDice_Fig51_pred_2", 2 / 3),
]


@pytest.mark.real_data
@pytest.mark.parametrize(("truth", "prediction", "expected"), CLDICE)
def test_cldice_of_topcow(real, truth, prediction, expected):
    t, p = pair(real, truth, prediction)
    assert cldice(p > 0, t > 0).dice == pytest.approx(expected)


BETTI0 = [  # truth, prediction, {label: error}, error of all labels together
    ("betti_num_singleBlob_2x2x2_gt", "betti_num_singleBlob_2x2x2_pred", {1: 0}, 0),
    ("shape_3x4x2_3D_twoIslands", "shape_3x4x2_3D_twoIslands_multiclass", {1: 0, 2: 2}, 0),
    ("shape_5x7x9_3D_1donut", "shape_5x7x9_3D_1donut_multiclass", {1: 0, 6: 1}, 0),
    ("shape_8x8x8_3D_8Cubes_gt", "shape_8x8x8_3D_8Cubes_pred", {1: 0, 2: 0, 3: 0, 4: 1, 5: 0, 6: 0, 7: 0, 8: 0}, 0),
    ("shape_5x5_2D_RGB_gt", "shape_5x5_2D_RBY_pred", {1: 0, 2: 1, 3: 0, 4: 1}, 2),
    ("shape_6x3_2D", "shape_6x3_2D", {}, 0),
    ("shape_6x3_2D", "shape_6x3_2D_clDice_elong_pred", {1: 1}, 1),
]


@pytest.mark.real_data
@pytest.mark.parametrize(("truth", "prediction", "errors", "together"), BETTI0)
def test_betti0_errors_of_topcow(real, truth, prediction, errors, together):
    t, p = pair(real, truth, prediction)
    assert {k: abs(betti0(p == k) - betti0(t == k)) for k in errors} == errors
    assert abs(betti0(p) - betti0(t)) == together


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "pieces"),
    [
        ("shape_3x4x2_3D_twoIslands", 2),
        ("shape_5x6x4_3D_twoIslands_padded", 2),
        ("shape_3x4x2_3D_cross", 1),
        ("shape_5x6x4_3D_cross_padded", 1),
    ],
)
def test_pieces_of_topcow(real, name, pieces):
    assert betti0(pair(real, name, name)[0]) == pieces


DICE = [
    ("shape_5x5_2D_zigzag_gt", "shape_5x5_2D_zigzag_pred", {1: 8 / 17}, 8 / 17),
    ("shape_5x5_2D_zigzag_label5_gt", "shape_5x5_2D_zigzag_label5_pred", {5: 26 / 33}, 26 / 33),
    ("shape_5x5_2D_label64_ring_gt", "shape_5x5_2D_label64_ring_pred", {4: 8 / 13, 6: 20 / 27}, 0.75),
    ("shape_5x5_2D_RGB_gt", "shape_5x5_2D_RBY_pred", {1: 1, 2: 0, 3: 1, 4: 0}, 2 / 3),
    ("shape_5x7x9_3D_1donut", "shape_5x7x9_3D_1donut_multiclass", {1: 0.75, 6: 0}, 1),
    ("expected_1donut_gt_crop", "expected_1donut_pred_crop", {}, 1),
    ("shape_8x8x8_3D_8Cubes_gt", "shape_8x8x8_3D_8Cubes_pred", {2: 112 / 120, 4: 0, 6: 96 / 112}, 2 * 408 / (408 + 512)),
    ("shape_5x5_2D_label15_12_11_gt", "shape_5x5_2D_label15_11_pred", {11: 0.5, 12: 0, 15: 8 / 9}, 16 / 21),
    ("shape_2x2x2_3D_Fig50_label15_10_gt", "shape_2x2x2_3D_Fig50_label15_10_pred", {10: 0.8, 15: 0.5}, 2 / 3),
    ("topcow_mr_roi_023", "LPS_ICA_PCA_flipped", {1: 0, 5: 0, 6: 0.005530520278574354}, 0.025192476366825846),
]


@pytest.mark.real_data
@pytest.mark.parametrize(("truth", "prediction", "scores", "together"), DICE)
def test_dice_of_topcow(real, truth, prediction, scores, together):
    t, p = pair(real, truth, prediction)
    for label, expected in scores.items():
        assert count(p == label, t == label, rank=3).dice[0] == pytest.approx(expected)
    assert count(p > 0, t > 0, rank=3).dice[0] == pytest.approx(together)


# Hausdorff distances that the figures of "A Picture Story" print: at that tolerance NSD is 1, below it is not
HAUSDORFF = [
    ("shape_11x11_2D_Fig50_large_bin_gt", "shape_11x11_2D_Fig50_large_bin_pred_1", 1.0),
    ("shape_11x11_2D_Fig50_large_bin_gt", "shape_11x11_2D_Fig50_large_bin_pred_2", 1.0),
    ("shape_11x11_2D_Fig10_bin_gt", "shape_11x11_2D_Fig10_bin_pred", 2.0),
    ("shape_14x14_Fig63_bin_gt", "shape_14x14_Fig63_bin_pred", math.sqrt(128)),
]


@pytest.mark.real_data
@pytest.mark.parametrize(("truth", "prediction", "distance"), HAUSDORFF)
def test_nsd_of_the_figures(real, truth, prediction, distance):
    t, p = (each[..., 0] > 0 for each in pair(real, truth, prediction))
    assert surface_overlap(p, t, tolerance=distance).dice == 1.0
    assert surface_overlap(p, t, tolerance=distance - 0.01).dice < 1.0


# -- tolerances -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "expected", "said"),
    [("1", Tolerance(1), "1 voxel"), ("2um", Tolerance(2, "µm"), "2 µm"), (".5 voxels", Tolerance(0.5), "0.5 voxels")],
)
def test_tolerances_are_read(text, expected, said):
    assert Tolerance.parse(text) == expected
    assert str(expected) == said


def test_a_voxel_is_one_of_the_finest_axis():
    assert Tolerance(2).at(Spacing.um((5, 0.5, 0.5))) == 1.0
    assert Tolerance(2, "µm").at(Spacing.um((5, 0.5, 0.5))) == 2.0


def test_bad_tolerances_are_errors():
    for text in ("", "-1", "2 mm", "nan", "two"):
        with pytest.raises(RecipeError, match="tolerance"):
            Tolerance.parse(text)
    with pytest.raises(SpacingError, match="--spacing"):
        Tolerance(2, "µm").at(Spacing.pixels(3))
