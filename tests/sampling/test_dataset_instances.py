"""Targets of object numbers: renumbered, warped, parted, and made into layers last."""

import numpy as np

from malpighi.annotations.masks import MaskAnnotation
from malpighi.geometry import Box, Spacing
from malpighi.images.array import ArraySource
from malpighi.sampling.augment import PRESETS
from malpighi.sampling.cases import Case, OpenCase
from malpighi.sampling.dataset import TileBatches, parted, tile_numbers

PIXELS = Spacing.pixels(2)


def _labels():
    """Two squares that touch (numbers 900 and 40,000), one that does not, and a column that nobody labelled."""
    labels = np.zeros((40, 48), np.uint16)
    labels[8:16, 8:16], labels[8:16, 16:24], labels[24:36, 4:16] = 900, 40_000, 7
    labels[:, 44:] = 65_535
    return labels


def _case(labels, unlabelled=None):
    source = ArraySource((labels > 0).astype(np.uint8)[None] * 200)
    mask = MaskAnnotation(ArraySource(labels[None]), source.space, ("nucleus",), unlabelled=unlabelled)
    return OpenCase(Case("a", "none"), source, mask)


def test_numbers_of_a_tile_are_small_and_unlabelled_is_kept():
    case = _case(_labels(), unlabelled=65_535)
    found = tile_numbers(case.annotation, Box((0, 0), (40, 48)), PIXELS)
    assert found.dtype == np.uint16
    assert {int(found[30, 8]), int(found[10, 10]), int(found[10, 20])} == {1, 2, 3}
    assert (found[:, 44:] == 255).all()
    assert (found[20] == np.where(np.arange(48) < 44, 0, 255)).all()


def test_no_object_gets_the_number_that_says_unlabelled():
    labels = np.zeros((64, 64), np.uint16)
    labels[::2, ::2] = np.arange(1, 1025).reshape(32, 32)
    found = tile_numbers(_case(labels).annotation, Box((0, 0), (64, 64)), PIXELS)
    assert len(np.unique(found[::2, ::2])) == 1024
    assert not (found == 255).any()


def test_a_mask_gives_its_connected_components():
    mask = (_labels() == 7).astype(np.uint8)
    mask[2:5, 30:33] = 1
    found = tile_numbers(_case(mask).annotation, Box((0, 0), (40, 48)), PIXELS)
    assert sorted(np.unique(found)) == [0, 1, 2]
    assert found[30, 8] != found[3, 31]


def test_what_is_shown_twice_is_two_objects_and_touching_ones_stay_apart():
    numbers = np.array([[1, 0, 1, 2, 255]], np.uint16)
    found = parted(numbers)[0].tolist()
    assert found[1] == 0
    assert found[4] == -1
    assert len({found[0], found[2], found[3]}) == 3


def _batches(kind, tile=(32, 32), preset="none"):
    case = _case(_labels(), unlabelled=65_535)
    return TileBatches([case], lambda n: (0, Box((4, 2), tile)), PIXELS, tile, 1.5, PRESETS[preset], 2, 0, 1, kind)


def test_layers_of_distance():
    images, targets, _ = _batches("distance").make(0)
    assert images.shape == (2, 1, 32, 32)
    assert targets.shape == (2, 2, 32, 32)
    assert targets.dtype == np.float32
    labels = _labels()[4:36, 2:34]
    np.testing.assert_array_equal(targets[0, 0] == 1, labels > 0)
    depth = targets[0, 1]
    assert depth[labels == 0].max() == 0
    # each of the two that touch is deepest in its own middle, and shallow where they touch
    assert depth[8, 10] > 0.8
    assert depth[8, 18] > 0.8
    assert depth[8, 13:15].max() < 0.5


def test_a_warp_comes_before_the_layers():
    batches = _batches("flow", preset="standard")
    batches = TileBatches(**{**batches.__dict__, "batch": 6})
    _images, targets, _ = batches.make(1)
    assert targets.shape == (6, 3, 32, 32)
    inside = targets[:, 0] == 1
    assert inside.any()
    length = np.hypot(*(2 * targets[:, 1:].transpose(1, 0, 2, 3) - 1))[inside]
    assert np.median(length) > 0.95  # unit vectors: interpolated ones would be shorter
    assert np.nanmin(targets) >= 0
    assert np.nanmax(targets) <= 1


def test_numbers_as_large_as_a_type_holds_are_renumbered_too():
    labels = np.zeros((8, 8), np.int32)
    labels[0, 0], labels[5, 5], labels[7, :] = 2**31 - 1, 4, 2**30
    found = tile_numbers(_case(labels).annotation, Box((0, 0), (8, 8)), PIXELS)
    assert (found[5, 5], found[7, 3], found[0, 0], found[1, 1]) == (1, 2, 3, 0)
