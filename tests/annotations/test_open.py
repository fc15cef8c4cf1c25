import json

import numpy as np
import pytest
import shapely

from malpighi.annotations.folders import write_folder
from malpighi.annotations.geojson import write_geojson
from malpighi.annotations.imagej import write_imagej
from malpighi.annotations.label_images import labels_of, layer_of, write_png, write_tiff, write_zarr
from malpighi.annotations.open import ANNOTATION_SUFFIXES, open_annotation, suffix_of
from malpighi.annotations.outlines import Outlines, ShapesAnnotation
from malpighi.annotations.polygons import write_polygons
from malpighi.annotations.rle import RunLengths
from malpighi.annotations.submissions import write_table
from malpighi.errors import DataError
from malpighi.geometry import Box, Shape, Space, Spacing

SPACE = Space.of_shape((40, 50), Spacing.um(0.5))
WHOLE = Box.of_shape((40, 50))
SHAPES = (Shape(shapely.Polygon([(3, 4), (30, 2), (20, 33)]), "gland"), Shape(shapely.box(33, 10, 45, 39), "gland"))
TRUTH = ShapesAnnotation("truth", SPACE, Outlines(SHAPES))
READ = labels_of(TRUTH)

WRITERS = {
    "a.csv": lambda p: write_table(p, [("img", RunLengths.encode_boxes(READ, SPACE.shape))]),
    "a.geojson": lambda p: write_geojson(p, SHAPES),
    "a.geojson.gz": lambda p: write_geojson(p, SHAPES),
    "a.json": lambda p: write_polygons(p, SHAPES),
    "a.zip": lambda p: write_imagej(p, SHAPES),
    "A.PNG": lambda p: write_png(p, READ, SPACE.shape),
    "a.tif": lambda p: write_tiff(p, READ, SPACE.shape),
    "a.ome.zarr": lambda p: write_zarr(p, {"gland": layer_of(TRUTH, "gland")}, SPACE.shape, SPACE.spacing),
    "folder": lambda p: write_folder(p, SHAPES, SPACE.shape),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(("box", "spacing"), [(WHOLE, 0.5), (Box((5, -3), (20, 30)), 0.5), (Box((1, 2), (9, 40)), 1.5)])
def test_every_format_draws_the_same(tmp_path, name, box, spacing):
    WRITERS[name](tmp_path / name)
    annotation = open_annotation(tmp_path / name, SPACE, ("gland",), row="img" if name == "a.csv" else "")
    assert annotation.classes == ("gland",)
    np.testing.assert_array_equal(annotation.rasterise(box, Spacing.um(spacing)), TRUTH.rasterise(box, Spacing.um(spacing)))
    annotation.close()


def test_the_suffix_decides(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("")
    with pytest.raises(DataError, match=r"a\.xyz: labels with the suffix \.xyz are not known; allowed are .*\.geojson\.gz"):
        open_annotation(path, SPACE)
    with pytest.raises(DataError, match=r"b\.csv: does not exist"):
        open_annotation(tmp_path / "b.csv", SPACE)


@pytest.mark.parametrize(
    ("name", "suffix"), [("A.GeoJSON.GZ", ".geojson.gz"), ("x.ome.zarr", ".zarr"), ("a.ome.tif", ".tif"), ("a", "")]
)
def test_suffixes_are_spelt_as_in_the_table(tmp_path, name, suffix):
    assert suffix_of(tmp_path / name) == suffix


def test_jpeg_is_not_offered():
    assert ".jpg" not in ANNOTATION_SUFFIXES


def test_geojson_named_json_is_taken(tmp_path):
    geometry = {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 2], [0, 0]]]}
    (tmp_path / "a.json").write_text(json.dumps({"type": "Feature", "geometry": geometry, "properties": {}}))
    assert len(list(open_annotation(tmp_path / "a.json", SPACE).shapes())) == 1
