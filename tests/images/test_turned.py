import numpy as np
import pytest

from images.contract import Opened, SourceContract
from images.pictures import noise
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.array import ArraySource
from malpighi.images.base import Source
from malpighi.images.turned import Turn, TurnedSource

VOLUME = noise(2, 11, 31, 23, dtype=np.uint16)


class TestAlongZ(SourceContract):
    @pytest.fixture
    def opened(self) -> Opened:
        return TurnedSource(ArraySource(VOLUME, Spacing.um((2, 1, 0.5))), "z"), VOLUME


class TestAlongY(SourceContract):
    @pytest.fixture
    def opened(self) -> Opened:
        return TurnedSource(ArraySource(VOLUME, Spacing.um((2, 1, 0.5))), "y"), VOLUME.transpose(0, 2, 1, 3)


class TestAlongX(SourceContract):
    @pytest.fixture
    def opened(self) -> Opened:
        return TurnedSource(ArraySource(VOLUME, Spacing.um((2, 1, 0.5))), "x"), VOLUME.transpose(0, 3, 1, 2)


class TestAPlane(SourceContract):
    @pytest.fixture
    def opened(self) -> Opened:
        image = noise(3, 61, 47)
        return TurnedSource(ArraySource(image), "x"), image.transpose(0, 2, 1)


class Pyramid(Source):
    """Two levels; the first voxel of the second cannot be decoded."""

    def __init__(self) -> None:
        super().__init__("pyramid", Space(((8, 6, 4), (4, 3, 2)), Spacing.um((3, 2, 1))), np.uint8, ("a",), fill=7)
        self.on_damage, self.closed = "fill", False

    def _read(self, box: Box, level: int) -> np.ndarray:
        self.note_damage(level, box, "broken")
        return np.full((1, *box.size), level, np.uint8)

    def _close(self) -> None:
        self.closed = True


def test_everything_is_in_the_new_order() -> None:
    pyramid = Pyramid()
    source = TurnedSource(pyramid, "x")
    assert source.space.axes == ("x", "z", "y")
    assert source.space.shapes == ((4, 8, 6), (2, 4, 3))
    assert source.space.spacing == Spacing.um((1, 3, 2))
    assert (source.name, source.fill, source.channels) == ("pyramid", 7, ("a",))
    assert source.read(Box((0, 1, 0), (2, 3, 1)), 1).shape == (1, 2, 3, 1)
    assert [d.box for d in source.damage] == [Box((0, 1, 0), (2, 3, 1))]
    assert [d.box for d in pyramid.damage] == [Box((1, 0, 0), (3, 1, 2))]
    source.close()
    assert pyramid.closed


def test_reading_at_a_spacing_is_that_of_the_volume() -> None:
    volume = ArraySource(noise(1, 12, 16, 8, dtype=np.float32), Spacing.um((2, 1, 1)))
    source = TurnedSource(volume, "y")
    there = volume.read_at(Box((1, 0, 1), (4, 3, 2)), Spacing.um((4, 2, 3)))
    here = source.read_at(Box((0, 1, 1), (3, 4, 2)), Spacing.um((2, 4, 3)))
    np.testing.assert_allclose(here, there.transpose(0, 2, 1, 3), rtol=1e-6)


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_back_undoes(axis: str) -> None:
    turn = Turn.along(axis, Space.of_shape((3, 4, 5)))
    box = Box((1, 2, 3), (2, 1, 2))
    assert turn.back.box(turn.box(box)) == box
    assert turn.back.values(turn.values(("a", "b", "c"))) == ("a", "b", "c")


def test_an_axis_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"array: has the axes y, x and cannot be sliced along 'z'"):
        TurnedSource(ArraySource(noise(1, 4, 4)), "z")
