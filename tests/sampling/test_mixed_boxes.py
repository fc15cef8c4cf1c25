import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malpighi.geometry import Box
from malpighi.sampling.mixed_boxes import mixed_boxes, of_cases
from malpighi.sampling.plain_boxes import grid_boxes, random_boxes

ONE, TWO = random_boxes([(20, 20)], (8, 8), 1), of_cases(random_boxes([(20, 20)], (8, 8), 2), [5])


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_number_n_is_number_n_of_one_of_them(seed, n):
    assert mixed_boxes([(0.3, ONE), (0.7, TWO)], seed)(n) in (ONE(n), TWO(n))


def test_shares_are_kept_whatever_they_add_up_to():
    for parts in ([(0.25, ONE), (0.75, TWO)], [(1, ONE), (3, TWO)]):
        series = mixed_boxes(parts, 3)
        assert np.mean([series(n)[0] == 5 for n in range(2000)]) == pytest.approx(0.75, abs=0.04)
    never = mixed_boxes([(0, ONE), (1, TWO)], 0)
    assert {never(n)[0] for n in range(100)} == {5}
    assert mixed_boxes([(1, ONE)], 0) is ONE


def test_wrong_shares_are_named():
    for parts in ([], [(0, ONE)], [(-1, ONE), (2, TWO)]):
        with pytest.raises(ValueError, match="shares"):
            mixed_boxes(parts, 0)


def test_cases_keep_their_numbers_and_series_can_be_sent():
    series = of_cases(grid_boxes([(8, 8), (8, 8)], (8, 8), shifted=False), [4, 2])
    assert [series(n) for n in range(2)] == [(4, Box((0, 0), (8, 8))), (2, Box((0, 0), (8, 8)))]
    mixed = mixed_boxes([(1, ONE), (1, TWO)], 9)
    assert [pickle.loads(pickle.dumps(mixed))(n) for n in range(9)] == [mixed(n) for n in range(9)]
