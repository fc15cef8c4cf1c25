import pytest

from malpighi.annotations.image_table import is_run_table, read_image_table
from malpighi.errors import DataError


def written(tmp_path, text, name="table.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_sizes_ids_and_facts_in_the_files_order(tmp_path):
    table = read_image_table(written(tmp_path, "id,organ,img_height,img_width,rle\n7,lung,30,20,1 2\n3, spleen ,5,6,\n"))
    assert list(table.rows) == ["7", "3"]
    assert (table.key, table.runs) == ("id", "rle")
    assert table.size("7") == (30, 20)
    assert table.value("3", "organ") == "spleen"
    assert table.value("3", "sex") == table.value("9", "organ") == ""
    assert "rle" not in table.rows["7"]  # megabytes that nobody asked for


def test_files_are_images_by_their_name(tmp_path):
    table = read_image_table(written(tmp_path, "image_file,width_pixels,height_pixels\nslides/a.ome.tiff,20,30\n"))
    assert table.size("a") == (30, 20)
    assert table.runs == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,width\na,1\n", r"columns name, width; a table of images has one of id,"),
        ("id,width,height\na,1\n", r"row 2 has 2 fields, the header has 3"),
        ("id,width,height\na,1,2\na,1,2\n", r"row 3: 'a' is there twice"),
    ],
)
def test_what_is_no_table_of_images_is_named(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_image_table(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,rle\na,\n", r"has no sizes; a table of sizes has a column of"),
        ("id,width,height\nb,1,2\n", r"no row 'a'; add its width"),
        ("id,width,height\na,1,\n", r"row a:  × 1 is no size in pixels"),
        ("id,width,height\na,0,4\n", r"row a: 4 × 0 is no size in pixels"),
        ("id,width,height\na,inf,4\n", r"row a: 4 × inf is no size in pixels"),
    ],
)
def test_a_size_that_is_not_there_is_asked_for(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_image_table(written(tmp_path, text)).size("a")


def test_run_tables_are_known_by_their_header(tmp_path):
    assert is_run_table(written(tmp_path, "id,predicted\n"))
    assert is_run_table(written(tmp_path, '"id","organ","rle"\n'))
    assert not is_run_table(written(tmp_path, "id,width\n"))
    assert not is_run_table(written(tmp_path, "id,rle\n", "table.txt"))
    assert not is_run_table(tmp_path)
