"""Blank rules: sums by hand, against plain statistics of the pixels, and on real tissue."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malpighi.errors import DataError
from malpighi.geometry import Box, Spacing
from malpighi.images.array import ArraySource
from malpighi.sampling import blank_tiles as module
from malpighi.sampling.blank_tiles import measure_tiles
from malpighi.sampling.boxes import SamplerOptions, sampler
from malpighi.sampling.cases import open_case
from malpighi.sampling.layouts import find_cases

PIXELS = Spacing.pixels(2)


def _grey(values):
    return ArraySource(np.repeat(np.asarray(values, np.uint8)[None], 3, 0), channels=("red", "green", "blue"))


def test_deviation_by_hand():
    """Left half 100, right half 0 and 200 in turns: deviations 0 and 100."""
    values = np.full((16, 16), 100)
    values[:, 8::2], values[:, 9::2] = 0, 200
    sums = measure_tiles(_grey(values), PIXELS, (8, 8), 10, 1)
    assert sums.cell == (1, 1)
    np.testing.assert_array_equal(sums.of(Box((0, 8), (8, 8))), [64, 6400, 64 * (100**2 + 100**2), 0])
    sums = measure_tiles(_grey(values), PIXELS, (8, 8), 10, 0)
    assert sums.blank(Box((0, 0), (8, 8)))
    assert not sums.blank(Box((0, 8), (8, 8)))
    assert not sums.blank(Box((0, 1), (8, 8)))  # one column in eight: a deviation of 33


def test_saturation_of_one_pixel_in_a_hundred():
    pixels = np.full((3, 20, 20), 200, np.uint8)
    pixels[1:, 0, :4] = 150  # saturation 255 · 50 / 200 = 64
    source = ArraySource(pixels, channels=("red", "green", "blue"))
    for least, blank in ((40, False), (64, False), (65, True)):
        assert measure_tiles(source, PIXELS, (20, 20), 0, least).blank(Box((0, 0), (20, 20))) is blank
    pixels[1:, 0, 3] = 200  # three of 400: less than one in a hundred
    assert measure_tiles(source, PIXELS, (20, 20), 0, 40).blank(Box((0, 0), (20, 20)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([(37, 50), (16, 16), (5, 70)]), st.sampled_from([(8, 8), (16, 24), (40, 40)]))
def test_sums_are_those_of_the_nearest_cells(seed, shape, tile):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (3, *shape), np.uint8)
    source = ArraySource(pixels, channels=("red", "green", "blue"))
    parts = []
    sums = measure_tiles(source, PIXELS, tile, 10, 40, parts.append)
    assert sum(parts) == pytest.approx(1)
    image = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(int)
    vivid = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1] >= 40
    start = [int(rng.integers(min(0, n - t), max(0, n - t) + 1)) for n, t in zip(shape, tile, strict=True)]
    box = Box(tuple(start), tile)
    near = []
    for a, b, c, n in zip(box.clip(shape).start, box.clip(shape).stop, sums.cell, shape, strict=True):
        cells = -(-n // c)
        first = min(round(a / c), cells - 1)
        near.append(slice(first * c, n if b == n else min(max(first + 1, round(b / c)), cells) * c))
        assert abs(near[-1].start - a) <= max(c / 2, c - 1)
        assert abs(min(near[-1].stop, n) - b) <= c
    part = tuple(near)
    expected = [grey[part].size, grey[part].sum(), (grey[part] ** 2).sum(), vivid[part].sum()]
    np.testing.assert_array_equal(sums.of(box), expected)


def test_blocks_change_nothing(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 90, 70), np.uint8)
    source = ArraySource(pixels, channels=("red", "green", "blue"))
    whole = measure_tiles(source, PIXELS, (32, 32), 10, 40)
    monkeypatch.setattr(module, "blocks_of", lambda shape, cell: Box.of_shape(shape).split((24, 24)))
    np.testing.assert_array_equal(measure_tiles(source, PIXELS, (32, 32), 10, 40).sums, whole.sums)


def test_other_images_are_refused():
    for source in (ArraySource(np.zeros((1, 8, 8), np.uint8)), ArraySource(np.zeros((3, 8, 8), np.uint16))):
        with pytest.raises(DataError, match="need 8-bit RGB images: set both to 0"):
            measure_tiles(source, PIXELS, (8, 8), 10, 0)


def test_grids_leave_blank_boxes_out_and_say_when_none_is_left():
    values = np.full((64, 64), 255)
    values[:32, ::2] = 0
    blank = [measure_tiles(_grey(values), PIXELS, (32, 32), 10, 0)]
    series = sampler(SamplerOptions("grid", shifted=False), [(64, 64)], (32, 32), 0, blank=blank)
    assert {series(n)[1].start for n in range(20)} == {(0, 0), (0, 32)}
    drawn = sampler(SamplerOptions("random"), [(64, 64)], (32, 32), 0, blank=blank)
    assert np.mean([blank[0].blank(drawn(n)[1]) for n in range(200)]) < 0.01
    white = [measure_tiles(_grey(np.full((64, 64), 255)), PIXELS, (32, 32), 10, 0)]
    with pytest.raises(DataError, match=r"all 4 boxes of .* are blank"):
        sampler(SamplerOptions("grid", shifted=False), [(64, 64)], (32, 32), 0, blank=white)


def test_real_tissue_is_not_blank_and_its_std_is_nearly_exact(real):
    table = find_cases(real / "colon_glands")
    with open_case(table.cases[0], table.classes) as case:
        spacing, tile = case.source.space.spacing, (128, 128)
        sums = measure_tiles(case.source, spacing, tile, 10, 40)
        drawn = sampler(SamplerOptions("random"), [case.source.space.shape], tile, 0)
        for n in range(40):
            box = drawn(n)[1]
            assert not sums.blank(box)
            grey = cv2.cvtColor(np.ascontiguousarray(case.source.read(box, 0).transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)
            pixels, total, squares, _ = sums.of(box)
            assert np.sqrt(squares / pixels - (total / pixels) ** 2) == pytest.approx(grey.std(), rel=0.06)
