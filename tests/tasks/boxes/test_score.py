import numpy as np

from malpighi.models.box_targets import tile_boxes
from malpighi.tasks.boxes.detect import Detections
from malpighi.tasks.boxes.score import matched


def truth():
    target = np.zeros((2, 40, 40), np.uint8)
    target[0, 0:10, 0:10] = 1
    target[1, 20:30, 20:30] = 1
    target[0, 30:, 30:] = 255
    return tile_boxes(target)


def found(*rows):
    bounds = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    return Detections(bounds, np.array([row[4] for row in rows], np.float32), np.array([row[5] for row in rows], np.int64))


def test_hits_boxes_and_true_boxes_by_hand():
    # 1: IoU 80 / 120 = .67; 2: the right place, the wrong class; 3: a second box of an object that is taken
    told = matched(found((2, 0, 10, 12, 0.9, 0), (20, 20, 30, 30, 0.8, 0), (0, 0, 10, 10, 0.7, 0)), truth())
    assert told.tolist() == [1, 3, 2]


def test_less_than_half_is_no_hit():
    assert matched(found((5, 0, 15, 10, 0.9, 0)), truth()).tolist() == [0, 1, 2]  # 50 / 150


def test_where_nobody_said_a_box_does_not_count():
    assert matched(found((32, 32, 38, 38, 0.9, 0)), truth()).tolist() == [0, 0, 2]
    assert matched(found((32, 32, 38, 38, 0.9, 1)), truth()).tolist() == [0, 1, 2]


def test_nothing_found():
    assert matched(found(), truth()).tolist() == [0, 0, 2]
