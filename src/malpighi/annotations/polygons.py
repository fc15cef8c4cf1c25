"""Polygon JSON of HuBMAP's five-organ set: `[[[x, y], …], …]`, one ring an object, level-0 pixels, no classes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from malpighi.annotations.files import no_collector, once_per_file, replacing
from malpighi.annotations.geojson import outlines_of, parse_json
from malpighi.annotations.outlines import Outlines, checked
from malpighi.annotations.rings import geometries_of
from malpighi.errors import DataError
from malpighi.geometry import Shape

log = logging.getLogger(__name__)


@once_per_file
def read_polygons(path: Path) -> Outlines:
    """Read a list of rings; object n gets the id `n`.

    Raises:
        DataError: not such a list.
    """
    return polygons_of(path, parse_json(path))


@once_per_file
def read_json(path: Path) -> Outlines:
    """Read a `.json`, which may be polygon JSON or GeoJSON: only its content tells."""
    with no_collector():
        content = parse_json(path)
        rings = isinstance(content, list) and all(isinstance(item, list) for item in content)
        return polygons_of(path, content) if rings else outlines_of(path, content)


def polygons_of(path: Path, content: Any) -> Outlines:
    """The outlines in parsed polygon JSON."""
    if not isinstance(content, list) or not all(isinstance(ring, list) for ring in content):
        raise DataError(f"{path}: JSON, but not polygons: expected [[[x, y], …], …], a list of rings")
    geometries = geometries_of(path, [[[ring]] for ring in content])
    return checked(path, [Shape(g, "", id=str(n)) for n, g in enumerate(geometries, 1)])


def write_polygons(path: Path, shapes: Iterable[Shape]) -> int:
    """Write the outer rings; the format has neither holes, parts, classes nor measurements.

    A multipolygon becomes several objects; holes are filled, which is logged.

    Returns:
        How many rings were written.
    """
    import shapely

    count = holes = 0
    with replacing(path) as part, open(part, "w", encoding="utf-8") as out:
        out.write("[")
        for shape in shapes:
            for polygon in shapely.get_parts(shape.geometry):
                holes += len(polygon.interiors)
                ring = [[_plain(x), _plain(y)] for x, y in polygon.exterior.coords[:-1]]
                out.write((",\n" if count else "\n") + json.dumps(ring))
                count += 1
        out.write("\n]\n")
    if holes:
        log.warning("%s: %d holes were filled, polygon JSON has none; write GeoJSON to keep them", path, holes)
    return count


def _plain(value: float) -> int | float:
    return int(value) if value == int(value) else value
