import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr.format import format_from_version
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from images.pictures import noise
from malpighi.errors import DataError, OutputError
from malpighi.geometry import Box, Spacing
from malpighi.images import ngff, open_image
from malpighi.images.array import ArraySource
from malpighi.images.write import ZarrWriter, write_image, write_labels_group

UM = Spacing.um(0.5)
SMALL: dict[str, Any] = {"chunk": 16, "shard": 32}
VERSIONS = pytest.mark.parametrize("version", ngff.VERSIONS)


def blobs(*shape: int) -> np.ndarray:
    """A mask that is empty over most of it."""
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(n // 3, n // 2) for n in shape)] = 3
    return mask


def fill(writer: ZarrWriter, array: np.ndarray) -> None:
    for box in Box.of_shape(writer.shape).split(writer.shard):
        writer.write(box, array[(..., *box.slices)])


def files(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


# -- what is written ------------------------------------------------------------------------------------------------
@VERSIONS
@pytest.mark.parametrize("shape", [(70, 101), (64, 64), (5, 3), (21, 40, 33)])
def test_labels_come_back_through_plain_zarr(tmp_path: Path, version: ngff.Version, shape: tuple[int, ...]) -> None:
    spacing = Spacing.um(0.5, len(shape))
    mask = blobs(*shape)
    writer = ZarrWriter(tmp_path / "a.zarr", shape, spacing, np.uint8, kind="labels", version=version, **SMALL)
    fill(writer, mask)
    writer.finish()
    np.testing.assert_array_equal(zarr.open(tmp_path / "a.zarr", mode="r")["0"][:], mask)


@VERSIONS
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_images_of_any_dtype_come_back(tmp_path: Path, version: ngff.Version, dtype: type) -> None:
    image = noise(6, 40, 50, dtype=dtype)
    writer = ZarrWriter(tmp_path / "a.zarr", (40, 50), UM, dtype, channels=tuple("abcdef"), version=version, **SMALL)
    fill(writer, image)
    writer.finish()
    np.testing.assert_array_equal(zarr.open(tmp_path / "a.zarr", mode="r")["0"][:], image)
    source = open_image(tmp_path / "a.zarr")
    assert source.channels == tuple("abcdef")
    np.testing.assert_array_equal(source.read(Box((5, 6), (20, 21))), image[:, 5:25, 6:27])


@VERSIONS
def test_the_pyramid_of_an_image_averages_and_that_of_labels_picks(tmp_path: Path, version: ngff.Version) -> None:
    array = np.array([[0, 4, 8], [4, 8, 12], [1, 2, 200]], np.uint8)
    image = ZarrWriter(tmp_path / "i.zarr", (3, 3), UM, np.uint8, version=version, chunk=2, shard=2)
    fill(image, array[None])
    image.finish()
    np.testing.assert_array_equal(zarr.open(tmp_path / "i.zarr", mode="r")["1"][0], [[4, 10], [2, 200]])
    labels = ZarrWriter(tmp_path / "l.zarr", (3, 3), UM, np.uint8, kind="labels", version=version, chunk=2, shard=2)
    fill(labels, array)
    labels.finish()
    np.testing.assert_array_equal(zarr.open(tmp_path / "l.zarr", mode="r")["1"][:], [[8, 12], [2, 200]])


def test_thick_slices_are_not_halved_before_the_others_are_as_coarse(tmp_path: Path) -> None:
    writer = ZarrWriter(
        tmp_path / "a.zarr", (10, 64, 64), Spacing.um((2, 0.5, 0.5)), np.uint8, kind="labels", chunk=8, shard=16
    )
    fill(writer, blobs(10, 64, 64))
    writer.finish()
    assert open_image(tmp_path / "a.zarr").space.shapes == ((10, 64, 64), (10, 32, 32), (10, 16, 16), (5, 8, 8))


def test_empty_shards_are_not_written(tmp_path: Path) -> None:
    writer = ZarrWriter(tmp_path / "a.zarr", (96, 96), UM, np.uint8, kind="labels", **SMALL)
    mask = np.zeros((96, 96), np.uint8)
    mask[40, 70] = 1
    fill(writer, mask)
    writer.finish()
    assert [p for p in files(tmp_path / "a.zarr") if p.startswith("0/c")] == ["0/c/1/2"]


def test_threads_write_what_one_writes(tmp_path: Path) -> None:
    image = noise(3, 130, 140)
    one = ZarrWriter(tmp_path / "one" / "a.zarr", (130, 140), UM, np.uint8, **SMALL, channels=("r", "g", "b"))
    fill(one, image)
    one.finish()
    many = ZarrWriter(tmp_path / "many" / "a.zarr", (130, 140), UM, np.uint8, **SMALL, channels=("r", "g", "b"))
    with ThreadPoolExecutor(8) as pool:
        boxes = Box.of_shape(many.shape).split(many.shard)
        list(pool.map(lambda box: many.write(box, image[(slice(None), *box.slices)]), boxes))
    many.finish()
    assert files(tmp_path / "one") == files(tmp_path / "many")


def test_boxes_of_several_shards(tmp_path: Path) -> None:
    mask = blobs(70, 100)
    writer = ZarrWriter(tmp_path / "a.zarr", (70, 100), UM, np.uint8, kind="labels", **SMALL)
    writer.write(Box.of_shape((70, 100)), mask)
    writer.finish()
    np.testing.assert_array_equal(zarr.open(tmp_path / "a.zarr", mode="r")["0"][:], mask)


@pytest.mark.parametrize("box", [Box((0, 0), (32, 31)), Box((1, 0), (31, 32)), Box((0, 0), (96, 32)), Box((-32, 0), (32, 32))])
def test_a_box_that_would_leave_part_of_a_shard(tmp_path: Path, box: Box) -> None:
    writer = ZarrWriter(tmp_path / "a.zarr", (70, 100), UM, np.uint8, kind="labels", **SMALL)
    with pytest.raises(ValueError, match="not aligned"):
        writer.write(box, np.zeros(box.size, np.uint8))


def test_an_array_of_another_shape(tmp_path: Path) -> None:
    writer = ZarrWriter(tmp_path / "a.zarr", (70, 100), UM, np.uint8, **SMALL)
    with pytest.raises(ValueError, match=r"takes an array of \(1, 32, 32\)"):
        writer.write(Box((0, 0), (32, 32)), np.zeros((32, 32), np.uint8))


# -- metadata, as others read it --------------------------------------------------------------------------------------
@VERSIONS
def test_ome_zarr_reads_a_group_of_labels(tmp_path: Path, version: ngff.Version) -> None:
    path = tmp_path / "labels.ome.zarr"
    masks = {"glomerulus": blobs(70, 101), "tubule": blobs(70, 101) * 2}
    for name, mask in masks.items():
        writer = ZarrWriter(
            path / "labels" / name, mask.shape, UM, np.uint8, kind="labels", version=version,
            classes={1: name}, colors={1: (255, 0, 0)}, **SMALL,
        )  # fmt: skip
        fill(writer, mask)
        writer.finish()
    write_labels_group(path, list(masks), version)
    location = parse_url(str(path), fmt=format_from_version(version))
    assert location is not None
    nodes = {Path(str(node.zarr.path)).name: node for node in Reader(location)()}
    for name, mask in masks.items():
        node = nodes[name]
        np.testing.assert_array_equal(np.asarray(node.data[0]), mask)
        assert [a["unit"] for a in node.metadata["axes"]] == ["micrometer", "micrometer"]
        assert node.metadata["coordinateTransformations"][1] == [{"type": "scale", "scale": [1.0, 1.0]}]
        assert node.metadata["color"] == {1: [1.0, 0.0, 0.0, 1.0]}
        assert node.metadata["properties"] == {1: {"class": name}}
    np.testing.assert_array_equal(open_image(path).read(Box.of_shape((70, 101)))[0], masks["glomerulus"])
    tubule = open_image(path / "labels" / "tubule")
    np.testing.assert_array_equal(tubule.read(Box.of_shape((70, 101)))[0], masks["tubule"])
    with pytest.raises(DataError, match="glomerulus, tubule"):
        open_image(path / "labels")


def test_the_metadata_models_of_the_format_accept_it(tmp_path: Path) -> None:
    models = pytest.importorskip("ome_zarr_models")
    write_image(ArraySource(noise(3, 40, 50), UM, ("red", "green", "blue")), tmp_path / "a.zarr")
    group = models.open_ome_zarr(zarr.open_group(tmp_path / "a.zarr", mode="r"))
    assert type(group).__name__ == "Image"
    assert group.ome_zarr_version == "0.5"


def test_pixels_get_no_unit(tmp_path: Path) -> None:
    write_image(ArraySource(noise(1, 40, 50)), tmp_path / "a.zarr")
    ome = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["attributes"]["ome"]
    assert all("unit" not in axis for axis in ome["multiscales"][0]["axes"])
    assert not open_image(tmp_path / "a.zarr").space.spacing.physical


def test_a_list_with_a_label_image_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="tubule"):
        write_labels_group(tmp_path / "a.zarr", ["tubule"])


def test_write_image_keeps_pixels_spacing_and_names(tmp_path: Path) -> None:
    array = noise(3, 90, 70)
    steps: list[tuple[int, int]] = []
    write_image(
        ArraySource(array, UM, ("a", "b", "c")), tmp_path / "a.zarr", progress=lambda done, total: steps.append((done, total))
    )
    source = open_image(tmp_path / "a.zarr")
    assert (source.channels, source.space.spacing) == (("a", "b", "c"), UM)
    np.testing.assert_array_equal(source.read(Box.of_shape((90, 70))), array)
    assert steps == [(1, 1)]


# -- killed, resumed, refused -----------------------------------------------------------------------------------------
def test_unfinished_does_not_look_finished(tmp_path: Path) -> None:
    writer = ZarrWriter(tmp_path / "a.zarr", (70, 100), UM, np.uint8, kind="labels", **SMALL)
    writer.write(Box((0, 0), (32, 32)), np.ones((32, 32), np.uint8))
    with pytest.raises(DataError, match="was not finished"):
        open_image(tmp_path / "a.zarr")


@VERSIONS
def test_resumed_ends_in_the_same_bytes(tmp_path: Path, version: ngff.Version) -> None:
    mask = blobs(70, 100)
    options: dict[str, Any] = {"kind": "labels", "version": version, **SMALL}
    straight = ZarrWriter(tmp_path / "one" / "a.zarr", mask.shape, UM, np.uint8, **options)
    fill(straight, mask)
    straight.finish()
    path = tmp_path / "two" / "a.zarr"
    killed = ZarrWriter(path, mask.shape, UM, np.uint8, **options)
    boxes = list(Box.of_shape(killed.shape).split(killed.shard))
    for box in boxes[:5]:
        killed.write(box, mask[box.slices])
    (path / "0" / "c.1234.partial").write_bytes(b"half a shard")
    resumed = ZarrWriter(path, mask.shape, UM, np.uint8, resume=True, **options)
    for box in boxes[4:]:
        resumed.write(box, mask[box.slices])
    resumed.finish()
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_resume_where_nothing_is_begins(tmp_path: Path) -> None:
    writer = ZarrWriter(tmp_path / "a.zarr", (70, 100), UM, np.uint8, kind="labels", resume=True, **SMALL)
    fill(writer, blobs(70, 100))
    writer.finish()
    assert open_image(tmp_path / "a.zarr").shape == (70, 100)


@pytest.mark.parametrize(
    "changed",
    [{"shape": (70, 101)}, {"dtype": np.uint16}, {"spacing": Spacing.um(0.25)}, {"chunk": 8}, {"spacing": Spacing.pixels()}],
)
def test_resuming_something_else(tmp_path: Path, changed: dict[str, Any]) -> None:
    first: dict[str, Any] = {"shape": (70, 100), "spacing": UM, "dtype": np.uint8, "kind": "labels", "chunk": 16, "shard": 32}
    ZarrWriter(tmp_path / "a.zarr", **first)
    with pytest.raises(OutputError, match="begin again"):
        ZarrWriter(tmp_path / "a.zarr", **first | changed | {"shard": 32 if "chunk" not in changed else 16}, resume=True)


def test_a_path_that_exists(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write_image(ArraySource(noise(1, 40, 50)), path)
    with pytest.raises(OutputError, match="--overwrite"):
        write_image(ArraySource(noise(1, 40, 50)), path)
    write_image(ArraySource(noise(1, 20, 20)), path, overwrite=True)
    assert open_image(path).shape == (20, 20)


def test_what_is_no_zarr_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    with pytest.raises(OutputError, match="refusing"):
        ZarrWriter(tmp_path / "thesis", (4, 4), UM, np.uint8, overwrite=True)
    assert (tmp_path / "thesis" / "chapter1.txt").exists()


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        ZarrWriter(tmp_path / "file" / "a.zarr", (4, 4), UM, np.uint8)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        yield


def test_a_full_disk_leaves_no_half_shard(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    writer = ZarrWriter(tmp_path / "a.zarr", (70, 100), UM, np.uint8, kind="labels", **SMALL)
    request.getfixturevalue("full_disk")
    with pytest.raises(OutputError, match=r"a\.zarr: cannot be written \(No space left on device\)"):
        writer.write(Box((0, 0), (32, 32)), np.ones((32, 32), np.uint8))
    assert [p for p in files(tmp_path / "a.zarr") if p.startswith("0/c")] == []


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"use one of 0\.5, 0\.4"):
        ZarrWriter(tmp_path / "a.zarr", (4, 4), UM, np.uint8, version="0.9")  # type: ignore[arg-type]
