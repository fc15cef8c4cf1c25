import zipfile

import numpy as np
import pytest
import roifile
import shapely
from hypothesis import given
from hypothesis import strategies as st

from malpighi.annotations.imagej import read_imagej, write_imagej
from malpighi.errors import DataError, OutputError
from malpighi.geometry import Shape

points = st.tuples(st.integers(-50, 50), st.integers(-50, 50)).map(lambda p: (p[0] / 2, p[1] / 2))
solids = st.lists(points, min_size=3, max_size=9).map(lambda p: shapely.MultiPoint(p).convex_hull).filter(lambda g: g.area > 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("imagej")


@given(st.lists(st.tuples(solids, st.sampled_from(["", "tuft"])), min_size=1, max_size=4))
def test_written_regions_are_read_back(folder, given):
    shapes = [Shape(geometry, label) for geometry, label in given]
    assert write_imagej(folder / "a.zip", shapes) == len(shapes)
    found = read_imagej.__wrapped__(folder / "a.zip").shapes
    assert [s.label for s in found] == [s.label for s in shapes]
    assert all(a.geometry.equals(b.geometry) for a, b in zip(found, shapes, strict=True))


@pytest.mark.parametrize(
    "geometry",
    [
        shapely.box(0, 0, 9, 9) - shapely.box(1, 1, 2, 2),
        shapely.MultiPolygon([shapely.box(0, 0, 2, 2), shapely.box(5, 5, 6, 7)]),
        shapely.box(70_000, 80_000.5, 70_010, 80_020),
    ],
    ids=["hole", "parts", "beyond 16 bits"],
)
def test_holes_parts_and_far_places_survive(tmp_path, geometry):
    write_imagej(tmp_path / "a.zip", [Shape(geometry, "tuft")])
    shape = read_imagej(tmp_path / "a.zip").shapes[0]
    assert shape.geometry.equals(geometry)
    assert shape.label == "tuft"


def test_one_region_is_a_roi_file(tmp_path):
    shape = Shape(shapely.box(1, 2, 3, 5), "", id="first")
    assert write_imagej(tmp_path / "a.roi", [shape]) == 1
    assert isinstance(roifile.roiread(tmp_path / "a.roi"), roifile.ImagejRoi)
    found = read_imagej(tmp_path / "a.roi").shapes[0]
    assert found.geometry.equals(shape.geometry)
    assert found.id == "first"
    with pytest.raises(OutputError, match=r"holds one region, there are 2; write a \.zip"):
        write_imagej(tmp_path / "b.roi", [shape, shape])


def test_rectangle_oval_and_line(tmp_path):
    frame = {"left": 10, "top": 20, "right": 30, "bottom": 60}
    rois = [
        roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, name="r", **frame),
        roifile.ImagejRoi(roitype=roifile.ROI_TYPE.OVAL, name="o", **frame),
        roifile.ImagejRoi(roitype=roifile.ROI_TYPE.LINE, name="l", x1=1, y1=1, x2=5, y2=5),
    ]
    roifile.roiwrite(tmp_path / "a.zip", rois)
    found = read_imagej(tmp_path / "a.zip")
    rectangle, oval = (s.geometry for s in found.shapes)
    assert rectangle.bounds == (10, 20, 30, 60)
    assert rectangle.area == 800
    assert oval.bounds == pytest.approx((10, 20, 30, 60))
    assert oval.area == pytest.approx(np.pi * 10 * 20, rel=0.001)
    assert found.notes == ("1 regions are lines or points; left out",)


def test_a_file_that_is_no_zip_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 truncated")
    with pytest.raises(DataError, match=r"a\.zip: not a zip file, or truncated"):
        read_imagej(tmp_path / "a.zip")


def test_a_zip_of_other_things_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(DataError, match=r"without a single \.roi"):
        read_imagej(tmp_path / "a.zip")


@pytest.mark.parametrize("keep", [10, 70, 100])
def test_a_damaged_region_is_named(tmp_path, keep):
    roi = roifile.ImagejRoi.frompoints(np.arange(60).reshape(30, 2))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.roi", roi.tobytes())
        archive.writestr("bad.roi", roi.tobytes()[:keep])
    with pytest.raises(DataError, match=r"a\.zip: region bad is damaged"):
        read_imagej(tmp_path / "a.zip")


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "count"), [("C1", 7), ("C2", 6), ("C3", 6)])
def test_hand_drawn_glomeruli(real, name, count):
    found = read_imagej(real / "kidney_dab" / f"{name}_rois.zip").shapes
    assert len(found) == count
    for shape, roi in zip(found, roifile.roiread(real / "kidney_dab" / f"{name}_rois.zip"), strict=True):
        assert shape.id == roi.name
        left, top, right, bottom = shape.geometry.bounds
        assert (left, top) == (roi.left, roi.top)
        assert (right, bottom) == (roi.right, roi.bottom)
        assert 5_000 < shape.geometry.area < 40_000
