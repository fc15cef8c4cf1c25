import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from images.pictures import noise
from malpighi.geometry import Box
from malpighi.images.resample import resample, support


def area(array: np.ndarray, target: Box, ratio: tuple[float, ...]) -> np.ndarray:
    """Mean over what each voxel covers, voxel by voxel, weight by weight."""
    out = np.zeros(target.size)
    for index in np.ndindex(*target.size):
        spans = []
        for i, a, r in zip(index, target.start, ratio, strict=True):
            left, right = (i + a) * r, (i + a + 1) * r
            spans.append([(k, min(right, k + 1) - max(left, k)) for k in range(math.floor(left), math.ceil(right))])
        for taps in itertools.product(*spans):
            where = tuple(min(max(k, 0), n - 1) for (k, _), n in zip(taps, array.shape, strict=True))
            out[index] += array[where] * math.prod(max(0.0, w) for _, w in taps)
    return out / math.prod(ratio)


@settings(deadline=None)
@given(st.floats(1, 4.5), st.floats(1, 4.5), st.integers(0, 3), st.integers(0, 3))
def test_area_is_the_mean_of_what_a_voxel_covers(ry: float, rx: float, y: int, x: int) -> None:
    array = noise(1, 40, 40, dtype=np.float32)
    target, ratio = Box((y, x), (3, 2)), (ry, rx)
    source = support(target, ratio, "area")
    made = resample(array[(slice(None), *source.slices)], source, target, ratio, "area")
    np.testing.assert_allclose(made[0], area(array[0], target, ratio), rtol=1e-4, atol=1e-5)


def test_area_in_three_dimensions() -> None:
    array = noise(2, 9, 12, 15, dtype=np.float32)
    target, ratio = Box((1, 0, 2), (3, 4, 3)), (1.5, 2.5, 3.0)
    source = support(target, ratio, "area")
    made = resample(array[(slice(None), *source.slices)], source, target, ratio, "area")
    for channel in range(2):
        np.testing.assert_allclose(made[channel], area(array[channel], target, ratio), rtol=1e-4)


def test_finer_than_the_image_is_linear_between_centres() -> None:
    array = np.array([[[0, 10, 20, 30]]], np.float32)
    made = resample(array, Box((0, 0), (1, 4)), Box((0, 2), (1, 4)), (1.0, 0.5), "area")
    np.testing.assert_allclose(made, [[[7.5, 12.5, 17.5, 22.5]]])


def test_nearest_takes_the_voxel_at_the_centre() -> None:
    array = np.arange(9, dtype=np.uint8).reshape(1, 1, 9)
    target = Box((0, 0), (1, 3))
    np.testing.assert_array_equal(resample(array, Box((0, 0), (1, 9)), target, (1.0, 3.0), "nearest"), [[[1, 4, 7]]])
    np.testing.assert_array_equal(
        resample(array, Box((0, 0), (1, 9)), Box((0, 0), (1, 6)), (1.0, 0.5), "nearest"), [[[0, 0, 1, 1, 2, 2]]]
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.float32])
def test_the_dtype_stays_and_integers_round(dtype: type) -> None:
    array = np.array([[[1, 2], [2, 2]]], dtype)
    made = resample(array, Box((0, 0), (2, 2)), Box((0, 0), (1, 1)), (2.0, 2.0), "area")
    assert made.dtype == dtype
    assert made.item() == (1.75 if dtype is np.float32 else 2)
