"""Components of a mask read in blocks, against SciPy on the whole."""

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.objects.label import find_components, find_holes


def reader(array):
    return lambda box: array[box.slices]


def same_partition(a, b):
    """Whether two label images name the same sets of voxels."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()], axis=1), axis=0)
    return len(pairs) == len(np.unique(a)) == len(np.unique(b)) and (a[b == 0] == 0).all()


masks = st.one_of(
    arrays(bool, st.tuples(st.integers(1, 17), st.integers(1, 17)), elements=st.booleans()),
    arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 3).map(bool)),
    arrays(
        bool,
        st.tuples(st.integers(1, 7), st.integers(1, 6), st.integers(1, 7)),
        elements=st.integers(0, 4).map(lambda v: v == 0),
    ),
)


@given(masks, st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)), st.booleans())
@settings(max_examples=150, deadline=None)
def test_equals_scipy_on_the_whole_whatever_the_block(mask, block, faces_only):
    found = find_components(reader(mask), mask.shape, block[: mask.ndim], faces_only)
    structure = ndimage.generate_binary_structure(mask.ndim, 1 if faces_only else mask.ndim)
    truth, n = ndimage.label(mask, structure)
    labels = found.labels(Box.of_shape(mask.shape))

    assert len(found) == n
    assert same_partition(labels, truth)
    for k in range(1, n + 1):
        assert found.count[k - 1] == (labels == k).sum()
        assert ndimage.find_objects((labels == k).astype(int))[0] == found.box(k).slices
        np.testing.assert_allclose(found.centroid(k), np.array(ndimage.center_of_mass(labels == k)) + 0.5)


@given(arrays(bool, (13, 11), elements=st.booleans()), st.integers(1, 13), st.integers(1, 13))
@settings(max_examples=50, deadline=None)
def test_numbers_do_not_depend_on_the_block_in_2d(mask, one, other):
    whole = Box.of_shape(mask.shape)
    a = find_components(reader(mask), mask.shape, one)
    b = find_components(reader(mask), mask.shape, other)
    np.testing.assert_array_equal(a.labels(whole), b.labels(whole))


def test_a_box_has_the_labels_of_the_whole():
    mask = np.random.default_rng(1).random((40, 50)) < 0.4
    found = find_components(reader(mask), mask.shape, 16)
    whole = found.labels(Box.of_shape(mask.shape))
    for box in (Box((0, 0), (5, 5)), Box((10, 14), (20, 30)), Box((39, 49), (1, 1))):
        np.testing.assert_array_equal(found.labels(box), whole[box.slices])


def test_diagonal_over_a_corner_where_four_blocks_meet():
    mask = np.zeros((4, 4), bool)
    mask[1, 2] = mask[2, 1] = True  # blocks (0, 1) and (1, 0) of side 2
    assert len(find_components(reader(mask), mask.shape, 2)) == 1
    assert len(find_components(reader(mask), mask.shape, 2, faces_only=True)) == 2


def test_weights_are_summed_over_components():
    mask = np.array([[1, 1, 0, 0], [0, 0, 0, 1]], np.uint8)
    weights = np.arange(8, dtype=np.float32).reshape(2, 4)
    found = find_components(reader(mask), mask.shape, 1, read_weights=reader(weights))
    assert found.weights.tolist() == [1.0, 7.0]


def test_nothing_at_all():
    mask = np.zeros((5, 6), bool)
    found = find_components(reader(mask), mask.shape, 4)
    assert len(found) == 0
    assert not found.labels(Box.of_shape(mask.shape)).any()


def test_memory_is_the_border_not_the_image():
    """A column of blocks: only one block's faces are held at any time, and blocks are read once, in order."""
    read = []
    find_components(lambda box: read.append(box) or np.ones(box.size, bool), (64, 4), 4)
    assert [b.start for b in read] == [(y, 0) for y in range(0, 64, 4)]


@pytest.mark.parametrize(
    ("mask", "words"),
    [(np.full((4, 4), 0.5), "threshold"), (np.zeros((1, 4, 4), bool), "spatial axes only"), (np.zeros((4, 3), bool), "shape")],
)
def test_bad_masks_are_refused(mask, words):
    with pytest.raises(DataError, match=words):
        find_components(lambda box: mask, (4, 4))


def test_nan_probability_is_refused_inside_objects_only():
    mask = np.array([[True, False]])
    find_components(reader(mask), (1, 2), read_weights=reader(np.array([[0.5, np.nan]])))
    with pytest.raises(DataError, match="NaN"):
        find_components(reader(mask), (1, 2), read_weights=reader(np.array([[np.nan, 0.5]])))


def test_box_outside_is_refused():
    found = find_components(reader(np.ones((4, 4), bool)), (4, 4))
    with pytest.raises(DataError, match="leaves the mask"):
        found.labels(Box((2, 2), (4, 4)))


@pytest.mark.real_data
def test_real_vessels_in_blocks_equal_scipy_on_the_whole(real):
    path = min((real / "vessel_volumes" / "masks").glob("*.tif*"), key=lambda p: p.stat().st_size)
    mask = tifffile.imread(path) > 0
    found = find_components(reader(mask), mask.shape, (8, 100, 120))
    truth, n = ndimage.label(mask, np.ones((3, 3, 3)))
    assert len(found) == n
    assert same_partition(found.labels(Box.of_shape(mask.shape)), truth)


@pytest.mark.parametrize("block", [3, 8, 64])
@pytest.mark.parametrize("faces_only", [False, True])
def test_holes_are_the_background_that_does_not_touch_the_border(block, faces_only):
    mask = np.random.default_rng(5).random((30, 41)) < 0.6
    found = find_holes(lambda box: mask[box.slices], mask.shape, block, faces_only)
    filled = ndimage.binary_fill_holes(mask, ndimage.generate_binary_structure(2, 2 if faces_only else 1))
    holes = np.concatenate([[False], ~found.at_border])[found.labels(Box.of_shape(mask.shape))]
    np.testing.assert_array_equal(mask | holes, filled)
    assert holes.any()
