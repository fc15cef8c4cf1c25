import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt

from malpighi.geometry import Spacing
from malpighi.objects import distance as module
from malpighi.objects.distance import DistanceMap, distance_to
from objects.tubes import blocks


def test_by_hand():
    mask = np.zeros((1, 1, 5), bool)
    mask[0, 0, 1] = True
    assert distance_to(mask, (1, 1, 2)).tolist() == [[[2, 0, 2, 4, 6]]]


def test_without_a_mask_everything_is_infinitely_far():
    assert np.isinf(distance_to(np.zeros((2, 3, 4), bool), (1, 1, 1))).all()


@settings(max_examples=40, deadline=None)
@given(mask=arrays(bool, (6, 5, 8), elements=st.booleans()), spacing=st.tuples(*[st.floats(0.2, 5)] * 3))
def test_equals_scipy(mask, spacing):
    mask[2, 2, 2] = True
    np.testing.assert_allclose(
        distance_to(mask, spacing), distance_transform_edt(~mask, sampling=spacing), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("spacing", [(1, 1, 1), (5, 1, 0.5)])
def test_streamed_equals_whole(spacing):
    mask = np.random.default_rng(0).random((30, 40, 50)) > 0.9995
    whole = distance_transform_edt(~mask, sampling=spacing)
    found = DistanceMap(blocks(mask, 16), Spacing.um(spacing))
    for box in found.mask.blocks():
        np.testing.assert_allclose(found(box), whole[box.slices], rtol=1e-5, atol=1e-5)
    assert found.longest >= whole.max()


def test_far_away_distances_are_off_by_a_cell_at_most(monkeypatch):
    monkeypatch.setattr(module, "EXACT", 6)
    mask = np.random.default_rng(1).random((40, 40, 40)) > 0.9998
    whole = distance_transform_edt(~mask)
    found = DistanceMap(blocks(mask, 16), Spacing.um(1, 3))
    for box in found.mask.blocks():
        error = np.abs(found(box) - whole[box.slices])
        assert error.max() <= 4 * 3**0.5 + 1e-5
        assert error[whole[box.slices] <= 6].max(initial=0) < 1e-5
