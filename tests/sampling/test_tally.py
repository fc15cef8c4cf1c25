import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malpighi.sampling.tally import Tally


def counted(values: np.ndarray, percentiles: tuple[float, ...]) -> Tally:
    tally = Tally(values.dtype)
    for half in np.array_split(values, 2):
        tally.add(half)
    if tally.refine(percentiles):
        for half in np.array_split(values, 2):
            tally.add(half)
    return tally


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_percentiles_and_moments_are_numpys(dtype: type) -> None:
    rng = np.random.default_rng(0)
    values = (rng.standard_normal(5001) * 30 + (40 if np.dtype(dtype).kind == "u" else 0)).astype(dtype)
    tally = counted(values, (0.5, 50, 99.5))
    low, high = np.percentile(values.astype(np.float32), (0.5, 99.5))
    assert tally.percentile(0.5) == pytest.approx(low, rel=1e-6)
    assert tally.percentile(99.5) == pytest.approx(high, rel=1e-6)
    assert tally.percentile(50) == pytest.approx(np.percentile(values.astype(np.float32), 50), rel=1e-6)
    clipped = np.clip(values.astype(np.float64), low, high)
    assert tally.moments(low, high) == pytest.approx((clipped.mean(), clipped.std()), rel=1e-5)
    assert tally.moments() == pytest.approx((values.mean(), values.std()), rel=1e-5)


@given(st.lists(st.floats(-(2.0**90), 2.0**90, width=32), min_size=1, max_size=60), st.floats(0, 100))
def test_any_floats_whatever_their_range(numbers: list[float], percentile: float) -> None:
    values = np.array(numbers, np.float32)
    expected = np.percentile(values.astype(np.float64), percentile)
    assert counted(values, (percentile,)).percentile(percentile) == pytest.approx(
        expected, rel=1e-6, abs=1e-9 * float(np.abs(values).max())
    )


def test_by_hand() -> None:
    tally = counted(np.array([-3.0, -1.0, 0.0, 2.0, 2.0], np.float32), (0, 25, 60, 100))
    assert [tally.percentile(p) for p in (0, 25, 60, 100)] == pytest.approx([-3, -1, 0.8, 2])
