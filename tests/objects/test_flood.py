import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label
from skimage.morphology import reconstruction

from malpighi.objects.flood import hills


def test_by_hand():
    height = np.array([[0.2, 0.9, 0.5, 0.8, 0.1, 0.0, 0.3]])
    inside = np.array([[1, 1, 1, 1, 1, 0, 1]], bool)
    assert hills(height, inside, 0.2).tolist() == [[1, 1, 1, 2, 2, 0, 3]]
    assert hills(height, inside, 0.4).tolist() == [[1, 1, 1, 1, 1, 0, 2]]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("saddle", [0.05, 0.2])
def test_a_hill_for_each_h_maximum_of_scikit_image(seed, saddle):
    height = gaussian_filter(np.random.default_rng(seed).random((60, 70)), 2.5)
    height = np.round((height - height.min()) / np.ptp(height) * 4000) / 4095  # of as many grades as are told apart
    found = hills(height, np.ones(height.shape, bool), saddle)
    risen = height - reconstruction(height - saddle, height)
    peaks, count = label(risen >= saddle - 1e-6, np.ones((3, 3)))
    assert found.max() == count
    assert len(np.unique(found[peaks > 0])) == count


def test_what_is_not_a_number_is_the_bottom():
    assert hills(np.array([[np.nan, 0.5, np.inf]]), np.ones((1, 3), bool), 0.3).tolist() == [[1, 1, 1]]
