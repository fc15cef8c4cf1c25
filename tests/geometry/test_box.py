"""Boxes: values that a reader can check by hand, and laws that hold for all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malpighi.geometry import Box

sides = st.integers(-50, 50)


@st.composite
def boxes(draw, rank=2):
    return Box(tuple(draw(sides) for _ in range(rank)), tuple(draw(st.integers(0, 40)) for _ in range(rank)))


def test_stop_slices_and_volume():
    box = Box((1, 2), (3, 4))
    assert box.stop == (4, 6)
    assert box.volume == 12
    assert np.arange(42).reshape(6, 7)[box.slices].shape == (3, 4)
    assert str(box) == "[1:4, 2:6]"


def test_slices_before_the_array_are_refused():
    with pytest.raises(ValueError, match="clip it first"):
        _ = Box((-1, 0), (3, 3)).slices


def test_bad_boxes_are_refused():
    with pytest.raises(ValueError, match="same rank"):
        Box((0, 0), (1, 1, 1))
    with pytest.raises(ValueError, match="negative"):
        Box((0,), (-1,))


def test_boxes_are_values():
    assert Box((np.int32(1), 2), (3, 4)) == Box((1, 2), (3, 4))
    assert len({Box((0,), (1,)), Box((0,), (1,))}) == 1


def test_scale_covers_and_does_not_grow_by_rounding():
    assert Box((3, 3), (3, 3)).scale(1 / 3) == Box((1, 1), (1, 1))
    assert Box((1, 1), (1, 1)).scale(0.5) == Box((0, 0), (1, 1))
    assert Box((-3, 5), (2, 2)).scale((2, 0.5)) == Box.of_bounds((-6, 2), (-2, 4))


def test_split_cuts_along_absolute_multiples():
    pieces = list(Box((3, 0), (6, 4)).split((4, 4)))
    assert pieces == [Box((3, 0), (1, 4)), Box((4, 0), (4, 4)), Box((8, 0), (1, 4))]


@pytest.mark.parametrize("rank", [2, 3])
def test_three_dimensions_are_the_same_code(rank):
    box = Box((1,) * rank, (4,) * rank)
    assert box.grow(1) == Box((0,) * rank, (6,) * rank)
    assert box.intersect(box.shift((2,) * rank)) == Box((3,) * rank, (2,) * rank)


@given(boxes(), boxes())
def test_intersection_is_what_both_hold(a, b):
    shared = a.intersect(b)
    assert shared == b.intersect(a) or (shared.empty and b.intersect(a).empty)
    if not shared.empty:
        assert a.contains(shared)
        assert b.contains(shared)
        assert a.union(b).contains(a)
    marks = np.zeros((2, 200, 200), bool)
    for layer, box in zip(marks, (a, b), strict=True):
        layer[box.shift((60, 60)).slices] = True
    assert (marks[0] & marks[1]).sum() == shared.volume


@given(boxes(), st.integers(1, 17), st.integers(1, 17))
def test_split_partitions(box, a, b):
    pieces = list(box.split((a, b)))
    assert sum(piece.volume for piece in pieces) == box.volume
    assert all(box.contains(piece) for piece in pieces)
    assert len({piece.start for piece in pieces}) == len(pieces)


@given(boxes(rank=3), st.integers(0, 9))
def test_grow_and_shrink_undo_each_other(box, margin):
    assert box.grow(margin).grow(-margin) == box


@given(boxes(), st.integers(1, 20))
def test_snap_covers_with_whole_steps(box, step):
    snapped = box.snap((step, step))
    assert snapped.contains(box)
    assert all(v % step == 0 for v in (*snapped.start, *snapped.stop))
