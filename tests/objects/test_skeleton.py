import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.measure import euler_number, label
from skimage.morphology import skeletonize as reference

from malpighi.objects.skeleton import Skeleton, skeletonise
from malpighi.objects.thinning import FIXED, thin
from objects.tubes import blocks, tube

ONE = (1.0, 1.0, 1.0)


def picture(skeleton: Skeleton) -> np.ndarray:
    out = np.zeros(skeleton.shape, bool)
    out[tuple(skeleton.voxels.T)] = True
    return out


def sponge(seed: int, level: float, shape=(40, 36, 44)) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.5) > level


def without_cavities(mask: np.ndarray) -> np.ndarray:
    return ndimage.binary_fill_holes(mask)


def same_topology(mask: np.ndarray, lines: np.ndarray) -> bool:
    return (
        euler_number(mask, 3) == euler_number(lines, 3)
        and label(mask, connectivity=3).max() == label(lines, connectivity=3).max()
    )


def test_a_bar_becomes_a_line_within_it():
    mask = np.zeros((9, 9, 30), bool)
    mask[3:6, 3:6, 3:27] = True
    lines = picture(skeletonise(blocks(mask), ONE))
    assert (lines.sum(axis=(0, 1)) <= 1).all()
    assert set(np.argwhere(lines)[:, 0]) == set(np.argwhere(lines)[:, 1]) == {4}
    assert lines.sum() >= 20


def test_an_even_bar_is_not_eaten_from_end_to_end():
    mask = np.zeros((8, 8, 40), bool)
    mask[2:6, 2:6, 2:38] = True
    assert np.ptp(skeletonise(blocks(mask), ONE).voxels[:, 2]) > 30


@pytest.mark.parametrize("seed", range(3))
def test_a_sponge_keeps_pieces_and_tunnels_and_close_to_scikit_image(seed):
    mask = without_cavities(sponge(seed, 0.03))
    lines = picture(skeletonise(blocks(mask), ONE))
    assert same_topology(mask, lines)
    theirs = reference(mask)
    near = ndimage.binary_dilation(lines, np.ones((3, 3, 3)), iterations=2)
    assert (theirs & ~near).sum() <= 0.01 * theirs.sum()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), level=st.floats(-0.02, 0.06), block=st.integers(9, 30))
def test_blocks_neither_break_nor_join(seed, level, block):
    mask = without_cavities(sponge(seed, level, (24, 26, 28)))
    assert same_topology(mask, picture(skeletonise(blocks(mask, block), ONE)))


@settings(max_examples=40, deadline=None)
@given(mask=arrays(bool, (5, 6, 7)))
def test_thinning_noise_keeps_topology_and_leaves_what_is_fixed(mask):
    work = np.pad(mask, 1).astype(np.uint8)
    work[3, 3, 3] = FIXED
    before = work > 0
    thin(work)
    assert work[3, 3, 3] == FIXED
    assert same_topology(before, work > 0)


@pytest.mark.parametrize("block", [24, 40])
def test_a_line_across_blocks_is_that_of_the_whole(block):
    mask = tube((60, 60, 60), [(6, 8, 9), (30, 30, 24), (52, 34, 50)], 3.2) | tube(
        (60, 60, 60), [(30, 30, 24), (40, 8, 50)], 2.4
    )
    whole, parts = skeletonise(blocks(mask), ONE), skeletonise(blocks(mask, block), ONE)
    assert (picture(whole) != picture(parts)).sum() <= 4
    assert parts.radius.mean() == pytest.approx(whole.radius.mean(), rel=0.01)


def test_a_hollow_vessel_has_a_line():
    solid = tube((30, 30, 50), [(15, 15, 10), (15, 15, 40)], 6)
    hollow = solid & ~tube((30, 30, 50), [(15, 15, 10), (15, 15, 40)], 3)
    lines = picture(skeletonise(blocks(hollow), ONE))
    assert same_topology(solid, lines)
    assert lines.sum() < 60


def test_radius_is_physical_where_voxels_are_not_cubes():
    spacing = (2.0, 1.0, 0.5)
    mask = tube((30, 60, 160), [(30, 30, 12), (30, 30, 68)], 8, spacing)
    skeleton = skeletonise(blocks(mask), spacing)
    middle = np.abs(skeleton.voxels[:, 2] - 80) < 30
    assert skeleton.radius[middle].mean() == pytest.approx(8, abs=1.0)


def test_two_axes_are_a_volume_of_one_slice():
    mask = np.zeros((20, 50), bool)
    mask[8:13, 5:45] = True
    skeleton = skeletonise(blocks(mask, 16), ONE)
    assert skeleton.shape == (1, 20, 50)
    assert set(skeleton.voxels[:, 1]) <= {9, 10, 11}
    assert skeleton.radius.max() == 3


def test_nothing_has_no_skeleton():
    assert len(skeletonise(blocks(np.zeros((5, 6, 7), bool)), ONE)) == 0
