import numpy as np
import pytest

from malpighi.errors import DataError
from malpighi.objects.instances import LAYERS
from malpighi.sampling.instance_targets import instance_targets

KINDS = ("distance", "flow")


def test_distance_by_hand():
    found = instance_targets(np.array([[[0, 5, 5, 5, 5, 0, 9, 9]]]), "distance")
    assert found.dtype == np.float32
    assert found[0, 0].tolist() == [[0, 1, 1, 1, 1, 0, 1, 1]]
    assert found[0, 1].tolist() == [[0, 0.5, 1, 1, 0.5, 0, 0.5, 1]]  # the tile's border is not the object's


def test_flow_by_hand():
    labels = np.zeros((1, 3, 7), int)
    labels[0, 1, 1:6] = 3
    foreground, down, right = instance_targets(labels, "flow")[0]
    assert foreground[1].tolist() == [0, 1, 1, 1, 1, 1, 0]
    assert (down == 0.5).all()
    assert right[1].tolist() == [0.5, 1, 1, 0.5, 0, 0, 0.5]


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_said_is_nan_in_all_layers_and_only_there(kind):
    labels = np.random.default_rng(0).integers(-1, 4, (3, 20, 17))
    found = instance_targets(labels, kind)
    assert found.shape == (3, len(LAYERS[kind]), 20, 17)
    np.testing.assert_array_equal(np.isnan(found), np.broadcast_to(labels[:, None] < 0, found.shape))
    assert np.nanmin(found) >= 0
    assert np.nanmax(found) <= 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [-1, 0, 70_000])
def test_tiles_of_one_kind(kind, value):
    found = instance_targets(np.full((2, 4, 5), value, np.int32), kind)
    if value < 0:
        assert np.isnan(found).all()
    elif value == 0:
        assert (found == (0.0 if kind == "distance" else np.array([0, 0.5, 0.5])[:, None, None])).all()
    else:
        assert (found[:, 0] == 1).all()
        assert (found[:, 1] == 1).all() or kind == "flow"


def test_large_and_unsigned_numbers():
    labels = np.array([[[0, 4_000_000_000, 4_000_000_000, 0]]], np.uint32)
    assert instance_targets(labels, "distance")[0, 1].tolist() == [[0, 1, 1, 0]]


def test_wrong_labels_and_kinds_are_refused():
    with pytest.raises(DataError, match=r"\(batch, y, x\) integers"):
        instance_targets(np.zeros((4, 4), int), "flow")
    with pytest.raises(DataError, match="float64"):
        instance_targets(np.zeros((1, 4, 4)), "flow")
    with pytest.raises(ValueError, match="distance, flow"):
        instance_targets(np.zeros((1, 4, 4), int), "none")
