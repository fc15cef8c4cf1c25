import json

import numpy as np
import pytest
import shapely
import zarr
from PIL import Image

from malpighi.annotations.geojson import read_geojson, write_geojson
from malpighi.annotations.label_images import write_zarr
from malpighi.annotations.open import open_annotation
from malpighi.errors import DataError, OutputError, RecipeError
from malpighi.geometry import Box, Shape, Space, Spacing
from malpighi.tasks.convert import convert
from malpighi.tasks.convert_asked import Conversion

SIZE = (60, 80)
WHOLE = Box.of_shape(SIZE)
SPACE = Space.of_shape(SIZE)
SHAPES = [
    Shape(shapely.Polygon([(5, 5), (40, 8), (30, 45)]), "tuft"),
    Shape(shapely.box(50, 10, 70, 50) - shapely.box(55, 20, 60, 30), "tuft"),
]


@pytest.fixture
def annotated(tmp_path):
    write_geojson(tmp_path / "a.geojson", SHAPES, {"tuft": (1, 2, 3)})
    return tmp_path / "a.geojson"


def run(source, target, **more):
    return convert(Conversion(source, target, **more))


def drawn(path, **more):
    return open_annotation(path, SPACE, ("tuft",), **more).rasterise(WHOLE)


@pytest.mark.parametrize("name", ["b.csv", "b.png", "b.tif", "b.ome.zarr", "folder", "b.zip", "b.geojson.gz"])
def test_there_and_back_the_pixels_are_the_same(tmp_path, annotated, name):
    told = run(annotated, tmp_path / name, size=SIZE)
    assert told["kind"] == "labels"
    assert told["classes"] == ["tuft"]
    np.testing.assert_array_equal(drawn(tmp_path / name), drawn(annotated))
    back = tmp_path / "back.geojson"
    run(tmp_path / name, back, classes=("tuft",), size=SIZE)
    np.testing.assert_array_equal(drawn(back), drawn(annotated))
    assert {s.label for s in read_geojson(back).shapes} == {"tuft"}
    assert len(read_geojson(back).shapes) == 2


def test_outlines_need_no_image_to_become_outlines(tmp_path, annotated):
    assert run(annotated, tmp_path / "b.zip") == {
        "output": str(tmp_path / "b.zip"), "kind": "labels", "classes": ["tuft"], "objects": 2
    }  # fmt: skip
    with pytest.raises(DataError, match="--image, or give --width and --height"):
        run(annotated, tmp_path / "b.png")


def test_colours_are_kept(tmp_path, annotated):
    run(annotated, tmp_path / "b.geojson")
    assert read_geojson(tmp_path / "b.geojson").colors == {"tuft": (1, 2, 3)}


def test_touching_objects_stay_apart(tmp_path):
    labels = np.zeros(SIZE, np.uint16)
    labels[5:20, 5:20] = 1
    labels[5:20, 20:30] = 300
    Image.fromarray(labels).save(tmp_path / "nuclei.png")
    assert run(tmp_path / "nuclei.png", tmp_path / "b.geojson")["objects"] == 2
    assert sorted(s.geometry.area for s in read_geojson(tmp_path / "b.geojson").shapes) == [150, 225]
    assert run(tmp_path / "nuclei.png", tmp_path / "b.csv", objects=True, order="C", row="img")["objects"] == 2
    again = open_annotation(tmp_path / "b.csv", SPACE, row="img", order="C")
    np.testing.assert_array_equal(again.instances(WHOLE), np.unique(labels, return_inverse=True)[1].reshape(SIZE))


def test_the_image_tells_size_and_pixel_size(tmp_path, annotated):
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "slide.png")
    run(annotated, tmp_path / "b.ome.zarr", image=tmp_path / "slide.png", spacing=0.5)
    scale = zarr.open_group(tmp_path / "b.ome.zarr" / "labels" / "tuft", mode="r").attrs["ome"]["multiscales"][0]
    assert scale["datasets"][0]["coordinateTransformations"][0]["scale"] == [0.5, 0.5]


def test_an_image_becomes_ome_zarr(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "slide.png")
    assert run(tmp_path / "slide.png", tmp_path / "slide.ome.zarr", spacing=0.25)["kind"] == "image"
    array = zarr.open_group(tmp_path / "slide.ome.zarr", mode="r")["0"][:]
    np.testing.assert_array_equal(array, np.moveaxis(image, -1, 0))


def test_a_mask_named_by_its_class_becomes_labels(tmp_path):
    Image.fromarray(np.eye(*SIZE, dtype=np.uint8)).save(tmp_path / "mask.png")
    assert run(tmp_path / "mask.png", tmp_path / "b.ome.zarr", classes=("tuft",))["kind"] == "labels"


def test_what_exists_is_not_replaced_unasked(tmp_path, annotated):
    (tmp_path / "b.json").write_text("mine")
    with pytest.raises(OutputError, match=r"b\.json: exists; .*--overwrite"):
        run(annotated, tmp_path / "b.json")
    assert (tmp_path / "b.json").read_text() == "mine"
    run(annotated, tmp_path / "b.json", overwrite=True)
    assert len(json.loads((tmp_path / "b.json").read_text())) == 2
    with pytest.raises(OutputError, match="is the input itself"):
        run(annotated, annotated, overwrite=True)


def test_unknown_formats_and_missing_files_are_named(tmp_path, annotated):
    with pytest.raises(RecipeError, match=r"b\.xyz: cannot write \.xyz; allowed are"):
        run(annotated, tmp_path / "b.xyz")
    with pytest.raises(DataError, match=r"none\.csv: does not exist"):
        run(tmp_path / "none.csv", tmp_path / "b.png")


def test_a_row_holds_one_class(tmp_path):
    write_geojson(tmp_path / "a.geojson", [SHAPES[0], Shape(shapely.box(1, 1, 3, 3), "vessel")])
    with pytest.raises(OutputError, match="there are tuft, vessel; choose one with --class"):
        run(tmp_path / "a.geojson", tmp_path / "b.csv", size=SIZE)
    run(tmp_path / "a.geojson", tmp_path / "b.csv", size=SIZE, classes=("vessel",))
    assert (tmp_path / "b.csv").read_text() == "id,rle\na,62 2 122 2\n"


def test_a_prediction_is_brought_to_the_pixels_of_its_image(tmp_path):
    mask = np.zeros((30, 40), np.uint8)
    mask[5:10, 20:30] = 1
    layers = {"tuft": lambda box: mask[box.slices], "vessel": lambda box: mask[box.slices] * 0}
    write_zarr(tmp_path / "labels.ome.zarr", layers, (30, 40), Spacing.um(1.0))
    image = {"shape": SIZE, "spacing": {"values": [0.5, 0.5], "unit": "µm"}}
    facts = {"image": image, "classes": ["tuft", "vessel"], "spacing": {"values": [1.0, 1.0], "unit": "µm"}}
    (tmp_path / "manifest.json").write_text(json.dumps(facts))
    run(tmp_path, tmp_path / "out" / "b.csv", classes=("tuft",), row="img")
    drawn_back = open_annotation(tmp_path / "out" / "b.csv", SPACE, row="img").rasterise(WHOLE)[0]
    np.testing.assert_array_equal(drawn_back, np.kron(mask, np.ones((2, 2))))


def test_volumes_have_no_outlines(tmp_path):
    array = zarr.create_array(tmp_path / "v.zarr", shape=(4, 20, 20), chunks=(4, 20, 20), dtype="uint8")
    array[1:3, 5:9, 5:9] = 1
    with pytest.raises(OutputError, match="3-D"):
        run(tmp_path / "v.zarr", tmp_path / "b.geojson")
    run(tmp_path / "v.zarr", tmp_path / "b.tif")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.real_data
def test_hand_drawn_regions_of_a_photograph(tmp_path, real):
    folder = real / "kidney_dab"
    told = run(folder / "C1_rois.zip", tmp_path / "C1.tif", image=folder / "C1.jpg", classes=("glomerulus",))
    assert told["classes"] == ["glomerulus"]
    run(tmp_path / "C1.tif", tmp_path / "C1.geojson", classes=("glomerulus",))
    shapes = read_geojson(tmp_path / "C1.geojson").shapes
    assert len(shapes) >= 7
    assert all(s.geometry.is_valid for s in shapes)
