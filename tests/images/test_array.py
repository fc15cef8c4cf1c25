import numpy as np
import pytest

from images.contract import Opened, SourceContract
from images.pictures import noise
from malpighi.errors import DataError, SpacingError
from malpighi.geometry import Box, Spacing
from malpighi.images.array import ArraySource


class TestPlane(SourceContract):
    @pytest.fixture
    def opened(self) -> Opened:
        array = noise(3, 61, 47)
        return ArraySource(array), array


class TestVolume(SourceContract):
    @pytest.fixture
    def opened(self) -> Opened:
        array = noise(2, 11, 31, 23, dtype=np.uint16)
        return ArraySource(array, Spacing.um((2, 1, 1))), array


class TestFloat(SourceContract):
    @pytest.fixture
    def opened(self) -> Opened:
        array = noise(1, 40, 33, dtype=np.float32)
        return ArraySource.gray(array[0]), array


def test_channels_last() -> None:
    array = noise(8, 9, 3)
    source = ArraySource.rgb(array)
    assert source.channels == ("red", "green", "blue")
    np.testing.assert_array_equal(source.read(Box.of_shape((8, 9))), array.transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(4, 4), (1, 0, 4), (1, 2, 3, 4, 5)])
def test_a_shape_that_is_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="give"):
        ArraySource(np.zeros(shape))


def test_names_for_other_channels() -> None:
    with pytest.raises(DataError, match="1 channel names for 2 channels"):
        ArraySource(np.zeros((2, 4, 4)), channels=("a",))


def test_reading_by_area_is_the_mean_of_what_a_voxel_covers() -> None:
    source = ArraySource.gray(np.array([[0, 2, 8, 8], [4, 2, 8, 8]], np.uint8), Spacing.um(0.5))
    np.testing.assert_array_equal(source.read_at(Box((0, 0), (1, 2)), Spacing.um(1)), [[[2, 8]]])
    np.testing.assert_array_equal(source.read_at(Box((0, 0), (1, 2)), Spacing.um(1), method="nearest"), [[[2, 8]]])


@pytest.mark.parametrize("factor", [0.3, 1.5, 2.0, 3.0, 4.7])
def test_a_constant_image_stays_constant_at_any_spacing(factor: float) -> None:
    source = ArraySource(np.full((3, 50, 40), 131, np.uint8))
    spacing = source.space.spacing.times(factor)
    tile = source.read_at(Box.of_shape(source.space.shape_at(spacing)).grow(3), spacing)
    assert (tile == 131).all()


def test_micrometres_of_an_image_without_pixel_size() -> None:
    with pytest.raises(SpacingError, match="--spacing"):
        ArraySource(np.zeros((1, 4, 4))).read_at(Box((0, 0), (2, 2)), Spacing.um(0.5))
