from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from images.pictures import noise
from malpighi.geometry import Box
from malpighi.images.reduce import halve, halved_axes
from malpighi.images.resample import resample


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(["image", "labels"]), st.sampled_from([np.uint8, np.float32]))
def test_halving_is_resampling_by_two(height: int, width: int, kind: Literal["image", "labels"], dtype: type) -> None:
    array = noise(2, height, width, dtype=dtype)
    target = Box((0, 0), (-(-height // 2), -(-width // 2)))
    even = np.pad(array, [(0, 0), (0, height % 2), (0, width % 2)], mode="edge")
    method: Literal["area", "nearest"] = "area" if kind == "image" else "nearest"
    expected = resample(even, Box.of_shape(even.shape[1:]), target, (2.0, 2.0), method)
    made = halve(array, (2, 2), kind)
    assert made.dtype == dtype
    np.testing.assert_allclose(made, expected, atol=1 if dtype is np.uint8 else 1e-6)  # halves round either way


def test_in_three_dimensions_one_axis_stays() -> None:
    array = np.arange(16, dtype=np.float32).reshape(1, 2, 2, 4)
    np.testing.assert_array_equal(halve(array, (1, 2, 2), "image"), [[[[2.5, 4.5]], [[10.5, 12.5]]]])
    np.testing.assert_array_equal(halve(array[0], (1, 2, 2), "labels"), [[[5, 7]], [[13, 15]]])


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [
        ((64, 64), (0.5, 0.5), (2, 2)),
        ((10, 64, 64), (2.0, 0.5, 0.5), (1, 2, 2)),
        ((10, 64, 64), (0.5, 0.5, 0.5), (2, 2, 2)),
        ((1, 64, 64), (0.1, 0.5, 0.5), (1, 2, 2)),
    ],
)
def test_which_axes_are_halved(shape: tuple[int, ...], spacing: tuple[float, ...], expected: tuple[int, ...]) -> None:
    assert halved_axes(shape, spacing) == expected
