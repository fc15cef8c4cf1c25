import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr.writer import write_image as ome_zarr_write

from images.contract import Opened, SourceContract
from images.pictures import noise
from malpighi.errors import DataError, TileError
from malpighi.geometry import Box, Spacing
from malpighi.images import cache, is_image, ngff, open_image
from malpighi.images.array import ArraySource
from malpighi.images.write import write_image
from malpighi.images.zarr import ZarrSource


@pytest.fixture(params=ngff.VERSIONS)
def version(request: pytest.FixtureRequest) -> ngff.Version:
    return request.param


class TestPlane(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path, version: ngff.Version) -> Opened:
        array = noise(3, 1030, 70)
        write_image(ArraySource(array, Spacing.um(0.5)), tmp_path / "a.ome.zarr", version=version)
        return open_image(tmp_path / "a.ome.zarr"), array


class TestVolume(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path, version: ngff.Version) -> Opened:
        array = noise(2, 70, 31, 23, dtype=np.uint16)
        write_image(ArraySource(array, Spacing.um((1, 1, 2))), tmp_path / "a.ome.zarr", version=version)
        return open_image(tmp_path / "a.ome.zarr"), array


class TestPlainArray(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        array = noise(50, 33, dtype=np.float32)
        zarr.create_array(tmp_path / "a.zarr", data=array, chunks=(16, 16))
        return open_image(tmp_path / "a.zarr"), array[None]


class TestOtherWriter(SourceContract):
    """ome-zarr-py's own, with axes t, c, z, y, x."""

    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        array = noise(2, 40, 33)
        group = zarr.open_group(tmp_path / "a.zarr", mode="w")
        ome_zarr_write(array[None, :, None], group, axes="tczyx", scale_factors=[])
        ome = group.attrs["ome"]  # this writer leaves units and scales to others
        for axis in ome["multiscales"][0]["axes"][2:]:
            axis["unit"] = "nanometer"
        transforms = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]
        transforms[0] = {"type": "scale", "scale": [1, 1, 1000, 500, 250]}
        group.attrs["ome"] = ome
        return open_image(tmp_path / "a.zarr"), array

    def test_the_unit_is_converted(self, opened: Opened) -> None:
        assert opened[0].space.spacing == Spacing.um((0.5, 0.25))


def test_axes_in_another_order(tmp_path: Path) -> None:
    array = noise(20, 30, 3)
    zarr.create_array(tmp_path / "a.zarr", data=array, dimension_names=("y", "x", "c"))
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").read(Box((2, 3), (5, 6))), array[2:7, 3:9].transpose(2, 0, 1))


def test_several_time_points(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=noise(4, 20, 30), dimension_names=("t", "y", "x"))
    with pytest.raises(DataError, match=r"4 time points \(axis t\)"):
        open_image(tmp_path / "a.zarr")


def test_axes_that_are_no_image(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=noise(4, 20), dimension_names=("row", "column"))
    with pytest.raises(DataError, match="allowed are t, c, z, y, x"):
        open_image(tmp_path / "a.zarr")


def test_a_folder_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(DataError, match=r"a\.zarr: is no Zarr"):
        open_image(tmp_path / "a.zarr")


def test_a_group_that_is_no_image(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a.zarr")
    with pytest.raises(DataError, match="multiscales"):
        open_image(tmp_path / "a.zarr")


def test_a_level_that_is_missing(tmp_path: Path) -> None:
    write_image(ArraySource(noise(1, 40, 50)), tmp_path / "a.zarr")
    shutil.rmtree(tmp_path / "a.zarr" / "0")
    with pytest.raises(DataError, match="copy the whole folder"):
        open_image(tmp_path / "a.zarr")


def test_a_zarr_is_known_without_its_suffix(tmp_path: Path) -> None:
    write_image(ArraySource(noise(1, 40, 50)), tmp_path / "nuclei")
    assert is_image(tmp_path / "nuclei")
    assert isinstance(open_image(tmp_path / "nuclei"), ZarrSource)


def test_one_corrupt_chunk(tmp_path: Path) -> None:
    array = noise(1, 40, 60)
    zarr.create_array(tmp_path / "a.zarr", data=array[0], chunks=(16, 16), zarr_format=2)
    (tmp_path / "a.zarr" / "1.2").write_bytes(b"garbage")
    box = Box.of_shape((40, 60))
    with pytest.raises(TileError, match=r"level 0, \[16:32, 32:48\]"):
        open_image(tmp_path / "a.zarr").read(box)
    source = open_image(tmp_path / "a.zarr", on_damage="fill")
    expected = array.copy()
    expected[:, 16:32, 32:48] = 0
    np.testing.assert_array_equal(source.read(box), expected)
    assert [d.box for d in source.damage] == [Box((16, 32), (16, 16))]


def test_boxes_that_overlap_decode_each_chunk_once(tmp_path: Path) -> None:
    array = noise(40, 50, 60, dtype=np.uint16)
    zarr.create_array(tmp_path / "a.zarr", data=array, chunks=(16, 16, 16))
    source = open_image(tmp_path / "a.zarr")
    before = cache.tiles.decoded
    with ThreadPoolExecutor(4) as pool:
        boxes = list(Box.of_shape(array.shape).split((8, 8, 8)))
        for box, tile in zip(boxes, pool.map(lambda b: source.read(b.grow(8), pad=0), boxes), strict=True):
            inside = box.grow(8).clip(array.shape)
            np.testing.assert_array_equal(tile[(0, *inside.relative_to(box.grow(8).start).slices)], array[inside.slices])
    assert cache.tiles.decoded - before == array.size


def test_closing_lets_go_of_its_chunks(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=noise(20, 20), chunks=(16, 16))
    before = cache.tiles.bytes
    with open_image(tmp_path / "a.zarr") as source:
        source.read(Box.of_shape((20, 20)))
        assert cache.tiles.bytes == before + 400
    assert cache.tiles.bytes == before
