"""The threshold that a stated annotation rate implies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malpighi.errors import DataError
from malpighi.sampling.pseudo import match_rate


def of(annotated, others, dtype=np.uint8):
    """One part: `annotated` voxels (probability 0: they count whatever is predicted), the rest as `others` says."""
    probability = np.array([0] * annotated + list(others), dtype)
    return probability, np.arange(len(probability)) < annotated


def test_two_of_three_by_hand():
    found = match_rate([of(6, [200, 150, 150, 100, 0, 0])], 2 / 3)
    assert (found.level, found.annotated, found.added, found.dense) == (101, 6, 3, 9)
    assert found.rate == pytest.approx(2 / 3)
    probability, annotated = of(6, [200, 150, 150, 100, 0, 0])
    assert (annotated | (probability >= found.level)).sum() == 9


def test_sixteen_bits_have_finer_steps():
    found = match_rate([of(3, [40000, 40001], np.uint16)], 0.75)
    assert (found.level, found.added) == (40001, 1)
    assert found.threshold == pytest.approx(40001 / 65535)


def test_all_annotated_adds_nothing():
    found = match_rate([of(5, [255, 255, 7])], 1.0)
    assert found.added == 0
    assert found.level == 256  # more than any probability


def test_parts_add_up_to_the_whole():
    rng = np.random.default_rng(0)
    probability, annotated = rng.integers(0, 256, 4000).astype(np.uint8), rng.random(4000) < 0.1
    whole = match_rate([(probability, annotated)], 0.3)
    parts = [(p, a) for p, a in zip(np.split(probability, 8), np.split(annotated, 8), strict=True)]
    assert match_rate(parts, 0.3) == whole


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=60), st.integers(1, 40), st.floats(0.05, 1))
def test_no_threshold_comes_nearer(others, annotated, rate):
    found = match_rate([of(annotated, others)], rate, tolerance=1)
    rates = [annotated / (annotated + sum(v >= t for v in others)) for t in range(1, 257)]
    assert abs(found.rate - rate) == pytest.approx(min(abs(r - rate) for r in rates))


def test_a_rate_too_low_says_what_can_be_had():
    with pytest.raises(DataError, match=r"x: an annotation rate of 10.0% cannot be met: .* gives 50.0%"):
        match_rate([of(2, [9, 9, 0, 0])], 0.1, "x")


def test_a_rate_between_two_steps_says_both():
    with pytest.raises(DataError, match=r"from 50.0% to 100.0%"):
        match_rate([of(2, [9, 9])], 0.7)


@pytest.mark.parametrize("rate", [0, -0.1, 1.01, 65, float("nan")])
def test_a_rate_is_a_share(rate):
    with pytest.raises(DataError, match=r"65 % is 0\.65"):
        match_rate([of(2, [9])], rate)


def test_nothing_annotated_is_an_error():
    with pytest.raises(DataError, match="nothing is annotated"):
        match_rate([of(0, [9, 8])], 0.5)
    with pytest.raises(DataError, match="nothing is annotated"):
        match_rate([], 0.5)


def test_probabilities_are_whole_numbers():
    with pytest.raises(DataError, match="uint8 or uint16"):
        match_rate([(np.array([0.5]), np.array([True]))], 0.5)
