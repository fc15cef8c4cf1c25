"""ImageJ regions: one `.roi`, or a `.zip` of them as the ROI manager saves it; read and written through `roifile`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.annotations.files import once_per_file, replacing
from malpighi.annotations.outlines import Outlines, checked, even_odd
from malpighi.errors import DataError, OutputError
from malpighi.geometry import Shape

if TYPE_CHECKING:
    from roifile import ImagejRoi
    from shapely.geometry.base import BaseGeometry

LABEL = "label"
"""Property of a region that holds our class name; ImageJ shows and keeps it."""

OVAL_POINTS = 128


@once_per_file
def read_imagej(path: Path) -> Outlines:
    """Read every region with an area: polygon, freehand, traced, rectangle, oval, composite.

    The region's name becomes the shape's id, its property `label` the class. Lines and points are left out and noted.

    Raises:
        DataError: not such a file, or damaged; the message names the region.
    """
    shapes: list[Shape] = []
    flat = 0
    for name, data in _entries(path):
        try:
            shape = _shape(name, data)
        except (ValueError, TypeError, IndexError, RuntimeError, NotImplementedError) as error:
            raise DataError(
                f"{path}: region {name} is damaged or of an unknown kind ({error}); save it again in ImageJ"
            ) from error
        if shape is None:
            flat += 1
        else:
            shapes.append(shape)
    return checked(path, shapes, [f"{flat} regions are lines or points; left out"] if flat else [])


def _entries(path: Path) -> list[tuple[str, bytes]]:
    try:
        if path.suffix.lower() == ".roi":
            return [(path.stem, path.read_bytes())]
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.lower().endswith(".roi") and not n.startswith("__MACOSX")]
            if not names:
                raise DataError(f"{path}: a zip without a single .roi file; save it from ImageJ's ROI manager")
            return [(n[:-4], archive.read(n)) for n in names]
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: not a zip file, or truncated ({error}); save it again from ImageJ's ROI manager") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file, or copy it again") from error


def _shape(name: str, data: bytes) -> Shape | None:
    import struct

    from roifile import ImagejRoi

    try:
        roi = ImagejRoi.frombytes(data)
    except struct.error as error:
        raise ValueError(str(error)) from error
    geometry = _geometry(roi)
    if geometry is None:
        return None
    properties = dict(line.split(": ", 1) for line in roi.props.splitlines() if ": " in line)
    return Shape(geometry, properties.get(LABEL, ""), id=roi.name or name)


def _geometry(roi: ImagejRoi) -> BaseGeometry | None:
    """The area of a region in level-0 pixels; None for lines and points."""
    import shapely
    from roifile import ROI_TYPE

    if roi.composite:
        rings: Any = roi.coordinates(multi=True)
        solid = [even_odd(shapely.Polygon(ring)) for ring in rings if len(ring) >= 4]
        return shapely.symmetric_difference_all(solid) if solid else shapely.Polygon()
    if roi.roitype in (ROI_TYPE.RECT, ROI_TYPE.OVAL):
        whole = (roi.left, roi.top, roi.right - roi.left, roi.bottom - roi.top)
        x, y, width, height = (roi.xd, roi.yd, roi.widthd, roi.heightd) if roi.subpixelrect else whole
        if roi.roitype == ROI_TYPE.RECT:
            return shapely.box(x, y, x + width, y + height)
        angle = np.linspace(0, 2 * np.pi, OVAL_POINTS, endpoint=False)
        return shapely.Polygon(np.stack([x + width / 2 * (1 + np.cos(angle)), y + height / 2 * (1 + np.sin(angle))], axis=1))
    if roi.roitype in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        points = np.asarray(roi.coordinates(), np.float64)
        if not np.isfinite(points).all():
            raise ValueError("a coordinate is not a finite number")
        return shapely.Polygon(points) if len(points) >= 3 else shapely.Polygon()
    return None


def write_imagej(path: Path, shapes: Iterable[Shape]) -> int:
    """Write a `.zip` with one region a shape, or a `.roi` with the only one; holes and parts become a composite region.

    Returns:
        How many were written.

    Raises:
        OutputError: a `.roi` was asked for and there is not exactly one shape.
    """
    path = Path(path)
    if path.suffix.lower() == ".roi":
        only = list(shapes)
        if len(only) != 1:
            raise OutputError(f"{path}: a .roi holds one region, there are {len(only)}; write a .zip")
        with replacing(path) as part:
            part.write_bytes(_region(only[0], only[0].id).tobytes())
        return 1
    count = 0
    with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for count, shape in enumerate(shapes, 1):
            name = f"{count:06d}-{shape.label}" if shape.label else f"{count:06d}"
            archive.writestr(f"{name.replace('/', '_')}.roi", _region(shape, name).tobytes())
    return count


def _region(shape: Shape, name: str) -> ImagejRoi:
    import shapely
    from roifile import ROI_TYPE, ImagejRoi

    rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(shapely.get_parts(shape.geometry))]
    if len(rings) == 1:
        points = rings[0][:-1]
        whole = (points == np.round(points)).all()
        roi = ImagejRoi.frompoints(points.astype(np.int64) if whole else points.astype(np.float32), name=name)
    else:
        path = np.concatenate([_path(ring) for ring in rings]).astype(np.float32)
        x0, y0, x1, y1 = shapely.bounds(shape.geometry)
        left, top, right, bottom = int(np.floor(x0)), int(np.floor(y0)), int(np.ceil(x1)), int(np.ceil(y1))
        roi = ImagejRoi(roitype=ROI_TYPE.RECT, name=name, left=left, top=top, right=right, bottom=bottom)
        roi.multi_coordinates, roi.shape_roi_size = path, len(path)
    if shape.label:
        roi.props = f"{LABEL}: {shape.label}\n"
    return roi


def _path(ring: np.ndarray) -> np.ndarray:
    """Java's path segments: 0 x y (move), 1 x y (line), …, 4 (close)."""
    segments = np.column_stack([np.ones(len(ring) - 1), ring[:-1]])
    segments[0, 0] = 0
    return np.append(segments.ravel(), 4)
