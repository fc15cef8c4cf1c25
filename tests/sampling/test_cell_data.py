"""The prepared folder: what is written of an image comes back, aligned with its cells, and half-made folders are told."""

import json

import numpy as np
import pytest

from malpighi.errors import DataError
from malpighi.objects.cells import Cells
from malpighi.sampling.cell_data import FACTS, IMAGES, CellData, file_name, stored_shape
from malpighi.sampling.cell_folder import ImageRow, Sizes, cut, finish, shrunk, write_image

SIZES = Sizes(side=8, crop=4)
CHANNELS = ("red", "green")


def _cells(labels, border=None):
    labels = np.asarray(labels, np.int32)
    return Cells(labels, labels * (labels % 2 == 1), np.zeros(labels.max(), bool) if border is None else np.array(border))


def _image(labels, dtype=np.uint8):
    """Red is 10 × the cell's number, green 200 in cells."""
    labels = np.asarray(labels)
    return np.stack([10 * labels, 200 * (labels > 0)]).astype(dtype)


def _two():
    """8 × 8: cell 1 fills rows 0-3 and columns 0-3, cell 2 rows 4-5 and columns 2-5."""
    labels = np.zeros((8, 8), int)
    labels[:4, :4], labels[4:6, 2:6] = 1, 2
    return labels


def _write(folder, identifier, labels, **given):
    write_image(folder, identifier, _image(labels, given.pop("dtype", np.uint8)), _cells(labels), SIZES, **given)


def _finish(folder, *rows, classes=("A", "B")):
    finish(folder, rows, {"classes": classes, "channels": CHANNELS, "side": 8, "crop": 4})
    return CellData.open(folder)


@pytest.fixture
def data(tmp_path):
    _write(tmp_path, "plate/1", _two(), features={"mean_green": np.array([200.0, 200.0])})
    _write(tmp_path, "empty", np.zeros((8, 8), int))
    _write(tmp_path, "one", np.pad(np.ones((2, 4), int), ((2, 4), (0, 4))), features={"mean_green": np.array([200.0])})
    rows = [ImageRow("plate/1", "g", "", ("B",)), ImageRow("empty", "e", "", ()), ImageRow("one", "o", "test", None)]
    return _finish(tmp_path, *rows)


def test_columns(data):
    assert (len(data), data.cells, data.dtype) == (3, 3, "uint8")
    assert data.image_ids == ("plate/1", "empty", "one")
    assert (data.groups, data.splits) == (("g", "e", "o"), ("", "", "test"))
    np.testing.assert_array_equal(data.targets, np.array([[0, 1], [0, 0], [np.nan, np.nan]], np.float32))
    assert data.image_of.tolist() == [0, 0, 2]
    assert data.number.tolist() == [1, 2, 1]
    assert data.area.tolist() == [16, 8, 8]
    assert data.boxes.tolist() == [[0, 0, 4, 4], [4, 2, 6, 6], [2, 0, 4, 4]]
    assert [data.cells_of(i) for i in range(3)] == [slice(0, 2), slice(2, 2), slice(2, 3)]
    assert data.features == ("mean_green",)
    assert data.feature("mean_green").tolist() == [200, 200, 200]


def test_arrays_come_back_memory_mapped(data):
    np.testing.assert_array_equal(data.image(0), _image(_two()))
    np.testing.assert_array_equal(data.labels(0), _two())
    np.testing.assert_array_equal(data.nuclei(0), _two() * (_two() == 1))
    assert isinstance(data.image(0), np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        data.image(0)[0, 0, 0] = 1


def test_crops_hold_the_cell_and_what_lies_around_it(data):
    np.testing.assert_array_equal(data.crop(0), _image(_two())[:, :4, :4])
    assert data.mask(0).all()
    # cell 2: a box of 2 × 4, so the square is rows 3-6, of which 4-5 are the cell
    np.testing.assert_array_equal(data.crop(1), _image(_two())[:, 3:7, 2:6])
    np.testing.assert_array_equal(data.mask(1), np.array([0, 1, 1, 0], bool)[:, None].repeat(4, 1))
    assert data.crop(1)[0, 0].tolist() == [10, 10, 0, 0]  # cell 1 is in the crop of cell 2
    np.testing.assert_array_equal(data.crop(2)[0] == 10, data.mask(2))


def test_a_crop_that_hangs_over_the_image_is_filled_with_0():
    labels = np.zeros((8, 8), int)
    labels[:2, :2] = 1
    boxes = np.array([[0, 0, 2, 2]])
    crops, masks = cut(_image(labels), labels, boxes, Sizes(side=8, crop=4, span=4))
    np.testing.assert_array_equal(masks[0], np.pad(np.ones((2, 2), bool), 1))
    np.testing.assert_array_equal(crops[0, 1], 200 * masks[0])


def test_margin_is_a_share_of_the_box():
    labels = np.zeros((16, 16), int)
    labels[4:12, 4:12] = 1
    _, masks = cut(_image(labels), labels, np.array([[4, 4, 12, 12]]), Sizes(side=8, crop=12, margin=0.25))
    np.testing.assert_array_equal(masks[0], np.pad(np.ones((8, 8), bool), 2))


def test_crops_of_large_cells_are_means_over_areas():
    image = np.arange(64, dtype=np.uint16).reshape(1, 8, 8) * 4
    crops, masks = cut(image, np.ones((8, 8), int), np.array([[0, 0, 8, 8]]), SIZES)
    np.testing.assert_array_equal(crops[0, 0], image[0].reshape(4, 2, 4, 2).mean((1, 3)))
    assert crops.dtype == np.uint16
    assert masks.all()


def test_images_shrink_by_areas_and_are_padded_below_and_on_the_right():
    image = np.arange(16 * 8, dtype=np.float32).reshape(1, 16, 8)
    out = shrunk(image, 8)
    np.testing.assert_allclose(out[0, :, :4], image[0].reshape(8, 2, 4, 2).mean((1, 3)))
    assert not out[0, :, 4:].any()


def test_small_images_grow():
    assert stored_shape((4, 3), 8) == (8, 6)
    out = shrunk(np.full((1, 4, 3), 7, np.uint8), 8)
    assert (out[0, :, :6] == 7).all()
    assert not out[0, :, 6:].any()


def test_labels_keep_their_numbers_where_the_image_shrinks(tmp_path):
    labels = _two().repeat(2, 0).repeat(2, 1)
    write_image(tmp_path, "a", _image(labels), _cells(labels), SIZES)
    data = _finish(tmp_path, ImageRow("a", "", "", None))
    np.testing.assert_array_equal(data.labels(0), _two())
    assert data.scale.tolist() == [2.0]
    assert data.area.tolist() == [64, 32]
    assert data.shape.tolist() == [[16, 16]]
    assert data.inside(0) == (8, 8)


@pytest.mark.parametrize(
    ("given", "kept"), [("bool", "float32"), ("uint16", "uint16"), ("int64", "float32"), ("float64", "float32")]
)
def test_types(tmp_path, given, kept):
    write_image(tmp_path, "a", _image(_two()).astype(given), _cells(_two()), SIZES)
    data = _finish(tmp_path, ImageRow("a", "", "", None))
    assert data.image(0).dtype == data.crop(0).dtype == kept
    assert data.dtype == kept


def test_two_thousand_cells(tmp_path):
    labels = np.arange(1, 2001).reshape(40, 50).repeat(2, 0).repeat(2, 1)
    write_image(tmp_path, "many", _image(labels, np.uint16), _cells(labels), SIZES)
    data = _finish(tmp_path, ImageRow("many", "", "", None))
    assert data.cells == 2000
    assert all((data.crop(j)[0][data.mask(j)] == 10 * data.number[j]).all() for j in (0, 999, 1999))


def test_more_cells_than_numbers(tmp_path):
    labels = np.arange(1, 2**16 + 1).reshape(256, 256)
    with pytest.raises(DataError, match="65536 cells, at most 65535"):
        write_image(tmp_path, "many", _image(labels, np.float32), _cells(labels), SIZES)


def test_names_of_files():
    assert file_name("plate/1") == "plate%2F1"
    assert file_name("Zelle ü") != file_name("Zelle u")
    assert "/" not in file_name("..") + file_name("a/../b")
    long = [file_name("x" * 300 + end) for end in "ab"]
    assert long[0] != long[1]
    assert max(len(name) for name in long) <= 120


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": np.ones((4, 4), np.int32)}, "cells of shape"),
        ({"labels": np.full((8, 8), 3, np.int32), "border": np.zeros(3, bool)}, "without gaps"),
        ({"features": {"size": np.ones(3)}}, "size of 3 cells, the image has 2"),
        ({"image": np.zeros((8, 8), np.uint8)}, "cells are found in"),
        ({"image": np.full((2, 8, 8), np.nan)}, "NaN or infinity"),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_is_counted_as_done(tmp_path, change, said):
    labels = change.get("labels", _two().astype(np.int32))
    border = change.get("border", np.zeros(2, bool))
    with pytest.raises(DataError, match=f"a: .*{said}"):
        write_image(
            tmp_path, "a", change.get("image", _image(_two())), Cells(labels, labels, border), SIZES, change.get("features")
        )
    assert not list(tmp_path.glob("parts/*"))


def test_images_of_two_types(tmp_path):
    _write(tmp_path, "a", _two())
    _write(tmp_path, "b", _two(), dtype=np.uint16)
    with pytest.raises(DataError, match=r"uint16 \(such as b\), uint8 \(such as a\)"):
        _finish(tmp_path, ImageRow("a", "", "", None), ImageRow("b", "", "", None))


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(DataError, match="not a folder of prepared cells"):
        CellData.open(tmp_path)


def test_a_folder_that_is_not_finished(tmp_path):
    _write(tmp_path, "a", _two())
    with pytest.raises(DataError, match="not all prepared"):
        CellData.open(tmp_path)


def test_tables_that_do_not_belong_together(tmp_path):
    for name, labels in (("one", _two()), ("two", np.zeros((8, 8), int))):
        _write(tmp_path / name, "a", labels)
        _finish(tmp_path / name, ImageRow("a", "", "", None))
    (tmp_path / "one" / IMAGES).write_bytes((tmp_path / "two" / IMAGES).read_bytes())
    with pytest.raises(DataError, match=r"not those that images\.parquet counts"):
        CellData.open(tmp_path / "one")


@pytest.mark.parametrize("damage", ["{", "{}", json.dumps({"classes": 3})])
def test_damaged_facts(data, damage):
    (data.folder / FACTS).write_text(damage)
    with pytest.raises(DataError, match="damaged"):
        CellData.open(data.folder)


def test_a_missing_array(data):
    (data.folder / "images" / "empty.npy").unlink()
    with pytest.raises(DataError, match=r"empty\.npy: cannot be read"):
        data.image(1)


def test_a_column_that_is_not_there(data):
    with pytest.raises(DataError, match="no column 'size'"):
        data.feature("size")
