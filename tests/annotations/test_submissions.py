import numpy as np
import pytest

from malpighi.annotations.rle import RunLengths
from malpighi.annotations.submissions import open_rle, read_table, write_table
from malpighi.errors import DataError, OutputError
from malpighi.geometry import Box, Space, Spacing

MASK = (np.arange(48).reshape(6, 8) % 5 < 2).astype(np.uint8)
SPACE = Space.of_shape((6, 8))


def table(tmp_path, text):
    path = tmp_path / "train.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize("column", ["predicted", "rle", "encoding"])
def test_a_written_row_is_read_back(tmp_path, column):
    path = tmp_path / "out.csv"
    assert write_table(path, [("a", RunLengths.encode(MASK)), ("b", RunLengths.encode(MASK * 0))], ("id", column)) == 2
    assert path.read_text().splitlines()[0] == f"id,{column}"
    annotation = open_rle(path, SPACE, ("glomerulus",), "a")
    assert annotation.classes == ("glomerulus",)
    np.testing.assert_array_equal(annotation.rasterise(Box.of_shape((6, 8)))[0], MASK)
    assert not open_rle(path, SPACE, row="b").rasterise(Box.of_shape((6, 8))).any()


def test_spaces_about_column_names_do_not_count(tmp_path):
    assert read_table(table(tmp_path, "id, rle\na,1 2\n")) == {"a": ("1 2",)}


def test_outside_the_image_is_background(tmp_path):
    path = tmp_path / "out.csv"
    write_table(path, [("a", RunLengths.encode(MASK))])
    drawn = open_rle(path, SPACE).rasterise(Box((-2, -1), (10, 12)))[0]
    np.testing.assert_array_equal(drawn, np.pad(MASK, ((2, 2), (1, 3))))


def test_coarser_voxels_take_the_voxel_at_their_centre(tmp_path):
    path = tmp_path / "out.csv"
    write_table(path, [("a", RunLengths.encode(MASK, "C"))])
    space = Space.of_shape((6, 8), Spacing.um(0.5))
    drawn = open_rle(path, space, order="C").rasterise(Box((0, 0), (2, 3)), Spacing.um(1.5))
    # centres of the 3-wide voxels are 1.5, 4.5 and 7.5
    np.testing.assert_array_equal(drawn[0], MASK[np.ix_([1, 4], [1, 4, 7])])


def test_rows_of_one_id_are_instances(tmp_path):
    first, second = np.zeros((2, 6, 8), np.uint8)
    first[1:3, 1:3] = 1
    second[4:, 5:] = 1
    path = tmp_path / "cells.csv"
    write_table(path, [("a", RunLengths.encode(first, "C")), ("a", RunLengths.encode(second, "C"))], ("id", "predicted"))
    annotation = open_rle(path, SPACE, row="a", order="C")
    assert annotation.has_objects
    np.testing.assert_array_equal(annotation.instances(Box.of_shape((6, 8))), first + 2 * second)
    np.testing.assert_array_equal(annotation.rasterise(Box.of_shape((6, 8)))[0], first + second)


def test_one_row_an_image_has_no_instances(tmp_path):
    path = tmp_path / "out.csv"
    write_table(path, [("a", RunLengths.encode(MASK))])
    annotation = open_rle(path, SPACE)
    assert not annotation.has_objects
    with pytest.raises(DataError, match="pixels, not objects"):
        annotation.instances(Box.of_shape((6, 8)))


def test_one_row_a_slice_is_a_volume(tmp_path):
    volume = np.stack([MASK, MASK * 0, 1 - MASK])
    path = tmp_path / "vessels.csv"
    write_table(path, [(f"kidney_5_{z:04d}", RunLengths.encode(s, "C")) for z, s in enumerate(volume)], empty="1 0")
    assert "kidney_5_0001,1 0" in path.read_text()
    annotation = open_rle(path, Space.of_shape(volume.shape), row="kidney_5", order="C")
    np.testing.assert_array_equal(annotation.rasterise(Box((0, 1, 2), (3, 4, 5)))[0], volume[:, 1:5, 2:7])
    drawn = annotation.rasterise(Box((0, 0, 0), (1, 2, 2)), Spacing.pixels(3, 3))
    np.testing.assert_array_equal(drawn[0, 0], volume[1][np.ix_([1, 4], [1, 4])])


def test_a_missing_row_is_named(tmp_path):
    path = table(tmp_path, "id,rle\na,1 2\nb,1 2\n")
    with pytest.raises(DataError, match=r"train.csv: no row 'c'; 2 ids such as a, b"):
        open_rle(path, SPACE, row="c")
    with pytest.raises(DataError, match="--row"):
        open_rle(path, SPACE)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"columns \(none\)"),
        ("a,b\n1,2\n", "columns a, b"),
        ("id,rle\na\n", "row 2 has 1 fields"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, text, says):
    with pytest.raises(DataError, match=says):
        read_table(table(tmp_path, text))


def test_wrong_runs_name_file_and_row(tmp_path):
    with pytest.raises(DataError, match=r"train.csv, row a: pair 2 .*past the end"):
        open_rle(table(tmp_path, "id,rle\na,1 2 48 2\n"), SPACE)


def test_two_classes_are_one_too_many(tmp_path):
    with pytest.raises(DataError, match="hold one class, 2 are given"):
        open_rle(table(tmp_path, "id,rle\na,1 2\n"), SPACE, ("tuft", "capsule"))


def test_a_table_is_parsed_once_until_it_changes(tmp_path):
    path = table(tmp_path, "id,rle\na,1 2\n")
    first = read_table(path)
    assert read_table(path) is first
    path.write_text("id,rle\nb,1 2 4 1\n")
    assert list(read_table(path)) == ["b"]


def test_a_failed_table_leaves_nothing(tmp_path):
    def rows():
        yield "a", RunLengths.encode(MASK)
        raise OutputError("disk full")

    with pytest.raises(OutputError, match="disk full"):
        write_table(tmp_path / "out.csv", rows())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real_data
def test_the_gigapixel_mask_opens_by_its_row(real):
    space = Space.of_shape((31299, 44066))
    annotation = open_rle(real / "hubmap_kidney" / "train.csv", space, ("glomerulus",), "8242609fa")
    # the first run: 56 voxels from (0-based) 96,909,967 down its column
    x, y = divmod(96_909_967, 31299)
    drawn = annotation.rasterise(Box((y - 1, x), (58, 1)))[0, :, 0]
    assert drawn.tolist() == [0] + [1] * 56 + [0]
