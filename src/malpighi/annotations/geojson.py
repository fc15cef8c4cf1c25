"""QuPath GeoJSON, plain or `.gz`: level-0 pixel coordinates; old and new properties are read, the new are written."""

from __future__ import annotations

import gzip
import json
import math
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from malpighi.annotations.files import no_collector, once_per_file, read_text, replacing
from malpighi.annotations.outlines import Color, Outlines, checked
from malpighi.annotations.rings import geometries_of
from malpighi.errors import DataError
from malpighi.geometry import Shape

KINDS = ("annotation", "detection", "cell", "tile")


@once_per_file
def read_geojson(path: Path) -> Outlines:
    """Read a FeatureCollection, a bare list of features, or one feature.

    Polygons and multipolygons become shapes; points and lines are left out and noted. `classification` is read as QuPath
    0.2 … 0.6 wrote it (`name` or `names`, `color` or `colorRGB`), `measurements` as an object or a list of name and value.

    Raises:
        DataError: not GeoJSON, truncated, or a geometry without numbers.
    """
    with no_collector():
        return outlines_of(path, parse_json(path))


def parse_json(path: Path) -> Any:
    """The JSON value in a file (or a `.gz` of one)."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON, or truncated ({error.msg}, line {error.lineno}); export it again") from error


def outlines_of(path: Path, content: Any) -> Outlines:
    """The outlines in parsed GeoJSON."""
    features = _features(path, content)
    kept: list[Mapping[str, Any]] = []
    coordinates: list[Any] = []
    other: dict[str, int] = {}
    for index, feature in enumerate(features):
        geometry = feature.get("geometry") if isinstance(feature, dict) else None
        if not isinstance(geometry, dict) or "type" not in geometry:
            raise DataError(f"{path}: feature {index + 1} has no geometry; a QuPath export holds features with one each")
        parts = _polygons(path, index, geometry)
        if parts:
            kept.append(feature)
            coordinates.append(parts)
        else:
            other[geometry["type"]] = other.get(geometry["type"], 0) + 1
    notes = [f"{n} objects of type {kind} have no area; left out" for kind, n in other.items()]
    colors: dict[str, Color] = {}
    shapes = [_shape(f, g, colors) for f, g in zip(kept, geometries_of(path, coordinates), strict=True)]
    return checked(path, shapes, notes, colors)


def _features(path: Path, content: Any) -> list[Any]:
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    elif isinstance(content, dict) and content.get("type") == "Feature":
        content = [content]
    if not isinstance(content, list):
        raise DataError(f"{path}: JSON, but not GeoJSON: neither a FeatureCollection nor a list of features")
    return content


def _polygons(path: Path, index: int, geometry: Mapping[str, Any]) -> list[Any]:
    """Parts of a geometry, each a list of rings; empty for points and lines."""
    kind = geometry["type"]
    if kind == "GeometryCollection":
        return [part for member in geometry.get("geometries", []) for part in _polygons(path, index, member)]
    if kind not in ("Polygon", "MultiPolygon"):
        return []
    coordinates = geometry.get("coordinates")
    if not isinstance(coordinates, list):
        raise DataError(f"{path}: feature {index + 1} is a {kind} without coordinates; export the file again")
    return [coordinates] if kind == "Polygon" else coordinates


def _shape(feature: Mapping[str, Any], geometry: Any, colors: dict[str, Color]) -> Shape:
    properties = feature.get("properties") or {}
    label, color = _classification(properties.get("classification"))
    if label and color:
        colors.setdefault(label, color)
    identity = str(feature.get("id") or properties.get("id") or "")
    kind = str(properties.get("objectType") or properties.get("object_type") or "")
    if identity.startswith("Path") and identity.endswith("Object"):  # QuPath 0.2: the id was the Java class
        kind, identity = identity.removeprefix("Path").removesuffix("Object").lower(), ""
    return Shape(
        geometry,
        label,
        _measurements(properties.get("measurements")),
        kind if kind in KINDS else "annotation",
        identity or str(uuid.uuid4()),
    )


def _classification(value: Any) -> tuple[str, Color | None]:
    if isinstance(value, str):
        return value, None
    if not isinstance(value, dict):
        return "", None
    names = value.get("names")
    label = ": ".join(map(str, names)) if isinstance(names, list) else str(value.get("name") or "")
    color = value.get("color")
    if isinstance(color, list) and len(color) >= 3:
        return label, (int(color[0]), int(color[1]), int(color[2]))
    packed = value.get("colorRGB")
    if isinstance(packed, int):  # Java's signed 0xAARRGGBB
        return label, (packed >> 16 & 255, packed >> 8 & 255, packed & 255)
    return label, None


def _measurements(value: Any) -> dict[str, float]:
    if isinstance(value, list):
        value = {m["name"]: m.get("value") for m in value if isinstance(m, dict) and "name" in m}
    if not isinstance(value, dict):
        return {}
    out = {}
    for name, number in value.items():
        try:
            out[str(name)] = float(number)
        except (TypeError, ValueError):
            continue
    return out


def write_geojson(
    path: Path,
    shapes: Iterable[Shape],
    colors: Mapping[str, Color] | None = None,
    metadata: Callable[[Shape], Mapping[str, str]] | None = None,
) -> int:
    """Write shapes as they come, as a FeatureCollection that QuPath opens; compressed where the name ends in `.gz`.

    Args:
        path: replaced only when all is written.
        shapes: may be a generator; one is held at a time.
        colors: class name → (red, green, blue); other classes take QuPath's own colours.
        metadata: what else is to be known of a shape, name → text; QuPath shows and keeps it.

    Returns:
        How many were written.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    count = 0
    with replacing(path) as part, open(part, "wb") as raw:
        # no name, no time: the same shapes give the same bytes
        out = gzip.GzipFile("", "wb", 6, raw, mtime=0) if path.suffix == ".gz" else raw
        out.write(b'{"type": "FeatureCollection", "features": [')
        for shape in shapes:
            out.write(
                (",\n" if count else "\n").encode()
                + _feature(shape, colors or {}, metadata(shape) if metadata else {}).encode()
            )
            count += 1
        out.write(b"\n]}\n")
        if out is not raw:
            out.close()
    return count


def _feature(shape: Shape, colors: Mapping[str, Color], metadata: Mapping[str, str]) -> str:
    import shapely

    properties: dict[str, Any] = {"objectType": shape.kind}
    if shape.label:
        properties["classification"] = {"name": shape.label}
        if shape.label in colors:
            properties["classification"]["color"] = list(colors[shape.label])
    measured = {name: float(value) for name, value in shape.measurements.items() if math.isfinite(value)}
    if measured:
        properties["measurements"] = measured
    if metadata:
        properties["metadata"] = dict(metadata)
    head = json.dumps({"type": "Feature", "id": _uuid(shape.id)}, ensure_ascii=False)[:-1]
    return f'{head}, "geometry": {shapely.to_geojson(shape.geometry)}, "properties": {json.dumps(properties, ensure_ascii=False)}}}'


def _uuid(identity: str) -> str:
    """The id itself if it is a UUID, which is all QuPath takes; else one derived from it."""
    try:
        return str(uuid.UUID(identity))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, identity))
