import json

import numpy as np
import pytest
import shapely
from PIL import Image

from malpighi.annotations.coco import read_coco
from malpighi.annotations.geojson import read_geojson, write_geojson
from malpighi.annotations.hpa import hpa_row
from malpighi.annotations.hpa_table import Cell, write_hpa
from malpighi.annotations.open import open_annotation
from malpighi.annotations.rle import RunLengths
from malpighi.annotations.submissions import read_table, write_table
from malpighi.errors import DataError, OutputError, RecipeError
from malpighi.geometry import Box, Shape, Space
from malpighi.tasks.convert import convert
from malpighi.tasks.convert_asked import Conversion

SIZE = (30, 40)
WHOLE = Box.of_shape(SIZE)
SPACE = Space.of_shape(SIZE)


def run(source, target, **more):
    return convert(Conversion(source, target, **more))


@pytest.fixture
def labels(tmp_path):
    """A label image of three nuclei, two of which touch."""
    array = np.zeros(SIZE, np.uint16)
    array[2:10, 2:10], array[2:10, 10:20], array[20:28, 30:40] = 1, 2, 3
    Image.fromarray(array).save(tmp_path / "nuclei.png")
    return tmp_path / "nuclei.png", array


def numbers(path, **more):
    return open_annotation(path, SPACE, **more).instances(WHOLE)


def test_a_label_image_goes_round_all_formats(tmp_path, labels):
    source, array = labels
    nucleus = ("Nucleoplasm",)
    assert run(source, tmp_path / "a.coco.json", classes=nucleus)["objects"] == 3
    assert read_coco(tmp_path / "a.coco.json").images[0].name == "nuclei.png"
    np.testing.assert_array_equal(numbers(tmp_path / "a.coco.json"), array)
    run(tmp_path / "a.coco.json", tmp_path / "b.csv", style="hpa")
    assert [cell.label for cell in hpa_row(tmp_path / "b.csv", "nuclei").cells] == [0, 0, 0]
    run(tmp_path / "b.csv", tmp_path / "c.csv", style="sartorius")
    assert len(read_table(tmp_path / "c.csv")["nuclei"]) == 3
    np.testing.assert_array_equal(numbers(tmp_path / "c.csv", row="nuclei", order="C"), array)
    run(tmp_path / "b.csv", tmp_path / "d.geojson", classes=nucleus)
    assert {shape.label for shape in read_geojson(tmp_path / "d.geojson")} == set(nucleus)
    run(tmp_path / "d.geojson", tmp_path / "e.json", style="coco", size=SIZE)
    run(tmp_path / "e.json", tmp_path / "f.png", objects=True)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "f.png")), array)
    run(tmp_path / "c.csv", tmp_path / "g.json", style="coco", order="C", size=SIZE, row="nuclei", classes=nucleus)
    np.testing.assert_array_equal(numbers(tmp_path / "g.json"), array)


def test_all_images_of_a_table_are_converted_or_the_one_that_is_named(tmp_path):
    mask = RunLengths.encode(np.eye(5, dtype=np.uint8))
    write_hpa(tmp_path / "t.csv", [("a", (5, 5), [Cell(3, 0.5, mask), Cell(4, 0.25, mask)]), ("b", (7, 6), [])])
    assert run(tmp_path / "t.csv", tmp_path / "t.json", style="coco")["objects"] == 2
    coco = read_coco(tmp_path / "t.json")
    assert [image.shape for image in coco.images] == [(5, 5), (7, 6)]
    assert len(coco.classes) == 19
    run(tmp_path / "t.json", tmp_path / "back.csv", style="hpa")
    assert (tmp_path / "back.csv").read_bytes() == (tmp_path / "t.csv").read_bytes()
    run(tmp_path / "t.csv", tmp_path / "b.json", style="coco", row="b")
    assert [image.name for image in read_coco(tmp_path / "b.json").images] == ["b"]
    run(tmp_path / "t.csv", tmp_path / "some.json", style="coco", classes=("Nuclear speckles",))
    assert [one["score"] for one in json.loads((tmp_path / "some.json").read_text())["annotations"]] == [0.25]


def overlapping(tmp_path, kind):
    shapes = [Shape(shapely.box(2, 2, 12, 12), "cell", id="first"), Shape(shapely.box(8, 8, 20, 20), "cell", id="second")]
    if kind == "geojson":
        write_geojson(tmp_path / "a.geojson", shapes)
        return tmp_path / "a.geojson"
    first, second = np.zeros((2, *SIZE), np.uint8)
    first[2:12, 2:12] = second[8:20, 8:20] = 255
    if kind == "folder":
        (tmp_path / "a").mkdir()
        Image.fromarray(first).save(tmp_path / "a" / "first.png")
        Image.fromarray(second).save(tmp_path / "a" / "second.png")
        return tmp_path / "a"
    rows = [("a", RunLengths.encode(mask, "C")) for mask in (first, second)]
    write_table(tmp_path / "a.csv", rows, ("id", "predicted"))
    return tmp_path / "a.csv"


@pytest.mark.parametrize("kind", ["geojson", "folder", "rows"])
def test_objects_that_overlap_are_written_as_coco_and_refused_as_rows(tmp_path, kind):
    source = overlapping(tmp_path, kind)
    more = {"size": SIZE, "order": "C" if kind == "rows" else None}
    assert run(source, tmp_path / "b.json", style="coco", **more)["objects"] == 2
    areas = [one["area"] for one in json.loads((tmp_path / "b.json").read_text())["annotations"]]
    assert areas == [100, 144]
    with pytest.raises(
        OutputError, match=r"(second\.png|instance 2|object \S+) and .*(first\.png|instance 1|object \S+) overlap"
    ) as error:
        run(source, tmp_path / "c.csv", style="sartorius", **more)
    assert "COCO" in str(error.value)
    with pytest.raises(OutputError, match=r"annotation 2 and .*annotation 1 overlap"):
        run(tmp_path / "b.json", tmp_path / "c.csv", style="sartorius")
    assert not (tmp_path / "c.csv").exists()


def test_what_a_format_cannot_hold_is_said(tmp_path, labels):
    source, _ = labels
    with pytest.raises(OutputError, match="class 'object' is none of HPA's 19"):
        run(source, tmp_path / "a.csv", style="hpa")
    with pytest.raises(RecipeError, match=r"--format coco is written as \.json"):
        run(source, tmp_path / "a.csv", style="coco")
    run(source, tmp_path / "a.coco.json", classes=("cell",))
    with pytest.raises(OutputError, match="has no class nucleus, only cell"):
        run(tmp_path / "a.coco.json", tmp_path / "b.csv", style="sartorius", classes=("nucleus",))


def test_broken_masks_leave_nothing(tmp_path):
    text = "ID,ImageWidth,ImageHeight,PredictionString\na,5,5,1 0.5 !!\n"
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=r"row 2 \(a\), triple 1"):
        run(tmp_path / "t.csv", tmp_path / "t.json", style="coco")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
