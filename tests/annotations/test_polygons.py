import json
import logging

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from malpighi.annotations.outlines import ShapesAnnotation
from malpighi.annotations.polygons import read_json, read_polygons, write_polygons
from malpighi.errors import DataError
from malpighi.geometry import Box, Shape, Space

points = st.tuples(st.integers(-50, 50), st.integers(-50, 50)).map(lambda p: (p[0] / 2, p[1] / 2))
solids = st.lists(points, min_size=3, max_size=9).map(lambda p: shapely.MultiPoint(p).convex_hull).filter(lambda g: g.area > 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("polygons")


@given(st.lists(solids, max_size=4))
def test_written_rings_are_read_back(folder, given):
    assert write_polygons(folder / "a.json", (Shape(g, "") for g in given)) == len(given)
    found = read_polygons.__wrapped__(folder / "a.json").shapes
    assert all(a.geometry.equals_exact(b) for a, b in zip(found, given, strict=True))


def test_whole_numbers_are_written_as_such_and_open(tmp_path):
    write_polygons(tmp_path / "a.json", [Shape(shapely.Polygon([(0, 0), (2, 0), (2, 2.5)]), "")])
    assert json.loads((tmp_path / "a.json").read_text()) == [[[0, 0], [2, 0], [2, 2.5]]]


def test_filled_holes_are_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        write_polygons(tmp_path / "a.json", [Shape(shapely.box(0, 0, 9, 9) - shapely.box(1, 1, 2, 2), "")])
    assert "1 holes were filled" in caplog.text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{}", "JSON, but not polygons"),
        ('["a"]', "JSON, but not polygons"),
        ("[[[0, 0], [1], [2, 2]]]", r"object 1 has the point \[1\]"),
    ],
)
def test_what_is_no_polygon_list_is_refused(tmp_path, content, says):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=rf"a\.json: {says}"):
        read_polygons(tmp_path / "a.json")


def test_the_content_of_a_json_tells_its_kind(tmp_path):
    (tmp_path / "a.json").write_text("[[[0, 0], [2, 0], [2, 2]]]")
    geometry = {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 2], [0, 0]]]}
    feature = {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": "tuft"}}}
    (tmp_path / "b.json").write_text(json.dumps([feature]))
    assert [read_json(tmp_path / name).shapes[0].label for name in ("a.json", "b.json")] == ["", "tuft"]


@pytest.mark.real_data
def test_five_organ_polygons(real):
    files = sorted((real / "five_organs_polygons").glob("*.json"))
    found = [read_polygons(path) for path in files]
    rings = sum(len(json.loads(path.read_text())) for path in files)
    left_out = [note for o in found for note in o.notes if "enclose nothing" in note]
    assert (rings, len(left_out)) == (839, 1)  # one ring of 27861.json is a line there and back
    assert sum(len(o.shapes) for o in found) == 838
    assert all(shape.geometry.is_valid for o in found for shape in o.shapes)
    assert sum("cross themselves" in note for o in found for note in o.notes) > 10


@pytest.mark.real_data
def test_a_self_crossing_outline_is_drawn_as_shapely_says(real):
    found = read_polygons(real / "five_organs_polygons" / "10666.json")
    assert found.notes
    annotation = ShapesAnnotation("10666", Space.of_shape((3000, 3000)), found)
    anywhere = shapely.union_all([shape.geometry for shape in found.shapes])
    for shape in found.shapes[:3]:
        x, y = (int(v) for v in shape.geometry.bounds[:2])
        box = Box((y + 60, x + 60), (60, 60))
        rows, columns = np.mgrid[box.slices] + 0.5
        clear = shapely.distance(anywhere.boundary, shapely.points(columns, rows)) > 1e-6
        drawn = annotation.rasterise(box)[0]
        np.testing.assert_array_equal(drawn[clear], shapely.contains_xy(anywhere, columns, rows)[clear])
