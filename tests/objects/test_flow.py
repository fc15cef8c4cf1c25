import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from malpighi.objects.flow import flow_to_middle
from objects.label_pictures import discs, neurites


def test_a_row_flows_to_its_middle_which_has_no_flow():
    flow = flow_to_middle(np.array([[0, 0, 0, 0, 0, 0, 0], [0, 4, 4, 4, 4, 4, 0], [0, 0, 0, 0, 0, 0, 0]]))
    assert flow[0].any() == 0
    assert flow[1].tolist() == [[0] * 7, [0, 1, 1, 0, -1, -1, 0], [0] * 7]


def test_two_that_touch_flow_apart():
    labels = np.zeros((9, 12), int)
    labels[2:7, 1:6], labels[2:7, 6:11] = 1, 2
    flow = flow_to_middle(labels)
    assert (flow[1, 2:7, 5] < -0.4).all()
    assert (flow[1, 2:7, 6] > 0.4).all()


def test_unit_vectors_but_for_one_pixel_an_object():
    labels = discs((80, 90), 30, 0)
    length = np.hypot(*flow_to_middle(labels))
    np.testing.assert_allclose(length[length > 0], 1, rtol=1e-5)
    assert ((length == 0) & (labels > 0)).sum() == labels.max()
    assert (length[labels == 0] == 0).all()


def ends(labels, flow, steps):
    """Where pixels arrive, each step in the nearest of the eight directions that stays in the object."""
    places = {}
    for y, x in np.argwhere(labels > 0):
        at = (y, x)
        for _ in range(steps):
            move = flow[:, at[0], at[1]]
            if not move.any():
                break
            at = tuple(np.rint(np.add(at, move)).astype(int))
        places.setdefault(labels[y, x], set()).add(at)
    return places


def test_in_bent_objects_all_ways_end_in_one_place():
    labels = neurites(96, 6, 3, length=90)
    flow = flow_to_middle(labels)
    for number, places in ends(labels, flow, 200).items():
        y, x = np.array(sorted(places)).T
        assert np.ptp(y) <= 2
        assert np.ptp(x) <= 2
        assert (labels[y, x] == number).all()


def test_a_thread_so_long_that_heat_underflows_still_leads_home():
    labels = np.zeros((3, 2001), int)
    labels[1] = 1
    flow = flow_to_middle(labels)[1, 1]
    assert (flow[:1000] == 1).all()
    assert (flow[1001:] == -1).all()


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_turned_image_has_the_turned_flow(turn):
    labels = discs((64, 64), 20, 1)
    whole, turned = flow_to_middle(labels), flow_to_middle(np.rot90(labels, turn))
    back = np.rot90(turned, -turn, (1, 2))
    for _ in range(turn):
        back = np.stack([back[1], -back[0]])
    inside = (labels > 0) & (np.hypot(*whole) > 0) & (np.hypot(*back) > 0)
    cosine = (whole * back).sum(0)[inside]
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean() < 2


@settings(max_examples=60, deadline=None)
@given(arrays(np.int64, st.tuples(st.integers(0, 9), st.integers(0, 9)), elements=st.sampled_from([-1, 0, 1, 1, 2])))
def test_any_labels_give_unit_vectors_or_none(labels):
    flow = flow_to_middle(labels)
    length = np.hypot(*flow)
    assert ((abs(length - 1) < 1e-5) | (length == 0)).all()
    assert (length[labels <= 0] == 0).all()
