import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt

from malpighi.objects.depth import depth_in_objects


def test_touching_objects_have_a_border_between_them_and_the_image_has_none():
    assert depth_in_objects(np.array([[1, 1, 1, 2, 2, 0, 3]])).tolist() == [[3, 2, 1, 1, 1, 0, 1]]


def test_what_nobody_labelled_is_no_border():
    assert depth_in_objects(np.array([[0, 1, 1, -1, 1, 0]])).tolist() == [[0, 1, 2, 0, 1, 0]]


def test_an_object_without_a_border_is_infinitely_deep():
    assert np.isinf(depth_in_objects(np.full((3, 2), 7))).all()


def test_of_nothing():
    assert depth_in_objects(np.zeros((0, 3), int)).shape == (0, 3)


@settings(max_examples=60, deadline=None)
@given(arrays(np.int64, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 1, 1, 1, 2, 3])))
def test_equals_scipy_object_by_object(labels):
    found = depth_in_objects(labels)
    for i in (1, 2, 3):
        if (labels == i).any() and (labels != i).any():
            np.testing.assert_allclose(found[labels == i], distance_transform_edt(labels == i)[labels == i], rtol=1e-6)
    assert (found[labels == 0] == 0).all()
