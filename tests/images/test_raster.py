from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from images.contract import Opened, SourceContract
from images.pictures import noise, smooth
from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.images import open_image


def read(path: Path, **options: bool) -> np.ndarray:
    source = open_image(path, **options)
    return source.read(Box.of_shape(source.shape))


class TestPng(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        array = noise(40, 51, 3)
        Image.fromarray(array).save(tmp_path / "a.png", dpi=(300, 300))
        return open_image(tmp_path / "a.png"), array.transpose(2, 0, 1)


class TestGrayBmp(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        array = noise(40, 51)
        Image.fromarray(array).save(tmp_path / "a.bmp")
        return open_image(tmp_path / "a.bmp"), array[None]


class TestJpeg(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        Image.fromarray(smooth(40, 51, 3)).save(tmp_path / "a.JPG", quality=90)
        return open_image(tmp_path / "a.JPG"), np.asarray(Image.open(tmp_path / "a.JPG")).transpose(2, 0, 1)


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_16_bits_stay(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = noise(*shape, dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(array))
    np.testing.assert_array_equal(read(tmp_path / "a.png"), np.moveaxis(array.reshape(20, 30, -1), -1, 0))


def test_dots_per_inch_are_no_pixel_size(tmp_path: Path) -> None:
    Image.fromarray(noise(8, 8)).save(tmp_path / "a.png", dpi=(300, 300))
    assert not open_image(tmp_path / "a.png").space.spacing.physical
    assert open_image(tmp_path / "a.png", spacing=0.5).space.spacing.values == (0.5, 0.5)


def test_alpha_is_composited_on_white_for_images_and_dropped_for_labels(tmp_path: Path) -> None:
    array = np.array([[[10, 20, 30, 255], [0, 0, 0, 0], [100, 100, 100, 51]]], np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png")[:, 0].T, [[10, 20, 30], [255] * 3, [224] * 3])
    np.testing.assert_array_equal(read(tmp_path / "a.png", labels=True)[:, 0].T, array[0, :, :3])


def test_gray_with_alpha(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[10, 255], [0, 0]]], np.uint8)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png"), [[[10, 255]]])


def test_a_palette_is_colours_for_images_and_numbers_for_labels(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 2, 1]], np.uint8), mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png")[:, 0].T, [[0, 0, 0], [0, 255, 0], [255, 0, 0]])
    np.testing.assert_array_equal(read(tmp_path / "a.png", labels=True), [[[0, 2, 1]]])


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_a_transparent_colour_is_white(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P" if mode == "P" else "L")
    if mode == "P":
        image.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2])
    image = image.convert(mode)
    image.save(tmp_path / "a.png", transparency=(1, 1, 1) if mode == "RGB" else 1)
    np.testing.assert_array_equal(read(tmp_path / "a.png")[0], [[0, 255, 2]])


def test_one_bit_becomes_0_and_255(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255, 255]], np.uint8)).convert("1").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png"), [[[0, 255, 255]]])


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.fromarray(smooth(16, 16, 3)).convert("CMYK").save(tmp_path / "a.jpg")
    assert open_image(tmp_path / "a.jpg").channels == ("red", "green", "blue")
    assert read(tmp_path / "a.jpg").shape == (3, 16, 16)


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(DataError, match=r"a\.png: is no PNG, JPEG or BMP"):
        open_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_truncated_file_is_an_error_even_where_tiles_are_left_out(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(64, 64, 3)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    for on_damage in ("raise", "fill"):
        with open_image(path, on_damage=on_damage) as source, pytest.raises(DataError, match=f"{path.name}: is truncated"):
            source.read(Box((0, 0), (8, 8)))


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["colon_glands/images/train_64.png", "kidney_dab/C1.jpg", "colon_glands/masks/train_64.png"])
def test_real_files_read_as_pillow_reads_them(real: Path, name: str) -> None:
    expected = np.asarray(Image.open(real / name))
    expected = expected[None] if expected.ndim == 2 else expected.transpose(2, 0, 1)
    np.testing.assert_array_equal(read(real / name), expected)
