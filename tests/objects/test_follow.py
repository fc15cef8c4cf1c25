import numpy as np

from malpighi.objects.follow import follow


def field(right):
    """A flow along x alone, three rows high."""
    return np.stack([np.zeros((3, len(right))), np.tile(right, (3, 1))]).astype(np.float32)


def test_pixels_that_meet_are_one_object():
    found = follow(field([1, 1, 0, -1, -1, 1, 1, 0, -1, -1]), np.ones((3, 10), bool), 50)
    assert found.tolist() == [[1] * 5 + [2] * 5] * 3


def test_nobody_walks_through_the_background():
    inside = np.ones((3, 12), bool)
    inside[:, 5:7] = False
    found = follow(field([1] * 5 + [0, 0] + [-1] * 5), inside, 50)
    assert found.tolist() == [[1] * 5 + [0, 0] + [2] * 5] * 3


def test_a_pixel_astray_joins_the_object_around_it():
    flow = np.zeros((2, 9, 20), np.float32)
    flow[1] = np.sign(np.where(np.arange(20) < 10, 4, 15) - np.arange(20))
    flow[0] = np.sign(4 - np.arange(9))[:, None]
    flow[:, 2, 2] = 0
    found = follow(flow, np.ones((9, 20), bool), 50)
    assert (found[:, :10] == 1).all()
    assert (found[:, 10:] == 2).all()


def test_without_any_flow_a_piece_is_an_object():
    inside = np.zeros((6, 8), bool)
    inside[1:3, 1:4] = inside[4:6, 5:8] = True
    found = follow(np.full((2, 6, 8), np.nan, np.float32), inside, 5)
    assert found.max() == 2
    np.testing.assert_array_equal(found > 0, inside)
