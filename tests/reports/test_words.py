"""Values as readers want them."""

import math

import numpy as np
import pytest

from malpighi.reports.words import NARROW, duration_text, interval_text, memory_text, share_text, value_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (np.nan, "–"),
        (True, "yes"),
        (12, "12"),
        (1234567, f"1{NARROW}234{NARROW}567"),
        (0.0, "0"),
        (0.87349, "0.873"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (1234.5, f"1{NARROW}234"),
        (3e-4, "0.0003"),
        (-0.5, "-0.500"),
        (math.inf, "∞"),
        (np.float32(0.5), "0.500"),
        (np.int64(3), "3"),
        ([256, 256], "256, 256"),
        ({"gland": 0.5}, "gland 0.500"),
        ([], "–"),
        ("text", "text"),
    ],
)
def test_value(value, text):
    assert value_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.84, "0.8 s"), (42, "42 s"), (59.7, "1 min 0 s"), (750, "12 min 30 s"), (11_100, "3 h 5 min")],
)
def test_duration(seconds, text):
    assert duration_text(seconds) == text


def test_sizes_shares_and_intervals():
    assert (memory_text(512), memory_text(2048), memory_text(None)) == ("512 MB", "2.00 GB", "–")
    assert (share_text(0.0312), share_text(None)) == ("3.1 %", "–")
    assert interval_text(0.8, 0.9) == "0.800 – 0.900"
    assert interval_text(None, 0.9) == interval_text(math.nan, 0.9) == "–"
