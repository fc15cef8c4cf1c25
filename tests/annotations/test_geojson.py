import gzip
import json
import uuid

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from malpighi.annotations.geojson import read_geojson, write_geojson
from malpighi.errors import DataError, OutputError
from malpighi.geometry import Shape

RING = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]
HOLE = [[1, 1], [1, 2], [2, 2], [2, 1], [1, 1]]


def feature(properties=None, coordinates=None, kind="Polygon", **more):
    geometry = {"type": kind, "coordinates": coordinates or [RING, HOLE]}
    return {"type": "Feature", "geometry": geometry, "properties": properties or {}, **more}


def read(tmp_path, content, name="a.geojson"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_geojson(path)


@pytest.mark.parametrize("wrap", [lambda f: {"type": "FeatureCollection", "features": [f]}, lambda f: [f], lambda f: f])
def test_collection_list_and_single_feature(tmp_path, wrap):
    found = read(tmp_path, wrap(feature()))
    assert [s.geometry.area for s in found.shapes] == [15]


def test_new_properties(tmp_path):
    identity = str(uuid.uuid4())
    properties = {
        "objectType": "cell",
        "classification": {"name": "Tumor", "color": [200, 0, 10]},
        "measurements": {"Area µm^2": 12.5, "broken": None},
        "isLocked": True,
    }
    found = read(tmp_path, feature(properties, id=identity, nucleusGeometry={"type": "Polygon", "coordinates": [RING]}))
    shape = found.shapes[0]
    assert (shape.id, shape.label, shape.kind) == (identity, "Tumor", "cell")
    assert shape.measurements == {"Area µm^2": 12.5}
    assert found.colors == {"Tumor": (200, 0, 10)}


def test_old_properties(tmp_path):
    properties = {
        "classification": {"name": "Tumor", "colorRGB": -3670016},  # 0xffc80000 as Java's signed int
        "measurements": [{"name": "Area", "value": 3}, {"name": "Broken", "value": "NaN?"}],
    }
    found = read(tmp_path, feature(properties, id="PathDetectionObject"))
    shape = found.shapes[0]
    assert (shape.label, shape.kind, shape.measurements) == ("Tumor", "detection", {"Area": 3.0})
    assert found.colors == {"Tumor": (200, 0, 0)}
    assert uuid.UUID(shape.id)


def test_derived_classes_are_joined_as_qupath_shows_them(tmp_path):
    found = read(tmp_path, feature({"classification": {"names": ["Tumor", "Positive"]}}))
    assert found.shapes[0].label == "Tumor: Positive"


def test_multipolygons_keep_parts_and_holes(tmp_path):
    far = [[x + 10, y] for x, y in RING]
    found = read(tmp_path, feature(coordinates=[[RING, HOLE], [far]], kind="MultiPolygon"))
    geometry = found.shapes[0].geometry
    assert geometry.geom_type == "MultiPolygon"
    assert geometry.area == 31


def test_points_and_lines_are_left_out_and_noted(tmp_path):
    found = read(tmp_path, [feature(), feature(coordinates=[1, 2], kind="Point")])
    assert len(found.shapes) == 1
    assert found.notes == ("1 objects of type Point have no area; left out",)


def test_a_third_coordinate_is_dropped(tmp_path):
    found = read(tmp_path, feature(coordinates=[[[*p, 7] for p in RING[:3]] + RING[3:]]))
    assert found.shapes[0].geometry.area == 16


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not JSON, or truncated"),
        ('{"type": "FeatureCollection", "features": [{"type"', "truncated .*line 1"),
        ({"boxes": []}, "not GeoJSON"),
        ({"type": "FeatureCollection"}, "not GeoJSON"),
        ([1, 2], "feature 1 has no geometry"),
        ([feature(), {"type": "Feature"}], "feature 2 has no geometry"),
        ({**feature(), "geometry": {"type": "Polygon"}}, "feature 1 is a Polygon without coordinates"),
        (feature(coordinates=[[[0, 0], [1, "a"], [1, 1]]]), r"object 1 has the point \[1, 'a'\]"),
        (feature(coordinates=[[0, 1, 2, 3]]), "object 1 has the point 0"),
        (feature(coordinates=[1, 2]), "wrong nesting"),
        (
            [feature(), feature(coordinates=[[[0, 0], [float("nan"), 1], [1, 1]]])],
            "object 2 has a coordinate that is not a finite",
        ),
    ],
)
def test_what_is_no_geojson_is_refused(tmp_path, content, says):
    with pytest.raises(DataError, match=rf"a\.geojson: .*{says}"):
        read(tmp_path, content)


def test_truncated_gz_is_refused(tmp_path):
    path = tmp_path / "a.geojson.gz"
    path.write_bytes(gzip.compress(json.dumps(feature()).encode())[:-12])
    with pytest.raises(DataError, match=r"a\.geojson\.gz: .*truncated"):
        read_geojson(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.geojson: cannot be read"):
        read_geojson(tmp_path / "none.geojson")


points = st.tuples(st.integers(-50, 50), st.integers(-50, 50)).map(lambda p: (p[0] / 2, p[1] / 2))
solids = st.lists(points, min_size=3, max_size=9).map(lambda p: shapely.MultiPoint(p).convex_hull).filter(lambda g: g.area > 0)
shapes = st.builds(
    Shape,
    solids,
    st.sampled_from(["", "glomerulus", 'a "quoted" é']),
    st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=2),
    st.sampled_from(["annotation", "detection", "cell", "tile"]),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("geojson")


@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz"])
@given(st.lists(shapes, max_size=4))
def test_written_shapes_are_read_back(folder, name, given):
    assert write_geojson(folder / name, iter(given)) == len(given)
    found = read_geojson.__wrapped__(folder / name).shapes
    assert [(s.label, s.measurements, s.kind, s.id) for s in found] == [(s.label, s.measurements, s.kind, s.id) for s in given]
    assert all(a.geometry.equals_exact(b.geometry) for a, b in zip(found, given, strict=True))


def test_what_is_written_is_what_qupath_wants(tmp_path):
    holed = shapely.Polygon(RING, [HOLE])
    given = [
        Shape(holed, "Tumor", {"Area": 3.0, "none": float("nan")}, "detection", id="12"),
        Shape(shapely.box(0, 0, 1, 1), ""),
    ]
    write_geojson(tmp_path / "a.geojson", given, {"Tumor": (200, 0, 0)})
    content = json.loads((tmp_path / "a.geojson").read_text())
    first, second = content["features"]
    assert content["type"] == "FeatureCollection"
    assert first["properties"] == {
        "objectType": "detection",
        "classification": {"name": "Tumor", "color": [200, 0, 0]},
        "measurements": {"Area": 3.0},
    }
    assert str(uuid.UUID(first["id"])) == first["id"]
    assert len(first["geometry"]["coordinates"]) == 2
    assert all(ring[0] == ring[-1] for ring in first["geometry"]["coordinates"])
    assert second["properties"] == {"objectType": "annotation"}


def test_the_same_shapes_give_the_same_bytes(tmp_path):
    shape = Shape(shapely.box(0, 0, 1, 1), "a", id="7")
    for name in ("a.geojson.gz", "b.geojson.gz"):
        write_geojson(tmp_path / name, [shape])
    assert (tmp_path / "a.geojson.gz").read_bytes() == (tmp_path / "b.geojson.gz").read_bytes()


def test_a_failed_export_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.geojson"
    write_geojson(path, [])
    before = path.read_bytes()

    def broken():
        yield Shape(shapely.box(0, 0, 1, 1), "a")
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        write_geojson(path, broken())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"a\.geojson: cannot be written"):
        write_geojson(tmp_path / "file" / "a.geojson", [])


def test_a_large_file_is_read_in_order(tmp_path):
    given = [Shape(shapely.box(i, 0, i + 1, 1 + i % 3), f"class {i % 2}") for i in range(500)]
    write_geojson(tmp_path / "a.geojson", given)
    found = read_geojson(tmp_path / "a.geojson").shapes
    np.testing.assert_array_equal([s.geometry.area for s in found], [1 + i % 3 for i in range(500)])
