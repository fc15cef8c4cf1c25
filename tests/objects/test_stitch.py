"""Blocks against the whole: nothing lost, nothing doubled, whatever the sides and the halo."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.objects.instances import InstanceOptions, decode
from malpighi.objects.stitch import stitch
from malpighi.sampling.instance_targets import instance_targets
from objects.label_pictures import discs


def renumbered(labels):
    """Numbers in order of first voxels, so that two labellings of the same objects are equal."""
    names, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(np.where(names == 0, -1, first))
    rank = np.empty(len(names), int)
    rank[order] = np.arange(len(names)) + (0 not in names)
    return rank[inverse].reshape(labels.shape)


def run(decoder, shape, **options):
    """The labels written, of which every block came once, and were all that the count says."""
    out = np.zeros(shape, np.uint32)
    written = []

    def write(box, labels):
        assert labels.shape == box.size
        assert labels.dtype == np.uint32
        written.append(box)
        out[box.slices] = labels

    calls = []
    count = stitch(decoder, shape, write, on_block=lambda: calls.append(1), **options)
    blocks = list(Box.of_shape(shape).split(options["block"]))
    assert sorted(written) == sorted(blocks)
    assert len(calls) == len(blocks)
    assert np.array_equal(np.setdiff1d(out, 0), np.arange(1, count + 1))
    return out, count


def pieces_of(mask):
    """A local decoder: connected pieces of what the box shows."""
    return lambda box: label(mask[box.slices])[0]


def parts_of(labels):
    """A local decoder that tells objects which touch apart; numbers differ from box to box and have gaps."""
    return lambda box: labels[box.slices] * (1 + box.start[0] + box.start[-1])


def test_two_discs_by_hand():
    mask = np.array([[1, 1, 0, 1, 1, 1, 0, 0, 1]], bool)
    out, count = run(pieces_of(mask), mask.shape, block=(1, 4), halo=3)
    # the middle of 3 … 5 is 4, of the second block; the first leaves it alone
    assert out.tolist() == [[1, 1, 0, 2, 2, 2, 0, 0, 3]]
    assert count == 3


def test_a_centroid_between_two_voxels_goes_up():
    mask = np.array([[0, 0, 1, 1, 1, 1, 0, 0]], bool)  # centroid 3.5: the nearest voxel, upwards, is 4
    seen = []

    def decoder(box):
        found = label(mask[box.slices])[0]
        seen.append(found.max())
        return found

    out, _ = run(decoder, mask.shape, block=(1, 4), halo=4)
    assert out.tolist() == [[0, 0, 1, 1, 1, 1, 0, 0]]
    assert seen == [1, 1]


def test_one_block_is_the_whole():
    labels = discs((60, 70), 30, 0)
    layers = instance_targets(labels[None], "flow")[0]
    whole = decode(layers, InstanceOptions("flow"))
    out, count = run(
        lambda box: decode(layers[(slice(None), *box.slices)], InstanceOptions("flow")), labels.shape, block=(64, 128), halo=16
    )
    np.testing.assert_array_equal(out, whole)
    assert count == whole.max()


@pytest.mark.parametrize(("block", "halo"), [((32, 32), 27), ((17, 40), 30), ((64, 11), 27), ((200, 200), 27)])
def test_discs_that_touch_equal_the_whole(block, halo):
    labels = discs((150, 130), 120, 1)
    out, count = run(parts_of(labels), labels.shape, block=block, halo=halo)
    assert count == labels.max()
    np.testing.assert_array_equal(renumbered(out), renumbered(labels))


@pytest.mark.parametrize("seed", range(3))
def test_discs_apart_equal_the_connected_pieces(seed):
    mask = discs((140, 150), 60, seed, gap=3) > 0
    out, _ = run(pieces_of(mask), mask.shape, block=(40, 33), halo=26)
    np.testing.assert_array_equal(renumbered(out), renumbered(label(mask)[0]))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    block=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    halo=st.integers(0, 25),
    share=st.floats(0.05, 0.95),
)
def test_no_voxel_is_lost_whatever_the_halo(seed, shape, block, halo, share):
    mask = np.random.default_rng(seed).random(shape) < share
    out, count = run(pieces_of(mask), shape, block=block, halo=halo)
    np.testing.assert_array_equal(out > 0, mask)
    pieces, true = label(mask)
    for number in range(1, count + 1):
        assert len(np.unique(pieces[out == number])) == 1  # of one object at most
    if halo >= max(shape):
        np.testing.assert_array_equal(renumbered(out), renumbered(pieces))
        assert count == true


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), block=st.tuples(*[st.integers(2, 9)] * 3), halo=st.integers(0, 8))
def test_volumes_too(seed, block, halo):
    mask = np.random.default_rng(seed).random((7, 12, 10)) < 0.15
    out, _ = run(pieces_of(mask), mask.shape, block=block, halo=halo)
    np.testing.assert_array_equal(out > 0, mask)


@pytest.mark.parametrize("halo", [4, 8, 20])
def test_an_object_longer_than_the_halo_is_continued(halo):
    mask = np.zeros((50, 200), bool)
    mask[10:18, 3:190] = True
    mask[30:35, 60:160] = True
    out, count = run(pieces_of(mask), mask.shape, block=(24, 24), halo=halo)
    np.testing.assert_array_equal(renumbered(out), renumbered(label(mask)[0]))
    assert count == 2


def test_an_object_that_fills_the_image_is_one():
    out, count = run(pieces_of(np.ones((70, 90), bool)), (70, 90), block=(16, 16), halo=4)
    assert count == 1
    assert (out == 1).all()


def test_a_ring_whose_centroid_no_block_of_it_holds_is_kept():
    y, x = np.indices((90, 90))
    mask = abs(np.hypot(y - 45, x - 45) - 38) < 3
    out, _ = run(pieces_of(mask), mask.shape, block=(30, 30), halo=6)
    np.testing.assert_array_equal(out > 0, mask)


@pytest.mark.parametrize("seed", range(6))
def test_a_decoder_that_sees_objects_a_little_differently_from_each_block(seed):
    labels = np.pad(discs((120, 120), 60, seed, radius=(5, 7), gap=4), 4)  # none touches the border

    def shifted(box):
        random = np.random.default_rng(box.start)
        found = np.zeros(np.add(box.size, 2), int)
        for number in np.setdiff1d(labels[box.slices], 0):
            y, x = np.nonzero(labels[box.slices] == number) + random.integers(0, 3, (2, 1))
            found[y, x] = number
        return found[1:-1, 1:-1]

    _, count = run(shifted, labels.shape, block=(32, 32), halo=24)
    assert count == labels.max()


def test_small_objects_are_left_out_and_leave_no_gap():
    mask = np.zeros((20, 20), bool)
    mask[1, 1] = mask[15:18, 15:18] = mask[7:11, 8:12] = True
    out, count = run(pieces_of(mask), mask.shape, block=(10, 10), halo=5, min_voxels=2)
    assert count == 2
    assert sorted(np.bincount(out.ravel())[1:]) == [9, 16]


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (5, 5)])
def test_empty_and_tiny(shape):
    for mask in (np.zeros(shape, bool), np.ones(shape, bool)):
        _, count = run(pieces_of(mask), shape, block=(8, 8), halo=2)
        assert count == int(mask.any())


def test_numbers_that_are_huge():
    labels = np.zeros((8, 8), np.uint64)
    labels[1:3, 1:3], labels[5:7, 5:7] = 2**40, 5
    out, count = run(lambda box: labels[box.slices], labels.shape, block=(4, 4), halo=4)
    assert count == 2
    assert out[1, 1] == 1


def test_wrong_decoders_and_sides_are_refused():
    options = {"block": (4, 4), "halo": 1}
    with pytest.raises(DataError, match=r"must be integers of \(5, 5\)"):
        stitch(lambda box: np.zeros((2, 2), int), (8, 8), print, **options)
    with pytest.raises(DataError, match="float64"):
        stitch(lambda box: np.zeros(box.size), (8, 8), print, **options)
    with pytest.raises(DataError, match="label -1"):
        stitch(lambda box: np.full(box.size, -1), (8, 8), print, **options)
    with pytest.raises(ValueError, match=r"block \(4,\)"):
        stitch(lambda box: np.zeros(box.size, int), (8, 8), print, block=(4,), halo=1)
