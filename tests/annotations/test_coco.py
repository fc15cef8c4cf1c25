import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from malpighi.annotations.coco import coco_instances, is_coco, open_coco, read_coco, write_coco
from malpighi.annotations.instances import Instance
from malpighi.annotations.open import open_annotation, read_outlines
from malpighi.annotations.rle import RunLengths
from malpighi.errors import DataError
from malpighi.geometry import Box, Space
from malpighi.sampling.classnames import classes_named_in

SHAPE = (20, 30)
SPACE = Space.of_shape(SHAPE)
WHOLE = Box.of_shape(SHAPE)


def masks(count=4):
    generator = np.random.default_rng(1)
    return [generator.random(SHAPE) < 0.2 * (k + 1) for k in range(count)]


def instances():
    return [Instance("xy"[k % 2], RunLengths.encode(mask), score=None if k else 0.25) for k, mask in enumerate(masks())]


def content(*annotations, images=({"id": 7, "file_name": "a.png", "height": 20, "width": 30},)):
    return {
        "images": list(images),
        "annotations": [{"id": k, "image_id": 7, "category_id": 5, **one} for k, one in enumerate(annotations, 1)],
        "categories": [{"id": 5, "name": "cell"}],
    }


def file(tmp_path, *annotations, **more):
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content(*annotations, **more)))
    return path


def test_pycocotools_loads_what_is_written(tmp_path):
    images = [("a.png", SHAPE, instances()), ("b.png", (4, 5), [])]
    assert write_coco(tmp_path / "c.json", images, ("x", "y")) == 4
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(tmp_path / "c.json"))
    assert [theirs.imgs[k]["file_name"] for k in (1, 2)] == ["a.png", "b.png"]
    assert [one["name"] for one in theirs.loadCats([1, 2])] == ["x", "y"]
    found = theirs.loadAnns(theirs.getAnnIds(imgIds=1))
    for one, mask in zip(found, masks(), strict=True):
        np.testing.assert_array_equal(theirs.annToMask(one), mask)
        assert one["area"] == mask.sum()
        assert one["bbox"] == coco_mask.toBbox(one["segmentation"]).tolist()
    assert [one["category_id"] for one in found] == [1, 2, 1, 2]
    assert found[0]["score"] == 0.25
    assert "score" not in found[1]


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "c.json"
    write_coco(path, [("deep/a.png", SHAPE, instances()), ("b.png", (4, 5), [])], ("x", "y"))
    assert is_coco(path)
    assert read_outlines(path) is None
    assert classes_named_in(path) == ("x", "y")
    for row in ("a", "a.png", "deep/a.png", "1"):
        annotation = open_annotation(path, SPACE, row=row)
        assert annotation.classes == ("x", "y")
        layers = annotation.rasterise(WHOLE)
        np.testing.assert_array_equal(layers[0], masks()[0] | masks()[2])
    assert [item.score for item in annotation.items] == [0.25, None, None, None]
    assert open_annotation(path, SPACE, ("y",), "a").classes == ("y",)
    assert not open_coco(path, Space.of_shape((4, 5)), row="b").rasterise(Box.of_shape((4, 5))).any()


@pytest.mark.parametrize("plain", [True, False])
def test_run_lengths_of_pycocotools_are_read(tmp_path, plain):
    written = []
    for mask in masks():
        encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        flat = mask.ravel(order="F").astype(np.int8)
        edges = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
        counts = np.diff([0, *edges, flat.size]).tolist() if plain else encoded["counts"].decode()
        written.append({"segmentation": {"size": [20, 30], "counts": counts}})
    coco = read_coco(file(tmp_path, *written))
    for one, mask in zip(coco_instances(coco, coco.images[0]), masks(), strict=True):
        np.testing.assert_array_equal(one.runs.decode(), mask)


def test_polygons_stay_outlines_and_parts_that_overlap_are_one(tmp_path):
    path = file(
        tmp_path,
        {"segmentation": [[2, 2, 10, 2, 10, 8, 2, 8], [5, 5, 15, 5, 15, 12, 5, 12]]},
        {"segmentation": [[20, 1, 28, 1, 28, 9, 20, 9]], "score": 0.5},
    )
    annotation = open_coco(path, SPACE)
    first, second = annotation.shapes()
    assert (first.geometry.area, second.geometry.area) == (48 + 70 - 15, 64)
    assert (first.label, second.id, second.measurements) == ("cell", "2", {"score": 0.5})
    expected = np.zeros(SHAPE)
    expected[2:8, 2:10] = expected[5:12, 5:15] = 1
    expected[1:9, 20:28] = 2
    np.testing.assert_array_equal(annotation.instances(WHOLE), expected)
    coco = read_coco(path)
    drawn = [one.runs.decode() for one in coco_instances(coco, coco.images[0])]
    np.testing.assert_array_equal(drawn[0] + 2 * drawn[1], expected)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(path))
    np.testing.assert_array_equal(theirs.annToMask(theirs.anns[2]), drawn[1])


def test_outlines_and_masks_in_one_image(tmp_path):
    rle = coco_mask.encode(np.asfortranarray(masks()[0].astype(np.uint8)))
    path = file(
        tmp_path,
        {"segmentation": [[2, 2, 10, 2, 10, 8, 2, 8]]},
        {"segmentation": {"size": [20, 30], "counts": rle["counts"].decode()}, "iscrowd": 1},
    )
    annotation = open_coco(path, SPACE)
    assert len(annotation.items) == 1
    assert annotation.notes


RLE = {"size": [20, 30], "counts": [600]}


@pytest.mark.parametrize(
    ("one", "says"),
    [
        ({"segmentation": {"size": [30, 20], "counts": [600]}}, r"annotation 1: its mask is of \[30, 20\]"),
        ({"segmentation": {"size": [20, 30], "counts": [599]}}, "annotation 1: counts add up to 599"),
        ({"segmentation": {"size": [20, 30], "counts": "\n"}}, "annotation 1: character 1"),
        ({"segmentation": {"size": [20, 30]}}, "annotation 1: its counts are neither"),
        ({"segmentation": []}, "annotation 1: has no mask"),
        ({"bbox": [1, 2, 3, 4]}, "annotation 1: has no mask"),
        ({"segmentation": RLE, "image_id": 8}, "annotation 1: is of image 8 and category 5"),
        ({"segmentation": RLE, "category_id": 6}, "annotation 1: is of image 7 and category 6"),
    ],
)
def test_broken_annotations_are_named(tmp_path, one, says):
    with pytest.raises(DataError, match=says):
        open_coco(file(tmp_path, one), SPACE)


def test_broken_files_are_named(tmp_path):
    path = file(tmp_path, images=[{"id": 7, "height": 20, "width": 30}] * 2)
    with pytest.raises(DataError, match="an image id is given twice"):
        read_coco(path)
    path.write_text(json.dumps({"images": [{"id": 1}], "annotations": []}))
    with pytest.raises(DataError, match="not a complete COCO file"):
        read_coco(path)
    path.write_text(json.dumps([{"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": RLE}]))
    with pytest.raises(DataError, match="a list of COCO results"):
        is_coco(path)


def test_another_size_or_image_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.png: is of 20 × 30 there, the image of 30 × 20"):
        open_coco(file(tmp_path, {"segmentation": RLE}), Space.of_shape((30, 20)))
    images = [{"id": k, "file_name": f"{k}.png", "height": 20, "width": 30} for k in (7, 8)]
    with pytest.raises(DataError, match=r"no image 'x'; 2 images such as 7\.png, 8\.png"):
        open_coco(file(tmp_path, images=images), SPACE, row="x")


def test_geojson_and_polygons_are_no_coco(tmp_path):
    for text in ('{"type": "FeatureCollection", "features": []}', "[[[1, 2], [3, 4], [5, 1]]]", '{"type": "Feature"}'):
        (tmp_path / "a.json").write_text(text)
        assert not is_coco(tmp_path / "a.json")
