"""Cases at several spacings, labels that are probabilities, and what is told of a tile as a whole."""

from dataclasses import replace

import numpy as np
import pytest

from malpighi.annotations.base import Annotation
from malpighi.annotations.masks import MaskAnnotation
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.array import ArraySource
from malpighi.sampling.augment import PRESETS, AugmentOptions
from malpighi.sampling.cases import Case, OpenCase
from malpighi.sampling.dataset import TileBatches, as_shares

PIXELS = Spacing.pixels(2)
ZOOMS = replace(PRESETS["none"], scale=0.9, chance=1.0)


def _case(label, name="c", **attributes):
    """An image whose pixels are 200 where the label is and 20 elsewhere."""
    source = ArraySource(np.where(label, 200, 20).astype(np.uint8)[None])
    mask = MaskAnnotation(ArraySource(label[None].astype(np.uint8)), source.space, ("cell",))
    return OpenCase(Case(name, "none", attributes=attributes), source, mask)


class Soft(Annotation):
    """0.25 in the left half, unlabelled in the right."""

    soft = True

    def __init__(self, shape):
        super().__init__("soft", Space.of_shape(shape), ("cell",))
        self.half = shape[1] // 2

    def _rasterise(self, box, spacing):
        raise AssertionError("probabilities are asked for")

    def _probabilities(self, box, spacing):
        columns = np.arange(box.start[1], box.stop[1])
        values = np.where(columns < self.half, np.float32(0.25), np.float32(np.nan))
        return np.broadcast_to(values, (1, *box.size)).astype(np.float32)


def _batches(cases, draw, options=PRESETS["none"], context=1.0, batch=2, **more):
    return TileBatches(cases, draw, PIXELS, (8, 8), context, options, batch, 0, 1, **more)


def test_each_view_is_read_at_its_own_spacing():
    label = np.zeros((16, 16), bool)
    label[:8, 8:] = True
    case = _case(label)
    views = [PIXELS, PIXELS.times(2), PIXELS.times(0.5)]
    batches = _batches([case] * 3, lambda n: (n, Box((0, 0), (8, 8))), batch=3, spacings=views)
    images, targets, facts = batches.make(0)
    np.testing.assert_array_equal(targets[:, 0].sum((1, 2)), [0, 16, 0])  # all of it fits in 8 × 8 at half the resolution
    np.testing.assert_array_equal(images > 100, targets == 1)
    assert facts == {}
    with pytest.raises(ValueError, match="1 spacings for 3 cases"):
        _batches([case] * 3, lambda n: (n, Box((0, 0), (8, 8))), spacings=views[:1])


def test_the_border_mirrors_at_the_views_spacing():
    label = np.zeros((16, 16), bool)
    label[:4] = True  # rows 0 and 1 of the view
    batches = _batches([_case(label)], lambda n: (0, Box((-2, 0), (8, 8))), spacings=[PIXELS.times(2)])
    _, target = batches.read(0)
    np.testing.assert_array_equal(target[0, :, 0], [0, 1, 1, 1, 0, 0, 0, 0])  # rows 2, 1 | 0, 1, 2, …


def test_one_soft_item_makes_the_batch_one_of_shares():
    hard = _case(np.eye(8, dtype=bool))
    soft = OpenCase(Case("s", "none"), hard.source, Soft((8, 8)))
    batches = _batches([hard, soft], lambda n: (n % 2, Box((0, 0), (8, 8))))
    targets = batches.make(0).targets
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets[0, 0], np.eye(8))
    np.testing.assert_array_equal(targets[1, 0, 3], [0.25] * 4 + [np.nan] * 4)
    assert _batches([hard], lambda n: (0, Box((0, 0), (8, 8)))).make(0).targets.dtype == np.uint8


def test_beyond_the_border_shares_are_unlabelled_where_asked():
    soft = OpenCase(Case("s", "none"), ArraySource(np.zeros((1, 8, 16), np.uint8)), Soft((8, 16)))
    shifts = replace(PRESETS["none"], shift=0.5, chance=1.0, outside="unlabelled")
    targets = _batches([soft], lambda n: (0, Box((0, 0), (8, 8))), shifts, batch=6).make(0).targets
    assert set(np.unique(targets[~np.isnan(targets)])) == {0.25}
    assert np.isnan(targets).any()


def test_shares_of_layers():
    np.testing.assert_array_equal(as_shares(np.array([0, 1, 255], np.uint8)), np.array([0, 1, np.nan], np.float32))
    shares = np.array([0.5], np.float32)
    assert as_shares(shares) is shares


def test_attributes_are_numbered_and_unknown_ones_are_minus_one():
    label = np.zeros((8, 8), bool)
    cases = [_case(label, "a", organ="lung"), _case(label, "b", organ="kidney"), _case(label, "c")]
    batches = _batches(
        cases, lambda n: (n % 3, Box((0, 0), (8, 8))), batch=4, tells=("organ",), told={"organ": ("kidney", "lung")}
    )
    facts = batches.make(0).facts
    assert facts["organ"].dtype == np.int64
    np.testing.assert_array_equal(facts["organ"], [1, 0, -1, 1])


def test_pixel_size_is_that_of_the_view_in_octaves():
    cases = [_case(np.zeros((32, 32), bool))] * 3
    views = [PIXELS, PIXELS.times(2), PIXELS.times(0.5)]
    batches = _batches(cases, lambda n: (n, Box((0, 0), (8, 8))), batch=3, spacings=views, tells=("pixel_size",))
    facts = batches.make(0).facts
    assert facts["pixel_size"].dtype == np.float32
    np.testing.assert_allclose(facts["pixel_size"], [0, 1, -1])


def test_pixel_size_follows_the_zoom_as_measured_in_the_tile():
    """A square of 100 pixels a side covers 100² / size² pixels of a tile whose pixels are `size` as large."""
    label = np.zeros((400, 400), bool)
    label[150:250, 150:250] = True
    case = _case(label)
    batches = TileBatches(
        [case], lambda n: (0, Box((100, 100), (200, 200))), PIXELS, (200, 200), 1.5, ZOOMS, 8, 5, 1, tells=("pixel_size",)
    )
    _, targets, facts = batches.make(0)
    measured = 0.5 * np.log2(100**2 / targets[:, 0].sum((1, 2)))
    assert np.ptp(measured) > 0.5
    np.testing.assert_allclose(facts["pixel_size"], measured, atol=0.03)


def test_the_fact_is_the_warps_that_augment_draws_whatever_else_it_draws():
    label = np.zeros((96, 96), bool)
    label[32:64, 32:64] = True
    options = AugmentOptions(scale=0.5, shift=0, shear=0, elastic=0, chance=1.0, blur=0, noise=0)
    batches = TileBatches(
        [_case(label)], lambda n: (0, Box((8, 8), (80, 80))), PIXELS, (80, 80), 1.2, options, 8, 2, 1, tells=("pixel_size",)
    )
    _, targets, facts = batches.make(3)
    measured = 0.5 * np.log2(32**2 / targets[:, 0].sum((1, 2)))
    np.testing.assert_allclose(facts["pixel_size"], measured, atol=0.05)
