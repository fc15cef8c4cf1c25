import base64
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from malpighi.annotations.coco_rle import compress, decompress, from_counts, from_hpa, to_counts, to_hpa
from malpighi.annotations.rle import RunLengths
from malpighi.errors import DataError

STEPS = np.array([[0, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 0], [1, 0, 0, 0, 0], [1, 1, 0, 0, 1], [1, 0, 0, 0, 1]])
Y, X = np.mgrid[:40, :33]
DISC = ((Y - 20) / 18) ** 2 + ((X - 15) / 14) ** 2 < 1
# what pycocotools 2.0.11 `mask.encode` writes for these
PYCOCOTOOLS = [(STEPS, "352LO23O30"), (DISC, "n2=h06K4M2N2N2N2N2O0O2O0000000000000001N101N2N2N2N2N3L5Je4")]
masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda s: arrays(np.uint8, s, elements=st.integers(0, 1)))


@pytest.mark.parametrize(("mask", "code"), PYCOCOTOOLS)
def test_code_is_that_of_pycocotools(mask, code):
    assert compress(to_counts(RunLengths.encode(mask))) == code
    np.testing.assert_array_equal(from_counts(decompress(code), mask.shape).decode(), mask)


@given(masks)
def test_counts_give_the_mask_back(mask):
    counts = to_counts(RunLengths.encode(mask))
    assert sum(counts) == mask.size
    np.testing.assert_array_equal(from_counts(counts, mask.shape).decode(), mask)


@given(st.lists(st.integers(0, 1 << 33)))
def test_code_gives_the_counts_back(counts):
    assert decompress(compress(counts)) == counts


@given(masks, st.sampled_from(["F", "C"]))
def test_hpa_text_gives_the_mask_back(mask, order):
    np.testing.assert_array_equal(from_hpa(to_hpa(RunLengths.encode(mask, order)), mask.shape).decode(), mask)


def test_hpa_text_is_base64_of_zlib_of_the_code():
    mask, code = PYCOCOTOOLS[1]
    assert zlib.decompress(base64.b64decode(to_hpa(RunLengths.encode(mask)))).decode() == code


@pytest.mark.parametrize(("counts", "says"), [([3, 2], "add up to 5.*2 × 3 has 6"), ([-1, 7], "count 1 is negative")])
def test_wrong_counts_are_refused(counts, says):
    with pytest.raises(DataError, match=says):
        from_counts(counts, (2, 3))


@pytest.mark.parametrize(("code", "says"), [("35 2", "character 3"), ("3P", "cut off")])
def test_wrong_code_is_refused(code, says):
    with pytest.raises(DataError, match=says):
        decompress(code)


@pytest.mark.parametrize("text", ["***", base64.b64encode(b"no zlib").decode()])
def test_wrong_hpa_text_is_refused(text):
    with pytest.raises(DataError, match="row 3: not base64 of zlib"):
        from_hpa(text, (2, 3), "row 3")
