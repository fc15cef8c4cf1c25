import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from malpighi.errors import DataError
from malpighi.metrics.official import ImageScore, covered, official_summary, official_text, run_overlap, shared
from malpighi.metrics.overlap import Overlap


def runs_of(mask):
    """Starts and stops of the set pixels of a flat mask, found one by one."""
    starts, stops = [], []
    for place, (before, value, after) in enumerate(zip([0, *mask[:-1]], mask, [*mask[1:], 0], strict=True)):
        if value and not before:
            starts.append(place)
        if value and not after:
            stops.append(place + 1)
    return np.array(starts, np.int64), np.array(stops, np.int64)


def test_pixels_below_a_place_by_hand():
    runs = np.array([2, 8]), np.array([5, 9])  # 2, 3, 4 and 8
    np.testing.assert_array_equal(covered(runs, np.array([0, 2, 3, 5, 7, 8, 9, 20])), [0, 0, 1, 3, 3, 3, 4, 4])


MASKS = arrays.arrays(bool, st.shared(st.integers(1, 60), key="size"))


@given(MASKS, MASKS)
def test_the_counts_are_those_of_the_pixels(predicted, true):
    found = run_overlap(runs_of(predicted), runs_of(true), len(true))
    both, p, t = (int(np.count_nonzero(each)) for each in (predicted & true, predicted, true))
    assert shared(runs_of(predicted), runs_of(true)) == both
    assert found == Overlap((both,), (p - both,), (t - both,), (int(np.count_nonzero(~predicted & ~true)),))
    score = ImageScore("a", found)
    assert score.dice == (2 * both / (p + t) if p + t else 1)
    assert score.accuracy == np.mean(predicted == true)


def test_runs_that_touch_are_one_mask():
    parted = np.array([0, 3]), np.array([3, 6])
    assert shared(parted, (np.array([1]), np.array([5]))) == 4


def test_masks_larger_than_the_image_are_refused():
    with pytest.raises(DataError, match="masks of 6 and 0 pixels in an image of 5"):
        run_overlap((np.array([0]), np.array([6])), (np.zeros(0, np.int64),) * 2, 5)


def test_the_tables_are_means_over_images():
    scores = [
        ImageScore("a", Overlap((1,), (1,), (0,), (2,)), {"organ": "lung"}),  # Dice 2/3, accuracy 3/4
        ImageScore("b", Overlap((0,), (0,), (0,), (4,)), {"organ": "lung"}),  # both empty: 1, 1
        ImageScore("c", Overlap((0,), (2,), (0,), (2,)), {}),  # 0, 1/2
    ]
    told = official_summary(scores, ["organ"])
    assert told["dice"] == pytest.approx(5 / 9)
    assert told["accuracy"] == pytest.approx(0.75)
    assert told["by"]["organ"]["lung"] == {"dice": pytest.approx(5 / 6), "accuracy": pytest.approx(0.875), "images": 2}
    assert told["by"]["organ"]["unknown"]["dice"] == 0
    assert told["cases"][0] == {
        "case": "a", "organ": "lung", "dice": pytest.approx(2 / 3), "accuracy": 0.75, "predicted_pixels": 2, "true_pixels": 1
    }  # fmt: skip
    assert official_text(told).splitlines()[2].split() == ["organ", "lung", "0.8333", "0.8750", "2"]
    with pytest.raises(DataError, match="no image is scored"):
        official_summary([])
