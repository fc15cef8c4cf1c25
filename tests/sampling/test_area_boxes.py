"""Boxes balanced by their foreground: counts by hand and against plain sums, shares as asked for."""

import pickle
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malpighi.annotations.base import UNLABELLED
from malpighi.errors import DataError
from malpighi.geometry import Spacing
from malpighi.sampling import area_boxes as module
from malpighi.sampling.area_boxes import BoxCounts, area_boxes, count_boxes
from malpighi.sampling.cases import open_case
from malpighi.sampling.layouts import find_cases
from malpighi.sampling.plain_boxes import grid_round
from malpighi.sampling.regions import Weight
from sampling.drawn import Drawn

PIXELS = Spacing.pixels(2)


def _counts(foreground, labelled=None, tile=(4, 4)):
    """Boxes side by side that hold so many voxels."""
    starts = np.array([[0, 4 * i] for i in range(len(foreground))])
    told = np.full(len(foreground), 16) if labelled is None else np.array(labelled)
    return BoxCounts(starts, tile, np.array(foreground), told)


def test_counts_by_hand():
    layers = np.zeros((1, 8, 8), np.uint8)
    layers[0, :3, :3] = 1
    layers[0, 4:, 4:] = UNLABELLED
    found = count_boxes(Drawn(layers, ("cell",)), PIXELS, (4, 4))
    counted = {
        tuple(start): (f, k) for start, f, k in zip(found.starts.tolist(), found.foreground, found.labelled, strict=True)
    }
    assert counted[0, 0] == (9, 16)
    assert counted[4, 4] == (0, 0)
    assert counted[2, 2] == (1, 12)
    assert found.box(0).size == (4, 4)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([((30, 41), (8, 8)), ((5, 40), (16, 16)), ((17, 23), (7, 5)), ((9, 14, 11), (4, 6, 5)), ((3, 3), (8, 8))]),
    st.booleans(),
    st.integers(0, 1000),
    st.sampled_from([5, 9, 64]),
)
def test_counts_are_those_of_plain_sums_whatever_the_blocks(case, shifted, seed, block):
    shape, tile = case
    rng = np.random.default_rng(seed)
    layers = rng.choice(np.array([0, 1, UNLABELLED], np.uint8), (2, *shape), p=[0.6, 0.1, 0.3])
    annotation, parts = Drawn(layers, ("a", "b")), []
    whole = module.blocks_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "blocks_of", lambda shape, cell: next(iter(whole(shape, cell))).split((block,) * len(shape)))
        found = count_boxes(annotation, Spacing.pixels(len(shape)), tile, shifted, parts.append)
    assert sum(parts) == pytest.approx(1)
    assert sum(box.volume for box in annotation.asked) == np.prod(shape)  # once over
    boxes = [box.clip(shape) for _, box in grid_round([shape], tile, (), shifted)]
    assert [found.box(i).clip(shape) for i in range(len(found.starts))] == boxes
    inside = [layers[(slice(None), *box.slices)] for box in boxes]
    np.testing.assert_array_equal(found.foreground, [(part == 1).any(0).sum() for part in inside])
    np.testing.assert_array_equal(found.labelled, [(part != UNLABELLED).any(0).sum() for part in inside])


def test_bins_are_drawn_alike_however_few_boxes_they_hold():
    """Nine boxes of 1 voxel, one of 16: two bins of equal width, each half of what has foreground."""
    series = area_boxes([_counts([0] * 5 + [1] * 9 + [16])], 3, share=0.6, bins=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "OPEN", 1.0)
        series = area_boxes([_counts([0] * 5 + [1] * 9 + [16])], 3, share=0.6, bins=2)
    place = [box.start[1] // 4 for _, box in islice(series.series(), 2000)]
    assert np.mean([p >= 5 for p in place]) == pytest.approx(0.6, abs=0.05)
    assert np.mean([p == 14 for p in place]) == pytest.approx(0.3, abs=0.05)
    assert {p for p in place if p < 14} == set(range(14))
    plain = area_boxes([_counts([0] * 5 + [1] * 9 + [16])], 3, share=0.6, bins=1)
    assert np.mean([box.start[1] == 56 for _, box in islice(plain.series(), 2000)]) == pytest.approx(0.06, abs=0.025)


def test_a_giant_has_no_bin_of_its_own():
    many = [1] * 20 + [2] * 20 + [3] * 20 + [4] * 20 + [10_000]
    series = area_boxes([_counts(many)], 0, share=1, bins=4)
    place = [box.start[1] // 4 for _, box in islice(series.series(), 2000)]
    assert np.mean([p == 80 for p in place]) == pytest.approx(0.25 / 21, abs=0.01)
    assert np.bincount(np.minimum(np.array(place) // 20, 3)) / 2000 == pytest.approx([0.25] * 4, abs=0.05)


def test_unlabelled_boxes_are_never_drawn_and_weights_count():
    first, second = _counts([0, 5, 5], [16, 0, 16]), _counts([5, 5])
    series = area_boxes([first, second], 1, share=1, weights=[Weight(2), Weight(0.5)])
    drawn = [series(n) for n in range(1500)]
    assert {(case, box.start[1]) for case, box in drawn} == {(0, 8), (1, 0), (1, 4)}
    assert np.mean([case == 0 for case, _ in drawn]) == pytest.approx(2 / 3, abs=0.05)
    assert {case for case, _ in islice(area_boxes([first, second], 1, weights=[Weight(0), Weight(1)]).series(), 50)} == {1}


def test_boxes_of_one_kind_are_all_there_is():
    assert area_boxes([_counts([3, 3])], 0, share=0.0)(0)[0] == 0
    assert area_boxes([_counts([0, 0])], 0, share=1.0)(0)[0] == 0
    with pytest.raises(DataError, match="nothing is labelled"):
        area_boxes([_counts([0, 0], [0, 0])], 0)
    with pytest.raises(DataError, match="weight 0"):
        area_boxes([_counts([0, 0])], 0, weights=[Weight(0)])


def test_number_n_is_the_same_whoever_asks():
    series = area_boxes([_counts([0, 1, 2, 3, 4])], 5)
    copy = pickle.loads(pickle.dumps(series))
    assert [series(n) for n in (7, 3, 7)] == [copy(n) for n in (7, 3, 7)]


def test_shares_on_real_glands(real):
    table = find_cases(real / "colon_glands")
    cases = [open_case(case, table.classes) for case in table.cases[:4]]
    tile = (128, 128)
    counts = [count_boxes(case.annotation, case.source.space.spacing, tile) for case in cases]
    series = area_boxes(counts, 0, share=0.5, bins=4)
    drawn = list(islice(series.series(), 400))
    inside = [cases[case].annotation.rasterise(box) == 1 for case, box in drawn]
    held = np.array([part.sum() for part in inside])
    possible = any((c.foreground == 0).any() for c in counts)
    assert (held > 0).mean() == pytest.approx(0.5 if possible else 1.0, abs=4 * 0.025)
    top = np.quantile(np.concatenate([c.foreground[c.foreground > 0] for c in counts]), module.OPEN)
    place = np.minimum((np.ceil(held[held > 0] / (top / 4)) - 1).astype(int), 3)
    np.testing.assert_allclose(np.bincount(place, minlength=4) / len(place), 0.25, atol=4 * np.sqrt(0.25 * 0.75 / len(place)))
    for case in cases:
        case.close()
