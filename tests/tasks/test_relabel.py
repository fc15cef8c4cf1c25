"""Outlines that a person edited: what became of each object, the labels that come of it, and files that do not belong."""

import csv
import gzip
import json

import numpy as np
import pytest
from PIL import Image

from malpighi.annotations.geojson import read_geojson, write_geojson
from malpighi.errors import DataError, OutputError, RecipeError
from malpighi.geometry import Box, Shape
from malpighi.sampling.cases import open_case
from malpighi.sampling.layouts import find_cases
from malpighi.tasks.edit_tables import counted, spoken
from malpighi.tasks.edits import compare
from malpighi.tasks.relabel import relabel
from system.tiny import malpighi, refused

AT = "2024-05-31"


def square(x, y, side=10, label="tuft", name=""):
    import shapely

    return (
        Shape(shapely.box(x, y, x + side, y + side), label, id=name)
        if name
        else Shape(shapely.box(x, y, x + side, y + side), label)
    )


def uid(n):
    return f"00000000-0000-4000-8000-{n:012d}"


PREDICTED = [
    square(5, 5, name=uid(1)),
    square(30, 5, name=uid(2)),
    square(55, 5, name=uid(3)),
    square(5, 30, 8, "capsule", uid(4)),
]


def predict(folder, name="slide", shapes=PREDICTED, spacing=0.5, classes=("tuft", "capsule")):
    """What `segment` leaves of an image of 64 × 96 pixels, as far as it is read here."""
    image = folder / "images" / f"{name}.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((64, 96, 3), 200, np.uint8)).save(image)
    out = folder / "out" / name
    out.mkdir(parents=True)
    told = {"shape": [64, 96], "spacing": {"values": [spacing] * 2, "unit": "µm"}, "path": str(image)}
    manifest = {"image": told, "classes": dict.fromkeys(classes, 0.5), "run": "runs/first", "spacing": told["spacing"]}
    (out / "manifest.json").write_text(json.dumps(manifest))
    write_geojson(out / "objects.geojson.gz", shapes)
    return folder / "out"


def edited(path, shapes):
    write_geojson(path, shapes)
    return path


@pytest.fixture
def out(tmp_path):
    return predict(tmp_path)


def test_objects_are_known_by_id_or_by_where_they_lie():
    before = [square(0, 0, name=uid(1)), square(20, 0, name=uid(2)), square(40, 0, name=uid(3)), square(60, 0, name=uid(4))]
    after = [
        square(0, 0, name=uid(1)),
        square(20, 5, name=uid(2)),  # moved by half: IoU 1/3, the id holds it
        square(40, 2),  # drawn anew: IoU 2/3
        square(80, 0),
    ]
    edits = compare(before, after)
    assert [edit.kind for edit in edits] == ["kept", "changed", "changed", "removed", "added"]
    assert [edit.iou for edit in edits] == pytest.approx([1, 1 / 3, 2 / 3, 0, 0])
    retyped = compare([square(0, 0, name=uid(1))], [square(0, 0, 8, "capsule", uid(1))])
    assert [edit.kind for edit in retyped] == ["retyped"]
    told = counted(edits)
    assert told == {
        "objects": 5, "kept": 1, "changed": 2, "added": 1, "removed": 1, "retyped": 0, "median_iou": 0.5,
    }  # fmt: skip
    assert spoken(told) == "5 objects: 1 kept, 2 changed (IoU .50), 1 added, 1 removed"


def test_of_two_that_fit_the_better_is_taken_and_each_once():
    edits = compare([square(0, 0), square(2, 0)], [square(1, 0), square(2, 0)])
    assert [(edit.before.geometry.bounds[0], edit.after.geometry.bounds[0]) for edit in edits] == [(0, 1), (2, 2)]


def test_there_and_back(out, tmp_path):
    one, _, three, four = PREDICTED
    new = square(70, 40, 12)
    file = edited(tmp_path / "slide.geojson", [one, square(55, 7, name=three.id), square(5, 30, 8, "tuft", four.id), new])
    told = relabel(out, file, tmp_path / "round1", by="A. Smith", at=AT)
    assert spoken(told) == "5 objects: 1 kept, 1 changed (IoU .67), 1 added, 1 removed, 1 retyped"
    assert told["by_class"]["tuft"]["added"] == 1
    table = find_cases(tmp_path / "round1")
    (case,) = table.cases
    assert table.classes == ("tuft", "capsule")
    assert case.spacing == 0.5
    assert case.attributes == {"annotator": "A. Smith", "annotated_at": AT, "predicted_by": "runs/first"}
    wanted = np.zeros((2, 64, 96), np.uint8)
    for x, y, side in ((5, 5, 10), (55, 7, 10), (5, 30, 8), (70, 40, 12)):
        wanted[0, y : y + side, x : x + side] = 1
    with open_case(case, table.classes) as opened:
        np.testing.assert_array_equal(opened.annotation.rasterise(Box.of_shape((64, 96))), wanted)


def test_each_object_says_who_drew_it(out, tmp_path):
    file = edited(tmp_path / "slide.geojson.gz", [PREDICTED[0], square(31, 5, name=uid(2)), square(70, 40)])
    relabel(out, file, tmp_path / "round1", by="A. Smith", at=AT)
    content = json.loads(gzip.decompress((tmp_path / "round1/labels/slide.geojson.gz").read_bytes()))
    said = [feature["properties"]["metadata"] for feature in content["features"]]
    assert [(one["origin"], one["edit"], one["predicted_by"]) for one in said] == [
        ("model", "kept", "runs/first"),
        ("human", "changed", "runs/first"),
        ("human", "added", ""),
    ]
    assert {(one["annotator"], one["annotated_at"]) for one in said} == {("A. Smith", AT)}
    rows = list(csv.DictReader((tmp_path / "round1/changes.csv").read_text().splitlines()))
    assert [(row["kind"], row["iou"]) for row in rows] == [
        ("kept", "1.0000"), ("changed", "0.8182"), ("removed", ""), ("removed", ""), ("added", ""),
    ]  # fmt: skip
    assert [row["area_before"] for row in rows] == ["100.0", "100.0", "100.0", "64.0", ""]


def test_a_folder_of_files_and_predictions_that_nobody_edited(tmp_path):
    for name in ("a", "b", "c"):
        out = predict(tmp_path, name)
    (tmp_path / "edited").mkdir()
    edited(tmp_path / "edited/a.geojson", PREDICTED)
    edited(tmp_path / "edited/b.png.geojson", PREDICTED[:1])  # QuPath's own name: the image's with its suffix
    told = relabel(out, tmp_path / "edited", tmp_path / "round1", by="me", at=AT)
    assert told["unedited"] == ["c"]
    assert told["images"]["b"]["removed"] == 3
    assert [case.id for case in find_cases(tmp_path / "round1").cases] == ["a", "b"]


def test_predictions_of_different_classes_are_counted_by_every_class(tmp_path):
    predict(tmp_path, "a", PREDICTED[:1], classes=("tuft",))
    out = predict(tmp_path, "b", PREDICTED[3:], classes=("capsule",))
    (tmp_path / "edited").mkdir()
    edited(tmp_path / "edited/a.geojson", PREDICTED[:1])
    edited(tmp_path / "edited/b.geojson", PREDICTED[3:])
    told = relabel(out, tmp_path / "edited", tmp_path / "round1", by="me", at=AT)
    assert {name: count["kept"] for name, count in told["by_class"].items()} == {"tuft": 1, "capsule": 1}


def test_an_empty_file_must_be_meant(out, tmp_path):
    file = edited(tmp_path / "slide.geojson", [])
    with pytest.raises(DataError, match="--allow-empty"):
        relabel(out, file, tmp_path / "round1", by="me")
    told = relabel(out, file, tmp_path / "round1", by="me", allow_empty=True)
    assert told["removed"] == 4
    table = find_cases(tmp_path / "round1")
    with open_case(table.cases[0], table.classes) as opened:
        assert not opened.annotation.rasterise(Box.of_shape((64, 96))).any()


def test_all_that_was_predicted_may_be_wrong(out, tmp_path):
    file = edited(tmp_path / "slide.geojson", [square(80, 50)])
    with pytest.raises(DataError, match="--allow-empty"):
        relabel(out, file, tmp_path / "round1", by="me")
    told = relabel(out, file, tmp_path / "round1", by="me", allow_empty=True)
    assert (told["removed"], told["added"]) == (4, 1)
    moved = edited(tmp_path / "slide.geojson", [square(80, 50, name=uid(1))])  # known by its id: half of the scale, say
    with pytest.raises(DataError, match=r"not in level-0 pixels$"):
        relabel(out, moved, tmp_path / "round2", by="me", allow_empty=True)


def test_objects_of_another_image_are_known_by_their_ids_wherever_they_lie(tmp_path):
    predict(tmp_path, "a")
    other = [square(6, 5, name=uid(11)), square(30, 6, name=uid(12))]  # by chance where those of "a" are
    out = predict(tmp_path, "b", other)
    with pytest.raises(DataError, match=r"predicted of b, not of .*a; name the file as its image"):
        relabel(out, edited(tmp_path / "a.geojson", other[:1]), tmp_path / "round1", by="me", allow_empty=True)
    told = relabel(out, edited(tmp_path / "b.geojson", other[:1]), tmp_path / "round1", by="me")
    assert (told["kept"], told["removed"]) == (1, 1)


@pytest.mark.parametrize(
    ("name", "shapes", "words"),
    [
        ("slide", [square(500, 500)], "another image"),
        ("slide", [square(80, 50)], "another image"),
        ("slide", [square(5, 5, label="tuftt", name=uid(1))], r"did you mean 'tuft'.*known are tuft, capsule"),
        ("slide", [square(5, 5, label="", name=uid(1))], "have no class"),
        ("slide", [PREDICTED[0], PREDICTED[0]], "two objects"),
    ],
)
def test_what_does_not_belong_is_refused_and_nothing_is_left(out, tmp_path, name, shapes, words):
    with pytest.raises(DataError, match=words):
        relabel(out, edited(tmp_path / f"{name}.geojson", shapes), tmp_path / "round1", by="me")
    assert not (tmp_path / "round1").exists()
    assert not (tmp_path / ".round1-part").exists()


def test_files_of_no_prediction(tmp_path):
    predict(tmp_path, "a")
    out = predict(tmp_path, "b")
    with pytest.raises(DataError, match="no prediction of 'c'"):
        relabel(out, edited(tmp_path / "c.geojson", PREDICTED), tmp_path / "round1", by="me")
    with pytest.raises(DataError, match="does not exist"):
        relabel(out, tmp_path / "none.geojson", tmp_path / "round1", by="me")
    with pytest.raises(DataError, match="holds no prediction"):
        relabel(tmp_path / "images", tmp_path / "c.geojson", tmp_path / "round1", by="me")
    volume = out / "b" / "objects.geojson.gz"
    volume.unlink()
    with pytest.raises(DataError, match="2-D"):
        relabel(out, edited(tmp_path / "b.geojson", PREDICTED), tmp_path / "round1", by="me")


def test_what_is_there_is_not_replaced_unasked(out, tmp_path):
    file = edited(tmp_path / "slide.geojson", PREDICTED)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not what"):
        relabel(out, file, tmp_path / "mine", by="me", overwrite=True)
    relabel(out, file, tmp_path / "round1", by="me")
    with pytest.raises(OutputError, match="--overwrite"):
        relabel(out, file, tmp_path / "round1", by="me")
    assert relabel(out, file, tmp_path / "round1", by="you", overwrite=True)["annotator"] == "you"
    with pytest.raises(RecipeError, match="is no date"):
        relabel(out, file, tmp_path / "round2", by="me", at="yesterday")


def test_the_command_line(out, tmp_path):
    file = edited(tmp_path / "slide.geojson", PREDICTED[:3])
    answer = malpighi("relabel", out, file, "-o", tmp_path / "round1", "--by", "me", "--at", AT, "--json")
    assert answer.code == 0, answer.err
    assert "4 objects: 3 kept, 0 changed, 0 added, 1 removed" in answer.err
    assert answer.json["kept"] == 3
    refused(malpighi("relabel", out, file, "-o", tmp_path / "round2", "--by", " "), 2, "--by")


def test_predicted_objects_keep_their_ids_in_our_own_files(out):
    assert [shape.id for shape in read_geojson(out / "slide" / "objects.geojson.gz")] == [uid(n) for n in (1, 2, 3, 4)]
