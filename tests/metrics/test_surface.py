"""Surface Dice against hand-computed areas, a plain reference, and DeepMind's package."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.metrics.surface import SurfaceOverlap, surface_overlap, surface_overlaps
from malpighi.metrics.surface_areas import area_table


@pytest.fixture
def deepmind(monkeypatch):
    """DeepMind's surface Dice; its release is older than NumPy 2, which has no `np.Inf`."""
    package = pytest.importorskip("surface_distance", reason="pip install surface-distance==0.1 to compare with it")
    monkeypatch.setattr(np, "Inf", np.inf, raising=False)

    def score(prediction, truth, spacing, tolerance):
        found = package.metrics.compute_surface_distances(truth, prediction, spacing)
        return package.metrics.compute_surface_dice_at_tolerance(found, tolerance)

    return score


def reference(prediction, truth, spacing, tolerance):
    """The definition in NumPy and SciPy: codes by shifting a padded mask, distances by a whole distance transform."""
    rank, table = prediction.ndim, area_table(spacing)
    codes = []
    for mask in (prediction, truth):
        padded = np.pad(mask, 1).astype(int)
        code = np.zeros([n + 1 for n in mask.shape], int)
        for i in range(1 << rank):
            corner = [i >> (rank - 1 - axis) & 1 for axis in range(rank)]
            code += padded[tuple(slice(c, c + n + 1) for c, n in zip(corner, mask.shape, strict=True))] << i
        codes.append(code)
    near = whole = 0.0
    for mine, other in (codes, codes[::-1]):
        surface, target = (~np.isin(c, (0, len(table) - 1)) for c in (mine, other))
        far = ndimage.distance_transform_edt(~target, sampling=spacing) if target.any() else np.full(mine.shape, np.inf)
        near += table[mine[surface & (far <= tolerance)]].sum()
        whole += table[mine[surface]].sum()
    return near / whole if whole else math.nan


def random_pair(seed, rank, side=14):
    rng = np.random.default_rng(seed)
    truth = ndimage.gaussian_filter(rng.random(rng.integers(1, side, rank)), 1) > 0.5
    return truth ^ (rng.random(truth.shape) < rng.choice([0.0, 0.02, 0.5])), truth


# -- areas ------------------------------------------------------------------------------------------------------------
def test_areas_by_hand():
    table = area_table((1, 1, 1))
    assert table[0] == table[255] == 0
    assert table[0b00001111] == pytest.approx(1)  # a plane through the cube
    assert table[0b00000001] == pytest.approx(math.sqrt(3) / 8)  # a cut corner: the triangle between three half edges
    np.testing.assert_allclose(table, table[::-1])  # inside and outside change places
    z, y, x = 3.0, 2.0, 0.5
    flat = area_table((z, y, x))
    assert (flat[0b00001111], flat[0b00110011], flat[0b01010101]) == pytest.approx((y * x, z * x, z * y))


def test_lengths_by_hand():
    table = area_table((2, 3))
    assert table[0b0011] == pytest.approx(3)  # a line along x
    assert table[0b0101] == pytest.approx(2)
    assert table[0b0001] == pytest.approx(math.hypot(1, 1.5))
    assert table[0b0110] == pytest.approx(2 * math.hypot(1, 1.5))


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1, 2, 3.3), (0.5, 0.7, 0.2)])
def test_areas_are_deepminds(spacing):
    tables = pytest.importorskip("surface_distance.lookup_tables")
    reverse = [int(f"{code:08b}"[::-1], 2) for code in range(256)]
    theirs = tables.create_table_neighbour_code_to_surface_area(spacing)
    np.testing.assert_allclose(area_table(spacing), theirs[reverse], atol=1e-12)


def test_lengths_are_deepminds():
    tables = pytest.importorskip("surface_distance.lookup_tables")
    reverse = [int(f"{code:04b}"[::-1], 2) for code in range(16)]
    theirs = tables.create_table_neighbour_code_to_contour_length((1, 2.5))
    np.testing.assert_allclose(area_table((1, 2.5)), theirs[reverse], atol=1e-12)


def test_a_spacing_of_zero_is_an_error():
    with pytest.raises(DataError, match="positive"):
        area_table((1, 0, 1))


# -- scores -----------------------------------------------------------------------------------------------------------
def test_the_official_example():
    """SenNet + HOA: 50 full slices of 100² against 51, in a stack of 100; the metric's own documentation says .750877…"""
    truth, prediction = np.zeros((2, 100, 100, 100), bool)
    truth[:50], prediction[:51] = True, True
    assert surface_overlap(prediction, truth).dice == pytest.approx(0.750877, abs=1e-6)
    assert surface_overlap(prediction, truth, tolerance=1).dice == 1.0
    turned = surface_overlap(prediction.transpose(1, 2, 0), truth.transpose(1, 2, 0))  # as it stacks slices
    assert turned.dice == pytest.approx(0.750877, abs=1e-6)


def test_one_pixel_by_hand():
    # a pixel's outline is four cut corners; moved by one, two corner places of each are shared
    truth, prediction = np.zeros((2, 3, 4), bool)
    truth[1, 1], prediction[1, 2] = True, True
    found = surface_overlap(prediction, truth)
    assert found.true == pytest.approx(4 * math.sqrt(0.5))
    assert found.dice == pytest.approx(0.5)
    assert surface_overlap(prediction, truth, tolerance=1).dice == 1.0


def test_empty_masks_are_said():
    nothing, something = np.zeros((2, 4, 4, 4), bool)
    something[1, 1, 1] = True
    assert math.isnan(surface_overlap(nothing, nothing).dice)
    assert surface_overlap(nothing, something).dice == 0.0
    assert surface_overlap(something, nothing, tolerance=9).dice == 0.0


def test_a_mask_that_fills_the_image_has_its_border_for_surface():
    full = np.ones((1, 5, 6), np.uint8)
    found = surface_overlap(full, full)
    assert found.dice == 1.0
    assert found.true > 2 * 4 * 5


@given(st.integers(0, 10**6), st.sampled_from([2, 3]), st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.3]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_blocks_are_the_whole_is_the_definition(seed, rank, tolerance, cubic):
    prediction, truth = random_pair(seed, rank)
    rng = np.random.default_rng(seed + 1)
    spacing = (1.0,) * rank if cubic else tuple(rng.uniform(0.3, 3, rank))
    expected = reference(prediction, truth, spacing, tolerance)
    block = tuple(rng.integers(1, 9, rank).tolist())
    (blocks,) = surface_overlaps(
        lambda box: prediction[box.slices], lambda box: truth[box.slices], truth.shape, spacing, (tolerance,), block
    )
    assert blocks.dice == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert surface_overlap(prediction, truth, spacing, tolerance) == blocks


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rank", [2, 3])
def test_random_masks_are_deepminds(deepmind, seed, rank):
    prediction, truth = random_pair(seed, rank, side=90 if rank == 2 else 24)
    if not (prediction | truth).any():
        pytest.skip("DeepMind's divides by nothing here")
    for spacing in ((1.0,) * rank, (2.5, 0.7, 0.7)[-rank:]):
        for tolerance in (0.0, 0.7, 2.0):
            ours = surface_overlap(prediction, truth, spacing, tolerance).dice
            assert ours == pytest.approx(deepmind(prediction, truth, spacing, tolerance), abs=1e-9)


@pytest.mark.parametrize("rank", [2, 3])
def test_large_tolerances_are_the_definition(rank):
    """Few elements far apart, and a tolerance whose offsets are too many to be tried."""
    rng = np.random.default_rng(0)
    truth, prediction = rng.random((2, *((60, 50, 40) if rank == 3 else (200, 160)))) < (0.0003 if rank == 3 else 0.001)
    for tolerance in (6.5, 60.0):
        expected = reference(prediction, truth, (1.0, 0.5, 1.0)[:rank], tolerance)
        assert expected > 0.0
        found = surface_overlap(prediction, truth, (1.0, 0.5, 1.0)[:rank], tolerance)
        assert found.dice == pytest.approx(expected, abs=1e-9)


def test_several_tolerances_in_one_pass():
    prediction, truth = random_pair(3, 3)
    wanted = (2.0, 0.0, 1.0)
    found = surface_overlaps(lambda box: prediction[box.slices], lambda box: truth[box.slices], truth.shape, (1,) * 3, wanted)
    assert found == [surface_overlap(prediction, truth, (1,) * 3, tolerance) for tolerance in wanted]


def test_images_add():
    pairs = [random_pair(seed, 3) for seed in (1, 2)]
    one, two = (surface_overlap(*pair) for pair in pairs)
    both = one + two
    assert both.dice == pytest.approx(
        (one.predicted_near + one.true_near + two.predicted_near + two.true_near)
        / (one.predicted + one.true + two.predicted + two.true)
    )
    assert one + SurfaceOverlap() == one


# -- unlabelled -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rank", [2, 3])
def test_what_nobody_labelled_is_no_surface_of_either_side(rank):
    """Right on the labelled half, wrong in all possible ways on the other: a perfect score, and no edge between them."""
    rng = np.random.default_rng(0)
    truth = ndimage.gaussian_filter(rng.random((12,) * rank), 1) > 0.5
    prediction = truth.copy()
    prediction[7:] = rng.random(prediction[7:].shape) > 0.5
    labels = truth.astype(np.uint8)
    labels[7:] = 255
    found = surface_overlap(prediction, labels)
    assert found.dice == 1.0
    # elements between slices 0 … 6 alone, and the image's own border; those on either side of slice 7 touch the unknown
    reached = surface_overlaps(lambda box: prediction[box.slices], lambda box: labels[box.slices], labels.shape, (1,) * rank)
    assert reached == [found]
    alone = surface_overlap(truth[:7], truth[:7])
    assert 0 < found.true < alone.true


def test_nothing_labelled_is_undefined():
    assert math.isnan(surface_overlap(np.ones((3, 3, 3), bool), np.full((3, 3, 3), 255, np.uint8)).dice)


# -- bad input --------------------------------------------------------------------------------------------------------
def test_bad_masks_are_named():
    good = np.zeros((3, 3, 3), np.uint8)
    with pytest.raises(DataError, match=r"\(3, 3, 3\), truth \(3, 3, 4\)"):
        surface_overlap(good, np.zeros((3, 3, 4), bool))
    with pytest.raises(DataError, match="float64"):
        surface_overlap(good.astype(float), good)
    with pytest.raises(DataError, match=r"\[2\]"):
        surface_overlap(good, good + np.uint8(2))
    with pytest.raises(DataError, match=r"\[-1\]"):
        surface_overlap(good, good.astype(int) - 1)
    with pytest.raises(DataError, match="tolerances"):
        surface_overlap(good, good, tolerance=-1)
    with pytest.raises(DataError, match="came with shape"):
        surface_overlaps(lambda box: good, lambda box: good[:1], (3, 3, 3), (1, 1, 1))


# -- real and large ---------------------------------------------------------------------------------------------------
@pytest.mark.real_data
def test_two_photon_volumes_are_deepminds(real, deepmind):
    import tifffile

    truth = tifffile.imread(real / "vessel_volumes/masks/burgess2014_bbbDisruption.tif")[:, :128, :128] > 0
    prediction = np.roll(truth, (0, 1, 2), (0, 1, 2)) & (np.random.default_rng(0).random(truth.shape) > 0.01)
    for tolerance in (0.0, 1.0, 2.0):
        spacing = (3.0, 1.0, 1.0)
        ours = surface_overlap(prediction, truth, spacing, tolerance).dice
        assert ours == pytest.approx(deepmind(prediction, truth, spacing, tolerance), abs=1e-6)


@pytest.mark.real_data
def test_a_renal_vessel_tree_is_deepminds(real, deepmind):
    import nibabel

    tree = nibabel.load(real / "vessel_trees/ccd_2.nii.gz").dataobj
    truth = np.asarray(tree[330:410, 200:300, 400:500]) > 0
    assert truth.any()
    prediction = ndimage.binary_erosion(np.roll(truth, 1, 1))
    for tolerance in (0.0, 2.0):
        ours = surface_overlap(prediction, truth, None, tolerance).dice
        assert ours == pytest.approx(deepmind(prediction, truth, (1, 1, 1), tolerance), abs=1e-6)


def test_boxes_read_are_no_larger_than_a_block_and_its_halo():
    read = []

    def tubes(box: Box) -> np.ndarray:
        read.append(box)
        mask = np.zeros(box.size, bool)
        mask[:, :2] = True
        return mask

    shape = (300, 40, 500)
    surface_overlaps(tubes, tubes, shape, (1, 1, 2), (0, 3), (64, 64, 64))
    assert all(side <= most for box in read for side, most in zip(box.size, (72, 40, 68), strict=True))
    assert sum(box.volume for box in read) / 2 < 1.35 * math.prod(shape)
