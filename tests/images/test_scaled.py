import numpy as np
import pytest

from images.contract import Opened, SourceContract
from images.pictures import noise
from malpighi.geometry import Spacing
from malpighi.images.array import ArraySource
from malpighi.images.scaled import ScaledSource


class Halved:
    """(x - 4) / 2."""

    def apply(self, array: np.ndarray, axis: int) -> np.ndarray:
        return (array.astype(np.float32) - 4) / 2


class TestScaled(SourceContract):
    @pytest.fixture
    def opened(self) -> Opened:
        array = noise(2, 11, 31, 23, dtype=np.uint16)
        source = ScaledSource(ArraySource(array, Spacing.um((2, 1, 1)), fill=10), Halved())
        return source, (array.astype(np.float32) - 4) / 2


def test_what_fills_is_scaled_too() -> None:
    source = ScaledSource(ArraySource(noise(1, 4, 4), fill=10), Halved())
    assert source.fill == 3
    assert source.channels == ("channel 0",)
    assert source.damage == []
