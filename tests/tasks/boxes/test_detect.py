"""A detector that finds every bright blob of the tile it is given, slid over drawn images."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from malpighi.geometry import Spacing
from malpighi.images.array import ArraySource
from malpighi.sampling.intensity import Intensity
from malpighi.tasks.boxes.detect import Detections, detect, once

PLAIN = Intensity.identity(1)


def blobs(images):
    """What a perfect detector would say: the box of each blob that is in the tile, cut where the tile cuts it."""
    found = []
    for image in images:
        mask = (image[0].numpy() > 0).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        boxes = [[x, y, x + w, y + h] for x, y, w, h, _ in stats[1:count].tolist()]
        # a cut blob is the surer one here, so that only its border tells it from the whole one
        scores = [1 - (b[2] - b[0]) * (b[3] - b[1]) / mask.size for b in boxes]
        found.append({
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "scores": torch.tensor(scores),
            "labels": torch.zeros(len(boxes), dtype=torch.int64),
        })  # fmt: skip
    return found


BLOB = SimpleNamespace(net=blobs)


def drawn(shape, boxes):
    image = np.zeros((1, *shape), np.uint8)
    for y0, x0, y1, x1 in boxes:
        image[0, y0:y1, x0:x1] = 255
    return ArraySource(image, Spacing.um(1.0), ("grey",))


def found_in(shape, boxes, tile=(64, 64), **more):
    source = drawn(shape, boxes)
    return detect(BLOB, source, source.space.spacing, PLAIN, tile, batch=3, **more)


def bounds(found):
    return sorted(found.bounds.astype(int).tolist())


@pytest.mark.parametrize("shape", [(200, 180), (65, 300), (40, 50)])
def test_each_object_is_found_once_and_whole(shape):
    rng = np.random.default_rng(4)
    boxes = []
    for _ in range(60):
        height, width = rng.integers(4, 26, 2)
        y, x = rng.integers(0, shape[0] - height + 1), rng.integers(0, shape[1] - width + 1)
        new = [int(y), int(x), int(y + height), int(x + width)]
        if all(new[0] > b[2] or b[0] > new[2] or new[1] > b[3] or b[1] > new[3] for b in boxes):
            boxes.append(new)
    assert bounds(found_in(shape, boxes)) == sorted(boxes)


def test_what_no_tile_sees_whole_is_left_to_the_mask():
    """Of an object wider than a tile each tile sees a part, and the box around a part is no object's."""
    small = [45, 200, 60, 220]
    assert bounds(found_in((64, 400), [[20, 10, 30, 390], small])) == [small]


def test_objects_at_the_images_border_stay():
    boxes = [[0, 0, 10, 12], [90, 88, 100, 100]]
    assert bounds(found_in((100, 100), boxes)) == boxes


def test_only_the_tiles_that_are_kept_are_read():
    asked = []

    def keep(box):
        asked.append(box)
        return box.stop[1] <= 100

    found = found_in((100, 300), [[20, 20, 30, 30], [20, 220, 30, 230]], keep=keep)
    assert bounds(found) == [[20, 20, 30, 30]]
    assert all(box.clip((100, 300)) == box for box in asked)


def test_an_empty_image_and_a_limit():
    assert len(found_in((100, 100), [])) == 0
    assert found_in((100, 100), []).bounds.shape == (0, 4)
    assert len(found_in((100, 100), [[0, 0, 40, 40]], least=0.99)) == 0


def test_boxes_of_two_classes_do_not_put_each_other_out():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [0, 0, 10, 10]], np.float32)
    found = once(Detections(boxes, np.array([0.5, 0.9, 0.7], np.float32), np.array([0, 0, 1])))
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])
    assert found.labels.tolist() == [0, 1]


def test_progress_counts_tiles():
    steps = []
    found_in((100, 100), [], advance=lambda n, total: steps.append((n, total)))
    assert steps == [(1, 16)] * 16  # a step of 32: 4 × 4 cores
