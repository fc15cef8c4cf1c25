from pathlib import Path

import numpy as np
import pytest

from images.pictures import noise
from images.test_channels import write
from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.images import Source, open_image
from malpighi.images.array import ArraySource
from malpighi.images.select import select_channels, telling

BOX = Box.of_shape((6, 5))


def image(*names: str) -> Source:
    array = np.arange(len(names) * 30, dtype=np.uint8).reshape(len(names), 6, 5)
    return ArraySource(array, channels=names, name="img")


def test_channels_are_put_in_the_order_asked_for() -> None:
    source = select_channels(image("Red", "green", "BLUE"), ("blue", "red"))
    assert source.channels == ("blue", "red")
    np.testing.assert_array_equal(source.read(BOX)[:, 0, 0], [60, 0])
    assert source.notes == ()


def test_the_same_channels_are_the_source_itself() -> None:
    source = image("red", "green")
    assert select_channels(source, ("red", "green")) is source


def test_a_missing_channel_is_an_error_or_zero_and_said() -> None:
    with pytest.raises(DataError, match=r"img: has no channel yellow, only red, green, blue"):
        select_channels(image("red", "green", "blue"), ("red", "yellow"))
    source = select_channels(image("red", "green", "blue"), ("blue", "yellow"), "zero")
    np.testing.assert_array_equal(source.read(BOX)[:, 0, 0], [60, 0])
    assert not source.read(BOX)[1].any()
    assert source.notes == ("img: has no channel yellow; 0 is taken instead",)
    with pytest.raises(DataError, match="none of the channels yellow, cyan"):
        select_channels(image("red"), ("yellow", "cyan"), "zero")


def test_names_that_say_nothing_are_taken_in_order_and_said() -> None:
    source = select_channels(image("channel 0", "channel 1"), ("DAPI", "GFP"))
    np.testing.assert_array_equal(source.read(BOX)[:, 0, 0], [0, 30])
    assert "in order as DAPI, GFP" in source.notes[0]
    with pytest.raises(DataError, match="has no channel DAPI"):
        select_channels(image("channel 0", "channel 1", "channel 2"), ("DAPI", "GFP"))


def test_telling_names_are_never_taken_in_order() -> None:
    with pytest.raises(DataError, match="only DAPI, Cy5"):
        select_channels(image("DAPI", "Cy5"), ("blue", "red"))


def test_gray_stands_for_red_green_and_blue() -> None:
    source = select_channels(image("gray"), ("red", "green", "blue"))
    np.testing.assert_array_equal(source.read(BOX)[:, 1, 1], [6, 6, 6])
    assert "one gray channel" in source.notes[0]


def test_a_name_twice_in_the_image_is_refused() -> None:
    with pytest.raises(DataError, match="several channels called 'red'"):
        select_channels(image("red", "RED", "x"), ("red", "x"))


@pytest.mark.parametrize("name", ["ch0", "gray", "Channel:0:1", "C2", "page 3", "0"])
def test_names_that_tell_nothing(name: str) -> None:
    assert not telling([name])
    assert telling([name, "DAPI"])


def test_files_of_other_channels_are_not_read(tmp_path: Path) -> None:
    arrays = {name: noise(64, 64) for name in ("red", "green")}
    path = write(tmp_path, "a", arrays)
    file = tmp_path / "a_green.png"
    file.write_bytes(file.read_bytes()[:-2000])  # its header can be read, its pixels cannot
    with select_channels(open_image(path), ("red",)) as source:
        np.testing.assert_array_equal(source.read(Box.of_shape((64, 64)))[0], arrays["red"])
    with select_channels(open_image(path, on_damage="fill"), ("green",)) as source:
        source.read(Box.of_shape((64, 64)))
        assert source.damage
