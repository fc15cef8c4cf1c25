import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from images.contract import Opened, SourceContract
from images.pictures import noise
from malpighi.errors import DataError, SpacingError, TileError
from malpighi.geometry import Box, Spacing
from malpighi.images import cache, is_image, open_image
from malpighi.images.stack import StackSource, find_slices, is_slices


def save(folder: Path, array: np.ndarray, first: int = 0, **options: object) -> Path:
    folder.mkdir(exist_ok=True)
    for z, plane in enumerate(array, first):
        tifffile.imwrite(folder / f"{z:04d}.tif", plane, **options)
    return folder


class TestPlainTiffs(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        array = noise(19, 31, 23, dtype=np.uint16)
        return open_image(save(tmp_path / "v", array)), array[None]


class TestCompressedTiffs(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        array = noise(19, 31, 23, dtype=np.uint16)
        return open_image(save(tmp_path / "v", array, compression="deflate", rowsperstrip=4)), array[None]


class TestColourPngs(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        array = noise(9, 31, 23, 3)
        for z, plane in enumerate(array):
            Image.fromarray(plane).save(tmp_path / f"z{z}.png")  # z10 after z9
        return open_image(tmp_path), np.moveaxis(array, -1, 0)


def test_order_is_that_of_the_numbers(tmp_path: Path) -> None:
    for z in (9, 10, 100, 8, 11):
        (tmp_path / f"kidney_5_{z}.tif").touch()
    assert [path.stem for path in find_slices(tmp_path).files[:4]] == [f"kidney_5_{z}" for z in (8, 9, 10, 11)]
    assert find_slices(tmp_path).numbers == (8, 9, 10, 11, 100)
    assert is_slices(tmp_path)
    assert not is_image(tmp_path)


def test_the_spacing_is_the_users(tmp_path: Path) -> None:
    folder = save(tmp_path / "v", noise(3, 4, 5))
    assert open_image(folder).space.spacing == Spacing.pixels(3)
    assert open_image(folder, Spacing.um((2, 0.5, 0.5))).space.spacing == Spacing.um((2, 0.5, 0.5))
    assert open_image(folder, Spacing.pixels(1)).space.spacing == Spacing.pixels(3)
    with pytest.raises(SpacingError, match=r"has 3 axes.*one number or as z,y,x"):
        open_image(folder, Spacing.um((0.5, 0.5)))


def test_a_gap_is_named(tmp_path: Path) -> None:
    folder = save(tmp_path / "v", noise(9, 4, 5))
    (folder / "0003.tif").unlink()
    (folder / "0004.tif").unlink()
    with pytest.raises(DataError, match=r"slices 3, 4 are missing between 0000\.tif and 0008\.tif"):
        open_image(folder)


def test_every_tenth_slice_is_no_gap(tmp_path: Path) -> None:
    for z in (10, 20, 30):
        tifffile.imwrite(tmp_path / f"{z:04d}.tif", noise(4, 5))
    assert open_image(tmp_path).shape == (3, 4, 5)


@pytest.mark.parametrize(
    ("plane", "told"),
    [
        (noise(4, 6), r"0002\.tif: is 4 × 6 uint8, most slices are 4 × 5 uint8"),
        (noise(4, 5, dtype=np.uint16), r"0002\.tif: is 4 × 5 uint16, most slices are 4 × 5 uint8"),
        (noise(4, 5, 3), r"0002\.tif: is 4 × 5 uint8 × 3"),
    ],
)
def test_the_odd_slice_is_named(tmp_path: Path, plane: np.ndarray, told: str) -> None:
    folder = save(tmp_path / "v", noise(5, 4, 5))
    tifffile.imwrite(folder / "0002.tif", plane)
    with pytest.raises(DataError, match=told):
        open_image(folder)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a_1", "b_2"], r"b_2\.tif: is not named as a_1\.tif"),
        (["1_1", "2_2"], "differ in 2 numbers"),
        (["cat", "dog"], "has no number"),
        (["1", "01"], "is slice 1, and so is"),
        ([], "holds no slices"),
    ],
)
def test_names_that_are_no_series(tmp_path: Path, names: list[str], told: str) -> None:
    for name in names:
        (tmp_path / f"{name}.tif").touch()
    with pytest.raises(DataError, match=told):
        find_slices(tmp_path)


def test_a_stack_in_a_folder_of_slices(tmp_path: Path) -> None:
    save(tmp_path / "v", noise(2, 3, 4, 5), photometric="minisblack")
    with pytest.raises(DataError, match="is itself a stack of 3 slices"):
        open_image(tmp_path / "v")


def test_wanted_slices_without_a_file(tmp_path: Path) -> None:
    array = noise(2, 4, 5)
    source = StackSource(save(tmp_path / "v", array, first=7), numbers=range(5, 10))
    assert source.present.tolist() == [False, False, True, True, False]
    np.testing.assert_array_equal(source.read(Box.of_shape(source.shape))[0, 2:4], array)
    with pytest.raises(DataError, match=r"0007\.tif: is slice 7, the image's slices are 0 to 5"):
        StackSource(tmp_path / "v", numbers=range(6))


def test_a_box_reads_only_its_slices_and_rows(tmp_path: Path) -> None:
    source = open_image(save(tmp_path / "v", noise(10, 40, 50), compression="deflate", rowsperstrip=8))
    before = cache.tiles.decoded
    source.read(Box((3, 8, 10), (2, 8, 10)))
    assert cache.tiles.decoded - before == 2 * 8 * 50
    source.read(Box((3, 8, 0), (2, 8, 10)))
    assert cache.tiles.decoded - before == 2 * 8 * 50


def test_a_damaged_slice(tmp_path: Path) -> None:
    array = noise(3, 40, 50)
    for z, plane in enumerate(array):
        Image.fromarray(plane).save(tmp_path / f"{z}.png")
    data = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(data[: len(data) // 2])
    logging.disable()
    box = Box.of_shape(array.shape)
    with pytest.raises((DataError, TileError), match=r"1\.png"):
        open_image(tmp_path).read(box)
    source = open_image(tmp_path, on_damage="fill")
    tile = source.read(box)[0]
    np.testing.assert_array_equal(tile[[0, 2]], array[[0, 2]])
    assert (tile[1] == 0).all()
    assert [d.box for d in source.damage] == [Box((1, 0, 0), (1, 40, 50))]


@pytest.mark.real_data
def test_hipct_slices(real: Path) -> None:
    source = open_image(real / "kidney_hipct" / "images", spacing=50)
    assert (source.shape, source.dtype, source.space.spacing) == ((2, 1303, 912), np.uint16, Spacing.um(50, 3))
    truth = tifffile.imread(real / "kidney_hipct" / "images" / "0001.tif")
    np.testing.assert_array_equal(source.read(Box((1, 600, 400), (1, 20, 30)))[0, 0], truth[600:620, 400:430])
