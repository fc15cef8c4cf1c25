from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from images.contract import Opened, SourceContract
from images.pictures import noise, smooth
from malpighi.errors import DataError, TileError
from malpighi.geometry import Box
from malpighi.images import open_image
from malpighi.images.slide import SlideSource
from malpighi.images.tiff import TiffSource

RGB = smooth(83, 100, 3)
TILED = {"tile": (32, 48), "photometric": "rgb"}
LAST_FIRST = RGB.transpose(2, 0, 1)


def write(path: Path, array: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, array, **options)
    return path


def whole(path: Path, **options: Any) -> np.ndarray:
    source = open_image(path, **options)
    return source.read(Box.of_shape(source.shape))


def variant(array: np.ndarray, truth: np.ndarray | None = None, **options: Any) -> Callable[[Path], Opened]:
    """A file written with `options` and what it holds."""

    def make(folder: Path) -> Opened:
        return TiffSource(write(folder / "a.tif", array, **options)), array if truth is None else truth

    return make


def jpeg(folder: Path) -> Opened:
    path = write(folder / "a.tif", RGB, compression="jpeg", **TILED | {"tile": (32, 48)})
    return TiffSource(path), tifffile.imread(path).transpose(2, 0, 1)


def separate(folder: Path) -> Opened:
    path = write(folder / "a.tif", LAST_FIRST, planarconfig="separate", photometric="rgb", tile=(32, 48), compression="zlib")
    return TiffSource(path), LAST_FIRST


def pyramid(folder: Path) -> Opened:
    with tifffile.TiffWriter(folder / "a.tif") as writer:
        writer.write(RGB, subifds=2, compression="deflate", **TILED)
        writer.write(RGB[::2, ::2], subfiletype=1, compression="deflate", **TILED)
        writer.write(RGB[::4, ::4], subfiletype=1, compression="deflate", **TILED)
    return TiffSource(folder / "a.tif"), LAST_FIRST


def hyperstack(folder: Path) -> Opened:
    array = noise(4, 2, 31, 23, dtype=np.uint16)  # z, c, y, x
    write(folder / "a.tif", array, imagej=True, metadata={"axes": "ZCYX", "spacing": 2.0, "unit": "um"}, resolution=(4, 4))
    return TiffSource(folder / "a.tif"), array.transpose(1, 0, 2, 3)


MULTI = noise(5, 40, 33, dtype=np.uint16)
STACK = noise(6, 40, 33)
VARIANTS = {
    "tiled JPEG": jpeg,
    "tiled zlib": variant(RGB, LAST_FIRST, compression="zlib", predictor=True, **TILED),
    "tiled uncompressed": variant(RGB, LAST_FIRST, **TILED),
    "stripped LZW": variant(RGB, LAST_FIRST, compression="lzw", rowsperstrip=7, photometric="rgb"),
    "stripped uncompressed": variant(RGB, LAST_FIRST, rowsperstrip=7, photometric="rgb"),
    "planes": separate,
    "planes uncompressed": variant(LAST_FIRST, planarconfig="separate", photometric="rgb"),
    "big-endian 16 bits": variant(MULTI[0], MULTI[:1], byteorder=">"),
    "big-endian zlib": variant(MULTI[0], MULTI[:1], byteorder=">", compression="zlib"),
    "BigTIFF float": variant(noise(40, 33, dtype=np.float32), noise(1, 40, 33, dtype=np.float32), bigtiff=True, tile=(16, 16)),
    "pages": variant(STACK, STACK[None], compression="zlib", photometric="minisblack"),
    "OME channels": variant(MULTI, MULTI, ome=True, metadata={"axes": "CYX"}, tile=(16, 16), compression="zlib"),
    "OME stack": variant(
        MULTI.reshape(5, 1, 40, 33).repeat(3, 1), MULTI[:, None].repeat(3, 1), ome=True, metadata={"axes": "CZYX"}
    ),
    "OME z first": variant(
        np.stack([STACK, STACK + 1], 1), np.stack([STACK, STACK + 1]), ome=True, metadata={"axes": "ZCYX"}, tile=(16, 16)
    ),
    "ImageJ": hyperstack,
    "SubIFDs": pyramid,
}


class TestDialects(SourceContract):
    @pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
    def opened(self, request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
        return request.param(tmp_path)


def test_levels_as_subifds_and_as_pages(tmp_path: Path) -> None:
    source, _ = pyramid(tmp_path)
    assert source.space.shapes == ((83, 100), (42, 50), (21, 25))
    np.testing.assert_array_equal(source.read(Box((3, 4), (9, 9)), 2), RGB[::4, ::4][3:12, 4:13].transpose(2, 0, 1))
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        for step in (1, 2, 4):
            writer.write(RGB[::step, ::step], metadata=None, **TILED)
    assert open_image(tmp_path / "b.tif").space.shapes == ((83, 100), (42, 50), (21, 25))


def test_interleaved_channels_come_as_a_view(tmp_path: Path) -> None:
    source, _ = jpeg(tmp_path)
    assert source.read(Box((0, 0), (40, 40))).transpose(1, 2, 0).flags.c_contiguous


def test_a_contiguous_imagej_file_with_one_page(tmp_path: Path) -> None:
    array = noise(4, 20, 30, dtype=np.uint16)
    write(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        link = tif.pages[1].offset.to_bytes(4, "little" if tif.byteorder == "<" else "big")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    where = data.index(link, 8)  # of the link to the next page; ImageJ writes none above 4 GB
    data[where : where + 4] = bytes(4)
    (tmp_path / "a.tif").write_bytes(data)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert len(tif.pages) == 1
    np.testing.assert_array_equal(whole(tmp_path / "a.tif"), array[None])


def test_a_pyramid_of_channels(tmp_path: Path) -> None:
    options: dict[str, Any] = {"tile": (16, 16), "compression": "zlib", "photometric": "minisblack"}
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        writer.write(MULTI, subifds=1, metadata={"axes": "CYX"}, **options)
        writer.write(MULTI[:, ::2, ::2], subfiletype=1, **options)
    source = open_image(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(source.read(Box((3, 2), (10, 9)), 1), MULTI[:, 6:26:2, 4:22:2])


@pytest.mark.parametrize("compression", [None, "packbits"])
def test_one_bit_a_pixel(tmp_path: Path, compression: str | None) -> None:
    mask = noise(21, 35) > 128
    path = write(tmp_path / "a.tif", mask, compression=compression, photometric="miniswhite")
    np.testing.assert_array_equal(whole(path, labels=True), mask[None])
    np.testing.assert_array_equal(whole(path), ~mask[None])


# -- colour --------------------------------------------------------------------------------------------------------
def test_alpha_is_composited_on_white(tmp_path: Path) -> None:
    rgba = np.array([[[10, 20, 30, 255], [0, 0, 0, 0]]], np.uint8).repeat(16, 0).repeat(16, 1)
    path = write(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"], tile=(16, 16))
    np.testing.assert_array_equal(whole(path)[:, 0, ::16].T, [[10, 20, 30], [255, 255, 255]])
    np.testing.assert_array_equal(whole(path, labels=True)[:, 0, ::16].T, [[10, 20, 30], [0, 0, 0]])


def test_a_palette_is_colours_for_images_and_numbers_for_labels(tmp_path: Path) -> None:
    colormap = np.zeros((3, 256), np.uint16)
    colormap[:, 1] = 255 * 256, 0, 128 * 256
    index = np.eye(20, dtype=np.uint8)
    path = write(tmp_path / "a.tif", index, photometric="palette", colormap=colormap)
    np.testing.assert_array_equal(whole(path)[:, 3, 3], [255, 0, 128])
    np.testing.assert_array_equal(whole(path, labels=True), index[None])


def test_white_is_zero(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", STACK[0], photometric="miniswhite")
    np.testing.assert_array_equal(whole(path), 255 - STACK[:1])


# -- pixel size ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({"resolution": (20_000, 40_000), "resolutionunit": "CENTIMETER"}, (0.25, 0.5)),
        ({"resolution": (50_800, 50_800), "resolutionunit": "INCH"}, (0.5, 0.5)),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ({"resolution": (2, 2), "resolutionunit": "NONE"}, None),
        ({}, None),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.3, "PhysicalSizeY": 0.4}}, (0.4, 0.3)),
        ({"ome": True, "metadata": {"PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5}}, (0.5, 0.25)),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "um"}}, (0.25, 0.25)),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "pixel"}}, None),
        ({"description": "Aperio Image Library v11\n46000x32914 (240x240) JPEG|MPP = 0.4990|Left = 25"}, (0.499, 0.499)),
    ],
)
def test_pixel_size(tmp_path: Path, options: dict[str, Any], values: tuple[float, float] | None) -> None:
    if "description" in options:
        options = options | {"metadata": None}
    path = write(tmp_path / "a.tif", noise(20, 30), **options)
    spacing = open_image(path).space.spacing
    assert spacing.physical == (values is not None)
    assert spacing.values == pytest.approx(values or (1, 1))


def test_a_stack_needs_the_size_of_its_slices(tmp_path: Path) -> None:
    source, _ = hyperstack(tmp_path)
    assert source.space.spacing.values == pytest.approx((2, 0.25, 0.25))
    path = write(tmp_path / "b.tif", STACK, resolution=(20_000, 20_000), resolutionunit="CENTIMETER", photometric="minisblack")
    assert not open_image(path).space.spacing.physical


def test_ome_channel_names(tmp_path: Path) -> None:
    names = ["DAPI", "ER", "tubules", "mito", "actin"]
    path = write(tmp_path / "a.ome.tif", MULTI, metadata={"axes": "CYX", "Channel": {"Name": names}})
    assert open_image(path).channels == tuple(names)


# -- bad input -----------------------------------------------------------------------------------------------------
@pytest.fixture
def slide(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Tiled JPEG, 4 × 4 tiles of 32."""
    path = write(tmp_path / "slide.tif", smooth(128, 128, 3), compression="jpeg", photometric="rgb", tile=(32, 32))
    return path, tifffile.imread(path).transpose(2, 0, 1)


def spoil(path: Path, tile: int, how: str) -> None:
    with tifffile.TiffFile(path) as tif:
        offset, count = tif.pages[0].dataoffsets[tile], tif.pages[0].databytecounts[tile]
    data = bytearray(path.read_bytes())
    first = 0 if how == "start" else count // 2
    data[offset + first : offset + count] = bytes(count - first)
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["start", "end"])
def test_one_corrupt_tile_raises_and_names_the_place(slide: tuple[Path, np.ndarray], how: str) -> None:
    path, _ = slide
    spoil(path, 6, how)
    with pytest.raises(TileError, match=r"slide\.tif: cannot decode the tile at level 0, \[32:64, 64:96\]"):
        whole(path)


@pytest.mark.parametrize("how", ["start", "end"])
def test_one_corrupt_tile_is_filled_and_the_rest_read(slide: tuple[Path, np.ndarray], how: str) -> None:
    path, truth = slide
    spoil(path, 6, how)
    source = open_image(path, on_damage="fill")
    expected = truth.copy()
    expected[:, 32:64, 64:96] = 255
    for _ in range(2):
        np.testing.assert_array_equal(source.read(Box.of_shape(source.shape)), expected)
    assert [(d.level, d.box) for d in source.damage] == [(0, Box((32, 64), (32, 32)))]


def test_tiles_left_out_are_filled(slide: tuple[Path, np.ndarray]) -> None:
    path, truth = slide
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tag = tif.pages[0].tags["TileByteCounts"]
        tag.overwrite([0 if i == 5 else n for i, n in enumerate(tag.value)])
    source = open_image(path)
    expected = truth.copy()
    expected[:, 32:64, 32:64] = 255
    np.testing.assert_array_equal(source.read(Box.of_shape(source.shape)), expected)
    assert source.damage == []


@pytest.mark.parametrize("kept", [4, 7, 100, 2000])
def test_a_truncated_file(slide: tuple[Path, np.ndarray], kept: int) -> None:
    path, _ = slide
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"slide\.tif: .*truncated"):
        open_image(path)


def test_a_file_cut_within_its_last_tile(slide: tuple[Path, np.ndarray]) -> None:
    path, _ = slide
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="copy it again"):
        open_image(path)


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("this is no TIFF")
    with pytest.raises(DataError, match=r"a\.tif: is not an image malpighi reads"):
        open_image(tmp_path / "a.tif")


def test_several_time_points(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", STACK, ome=True, metadata={"axes": "TYX"})
    with pytest.raises(DataError, match=r"6 time points \(axis T\)"):
        open_image(path)


# -- real files ----------------------------------------------------------------------------------------------------
@pytest.mark.real_data
class TestAperio(SourceContract):
    @pytest.fixture(scope="class")
    def truth(self, real: Path) -> np.ndarray:
        slide = SlideSource(real / "formats" / "CMU-1-Small-Region.svs")
        return slide.read(Box.of_shape(slide.shape))

    @pytest.fixture
    def opened(self, real: Path, truth: np.ndarray) -> Opened:
        return open_image(real / "formats" / "CMU-1-Small-Region.svs"), truth

    def test_the_pixel_size_is_aperios(self, opened: Opened) -> None:
        assert isinstance(opened[0], TiffSource)
        assert opened[0].space.spacing.values == (0.499, 0.499)


@pytest.mark.real_data
class TestOmeStack(SourceContract):
    @pytest.fixture
    def opened(self, real: Path) -> Opened:
        path = real / "formats" / "multi-channel-z-series.ome.tif"
        return open_image(path), tifffile.imread(path)


@pytest.mark.real_data
def test_vessel_volumes_are_stacks(real: Path) -> None:
    for path in sorted((real / "vessel_volumes" / "images").glob("*.tif"))[:2]:
        np.testing.assert_array_equal(whole(path)[0], tifffile.imread(path))
