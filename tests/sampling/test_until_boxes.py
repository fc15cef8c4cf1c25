"""Boxes drawn again until they hold foreground, or are not blank."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malpighi.annotations.base import UNLABELLED
from malpighi.geometry import Box, Spacing
from malpighi.sampling.boxes import SamplerOptions, sampler
from malpighi.sampling.cases import open_case
from malpighi.sampling.foreground import find_held
from malpighi.sampling.labelled import find_labelled
from malpighi.sampling.layouts import find_cases
from malpighi.sampling.plain_boxes import Sampler, random_boxes
from malpighi.sampling.regions import Weight
from malpighi.sampling.until_boxes import tissue_boxes, until_boxes
from sampling.drawn import Drawn

PIXELS = Spacing.pixels(2)


def _corner(side=4):
    layers = np.zeros((1, 64, 64), np.uint8)
    layers[0, :side, :side] = 1
    layers[0, 32:] = UNLABELLED
    return Drawn(layers, ("cell",))


def test_cells_that_hold_foreground_by_hand():
    held = find_held(_corner(), PIXELS, (16, 16))
    assert held.cell == (2, 2)
    assert held.cells.sum() == 4
    assert held.any(Box((0, 0), (16, 16)))
    assert held.any(Box((2, 2), (16, 16)))
    assert not held.any(Box((3, 3), (16, 16)))  # one pixel of it is left, in the box's outer eighth


@given(st.integers(0, 100), st.integers(1, 12))
def test_the_last_of_so_many_draws_stands(seed, tries):
    """With one box there is nothing to wait for; where all holds foreground the first is taken."""
    full = find_held(Drawn(np.ones((1, 64, 64), np.uint8), ("cell",)), PIXELS, (16, 16))
    empty = find_held(Drawn(np.zeros((1, 64, 64), np.uint8), ("cell",)), PIXELS, (16, 16))
    first = until_boxes([(64, 64)], (16, 16), seed, [full], 1.0, tries)
    assert first(3) == until_boxes([(64, 64)], (16, 16), seed, [empty], 1.0, 1)(3)
    assert until_boxes([(64, 64)], (16, 16), seed, [empty], 0.0, tries)(3) == first(3)


def test_more_draws_find_more():
    """A random box starts in one of 49² places, and 15² of them hold a whole cell, of 2 × 2, of a corner of 16 × 16."""
    held = [find_held(_corner(16), PIXELS, (16, 16))]
    chance = (15 / 49) ** 2

    def found(share, tries, count=500):
        series = until_boxes([(64, 64)], (16, 16), 7, held, share, tries)
        return np.mean([held[0].any(series(n)[1]) for n in range(count)])

    assert found(1.0, 1) == pytest.approx(chance, abs=0.05)
    assert found(1.0, 8) == pytest.approx(1 - (1 - chance) ** 8, abs=0.08)
    assert found(0.5, 8) == pytest.approx(0.5 * chance + 0.5 * (1 - (1 - chance) ** 8), abs=0.08)


def test_the_kind_goes_with_sparse_labels_and_weights():
    corner, held = _corner(), [find_held(_corner(), PIXELS, (16, 16))] * 2
    labelled = [find_labelled(corner, PIXELS, (16, 16))] * 2
    options = SamplerOptions("until", foreground=0.5)
    series = sampler(options, [(64, 64)] * 2, (16, 16), 1, (), labelled, held=held, weights=[Weight(1), Weight(0)])
    boxes = [series(n) for n in range(100)]
    assert {case for case, _ in boxes} == {0}
    assert all(box.start[0] < 32 for _, box in boxes)
    copy = pickle.loads(pickle.dumps(series))
    assert [copy(n) for n in (5, 2)] == [boxes[5], boxes[2]]
    with pytest.raises(ValueError, match="give one a case"):
        until_boxes([(64, 64)], (16, 16), 1, [])


class Left:
    """Takes boxes that start in the left half for blank."""

    def blank(self, box):
        return box.start[1] < 24


def test_blank_boxes_are_drawn_again_and_in_the_end_taken():
    make = lambda seed: random_boxes([(64, 64)], (16, 16), seed)  # noqa: E731
    drawn = [tissue_boxes(make, 3, [Left()])(n)[1].start[1] for n in range(1500)]
    assert np.mean(np.array(drawn) < 24) == pytest.approx((24 / 49) ** 8, abs=0.006)
    always = lambda seed: Sampler(lambda n: (0, Box((0, seed % 7), (16, 16))))  # noqa: E731
    assert tissue_boxes(always, 3, [Left()])(0)[1].start[1] < 24


def test_a_share_of_real_boxes_holds_glands(real):
    table = find_cases(real / "colon_glands")
    with open_case(table.cases[0], table.classes) as case:
        spacing, tile = case.source.space.spacing, (96, 96)
        held = [find_held(case.annotation, spacing, tile)]
        shape = case.source.space.shape
        plain, until = (until_boxes([shape], tile, 0, held, share, 25) for share in (0.0, 1.0))
        boxes = [until(n)[1] for n in range(150)]
        shares = [np.mean([held[0].any(series(n)[1]) for n in range(150)]) for series in (plain, until)]
        truly = np.mean([(case.annotation.rasterise(box) == 1).any() for box in boxes])
    assert shares[0] < 1
    assert shares[1] == 1
    assert truly == 1  # what the cells say holds in the pixels
