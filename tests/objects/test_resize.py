"""Images to a working size, labels back."""

import numpy as np
import pytest

from malpighi.objects.resize import enlarge_labels, shrink, shrink_labels


def test_a_pixel_is_the_mean_of_what_it_covers():
    image = np.arange(16, dtype=np.uint16).reshape(4, 4)
    np.testing.assert_allclose(shrink(image, 0.5), [[2.5, 4.5], [10.5, 12.5]])
    assert shrink(image, 0.01).shape == (1, 1)
    assert shrink(image > 7, 0.5).tolist() == [[0, 0], [1, 1]]


def test_labels_have_the_label_at_the_centre():
    labels = np.repeat(np.repeat(np.array([[1, 2], [0, 3]]), 3, axis=0), 3, axis=1)
    np.testing.assert_array_equal(shrink_labels(labels, (2, 2)), [[1, 2], [0, 3]])


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_straight_borders_are_where_they_were(factor):
    labels = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [0, 0, 3, 3], [0, 0, 3, 3]], np.int32)
    large = enlarge_labels(labels, (4 * factor, 4 * factor))
    assert (large[0] == np.repeat(labels[0], factor)).all()
    assert set(np.unique(large)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(shrink_labels(large, (4, 4)), labels)


def test_a_slanted_border_has_no_stairs():
    labels = np.tril(np.ones((20, 20), np.int32))
    large = enlarge_labels(labels, (160, 160))
    steps = np.diff(large[40:120].sum(axis=1))
    assert steps.max() <= 3  # repeated pixels would step by 8
    assert steps.min() >= 0
