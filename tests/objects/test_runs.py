import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from malpighi.objects.runs import label_runs


@settings(deadline=None, max_examples=60)
@given(st.tuples(*(st.integers(1, 7),) * 3), st.floats(0, 1), st.integers(0, 10**6), st.booleans())
def test_components_are_those_of_scipy_in_its_order(shape, density, seed, faces_only):
    mask = (np.random.default_rng(seed).random(shape) < density).astype(np.uint8) * 255
    labels, start, stop, voxels, sums = label_runs(mask, faces_only)
    expected, count = ndimage.label(mask, ndimage.generate_binary_structure(3, 1 if faces_only else 3))
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == np.int32
    assert len(start) == len(stop) == len(voxels) == len(sums) == count
    boxes = ndimage.find_objects(expected)
    assert start.tolist() == [[s.start for s in box] for box in boxes]
    assert stop.tolist() == [[s.stop for s in box] for box in boxes]
    assert voxels.tolist() == np.bincount(expected.ravel())[1:].tolist()
    for k in range(count):
        np.testing.assert_array_equal(sums[k], np.argwhere(expected == k + 1).sum(0))


@pytest.mark.parametrize(("faces_only", "count"), [(False, 1), (True, 2)])
def test_two_voxels_that_touch_at_a_corner(faces_only, count):
    mask = np.zeros((2, 2, 2), np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = 1
    assert len(label_runs(mask, faces_only)[3]) == count
