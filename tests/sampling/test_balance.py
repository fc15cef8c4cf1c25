"""Which row is drawn: frequencies that can be worked out by hand, the same for a number whenever it is asked for."""

import numpy as np
import pytest

from malpighi.errors import DataError
from malpighi.sampling.balance import balanced_draw, row_weights


def _single(*labels, classes=2):
    return np.eye(classes + 1, dtype=np.float32)[list(labels)][:, :classes]  # label `classes`: none


def test_as_they_come_every_known_row_weighs_alike():
    rows, weights = row_weights(_single(0, 0, 0, 1), 0.0)
    assert rows.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(weights, 0.25)


def test_all_labels_alike():
    _, weights = row_weights(_single(0, 0, 0, 1), 1.0)
    np.testing.assert_allclose(weights, [1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_rows_without_a_label_are_a_label_of_their_own():
    _, weights = row_weights(_single(0, 0, 1, 2), 1.0)
    np.testing.assert_allclose(weights, [1 / 6, 1 / 6, 1 / 3, 1 / 3])


def test_halfway_the_weight_is_the_root():
    _, weights = row_weights(_single(0, 0, 0, 0, 1), 0.5)
    np.testing.assert_allclose(weights, np.array([0.5, 0.5, 0.5, 0.5, 1]) / 3)


def test_a_row_of_several_labels_weighs_as_its_rarest():
    targets = np.array([[1, 0], [1, 0], [1, 1]], np.float32)  # counts 3 and 1
    _, weights = row_weights(targets, 1.0)
    np.testing.assert_allclose(weights, np.array([1 / 3, 1 / 3, 1]) / (5 / 3))


def test_unknown_rows_are_never_drawn_and_partly_known_ones_are():
    targets = np.array([[np.nan, np.nan], [1, np.nan], [np.nan, 0]], np.float32)
    draw = balanced_draw(targets, 0.0, seed=1)
    drawn = [draw(n) for n in range(200)]
    assert set(drawn) == {1, 2}


def test_drawn_as_often_as_weighed():
    draw = balanced_draw(_single(0, 0, 0, 1), 1.0, seed=0)
    share = np.bincount([draw(n) for n in range(4000)], minlength=4) / 4000
    np.testing.assert_allclose(share, [1 / 6, 1 / 6, 1 / 6, 1 / 2], atol=4 * (0.25 / 4000) ** 0.5)


def test_a_number_is_the_same_row_in_any_order_and_another_seed_others():
    targets = _single(*([0] * 50))
    draw, again = balanced_draw(targets, 0.5, seed=3), balanced_draw(targets, 0.5, seed=3)
    assert [draw(n) for n in range(20)] == [again(n) for n in reversed(range(20))][::-1]
    assert [draw(n) for n in range(20)] != [balanced_draw(targets, 0.5, seed=4)(n) for n in range(20)]


@pytest.mark.parametrize("targets", [np.full((3, 2), np.nan, np.float32), np.zeros((0, 2), np.float32)])
def test_nothing_to_draw_from(targets):
    with pytest.raises(DataError, match="nothing to learn from"):
        balanced_draw(targets, 0.5, 0)
