import csv
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from malpighi.annotations.rle import RunLengths
from malpighi.errors import DataError
from malpighi.geometry import Box

MASK = np.array([[0, 1, 0], [1, 1, 0]], np.uint8)
masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda s: arrays(np.uint8, s, elements=st.integers(0, 1)))
orders = st.sampled_from(["F", "C"])


def test_column_major_counts_down_the_columns_from_one():
    # columns: (0 1) (1 1) (0 0): voxels 2, 3 and 4 of the flattened mask
    assert RunLengths.encode(MASK, "F").text() == "2 3"


def test_row_major_counts_along_the_rows_from_one():
    assert RunLengths.encode(MASK, "C").text() == "2 1 4 2"


@pytest.mark.parametrize("text", ["", "  ", "1 0"])
def test_empty_masks_are_read(text):
    runs = RunLengths.parse(text, (2, 3))
    assert len(runs) == 0
    assert not runs.decode().any()


def test_empty_masks_are_written_as_the_competition_wants():
    runs = RunLengths.encode(np.zeros((2, 3)))
    assert (runs.text(), runs.text("1 0")) == ("", "1 0")


@given(masks, orders)
def test_text_gives_the_mask_back(mask, order):
    text = RunLengths.encode(mask, order).text()
    np.testing.assert_array_equal(RunLengths.parse(text, mask.shape, order).decode(), mask)


@given(masks, orders)
def test_runs_are_those_of_a_plain_loop(mask, order):
    flat, pairs, start = mask.flatten(order), [], None
    for i, value in enumerate([*flat, 0]):
        if value and start is None:
            start = i
        if not value and start is not None:
            pairs += [start + 1, i - start]
            start = None
    assert RunLengths.encode(mask, order).text() == " ".join(map(str, pairs))


@given(masks, orders, st.data())
def test_a_box_is_that_part_of_the_whole(mask, order, data):
    y0, x0 = (data.draw(st.integers(0, n)) for n in mask.shape)
    y1, x1 = data.draw(st.integers(y0, mask.shape[0])), data.draw(st.integers(x0, mask.shape[1]))
    part = RunLengths.encode(mask, order).decode(Box.of_bounds((y0, x0), (y1, x1)))
    np.testing.assert_array_equal(part, mask[y0:y1, x0:x1])


@given(masks, orders, st.data())
def test_sampled_rows_and_columns_are_those_of_the_whole(mask, order, data):
    rows, columns = (np.array(sorted(data.draw(st.lists(st.integers(0, n - 1), max_size=5))), int) for n in mask.shape)
    np.testing.assert_array_equal(RunLengths.encode(mask, order).sample(rows, columns), mask[np.ix_(rows, columns)])


@pytest.mark.parametrize("order", ["F", "C"])
def test_bands_are_joined(order, monkeypatch):
    mask = np.random.default_rng(0).random((37, 29)) < 0.6
    monkeypatch.setattr("malpighi.annotations.rle.BAND", 100)
    asked = []

    def read(box):
        asked.append(box)
        return mask[box.slices]

    runs = RunLengths.encode_boxes(read, mask.shape, order, multiple=1)
    assert len(asked) > 5
    assert max(box.volume for box in asked) <= 100
    assert runs.text() == RunLengths.encode(mask, order).text()


def test_a_run_goes_on_in_the_next_column():
    np.testing.assert_array_equal(RunLengths.parse("2 2", (2, 2)).decode(), [[0, 1], [1, 0]])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 2 5", "one is missing"),
        ("1 2 x 3", "pair 2 holds 'x'"),
        ("1 2 -4 3", "pair 2 holds '-4'"),
        ("1 2 4 1.5", "pair 2 holds '1.5'"),
        ("0 2", "pair 1 .*1 or more"),
        ("1 2 4 0", "pair 2 .*1 or more"),
        ("1 2 5 3", r"pair 2 \(5 3\) runs past the end of the mask of 2 × 3"),
        ("1 2 99999999999999999999 3", "pair 2 .*past the end"),
        ("1 3 3 2", "pair 2 .*begins before"),
        ("4 1 1 1", "pair 2 .*begins before"),
    ],
)
def test_a_wrong_pair_is_named(text, says):
    with pytest.raises(DataError, match=f"train.csv, row a: .*{says}"):
        RunLengths.parse(text, (2, 3), name="train.csv, row a")


def test_runs_may_touch():
    assert RunLengths.parse("1 2 3 1", (2, 3)).area == 3


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused_plainly(text):
    with suppress(DataError):
        assert RunLengths.parse(text, (5, 5)).decode().shape == (5, 5)


@pytest.mark.real_data
def test_a_gigapixel_mask_is_read_box_by_box(real):
    csv.field_size_limit(sys.maxsize)
    with open(real / "hubmap_kidney" / "train.csv", newline="") as file:
        text = dict(csv.reader(file))["2f6ecfcdf"]
    shape = (31278, 25794)
    runs = RunLengths.parse(text, shape)
    assert len(runs) == 41_688
    assert runs.text() == text
    whole = np.zeros(shape[0] * shape[1], np.uint8)
    for start, stop in runs:
        whole[start:stop] = 1
    whole = whole.reshape(shape, order="F")
    y, x = (int(v) for v in np.argwhere(whole[::64, ::64])[100] * 64)
    box = Box((y - 300, x - 200), (700, 900))
    np.testing.assert_array_equal(runs.decode(box), whole[box.slices])
