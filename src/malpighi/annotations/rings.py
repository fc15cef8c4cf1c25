"""Rings of points → shapely geometries, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from malpighi.errors import DataError


def geometries_of(path: object, objects: Sequence[Sequence[Sequence[Sequence[Any]]]]) -> np.ndarray:
    """One shapely Polygon or MultiPolygon an object.

    Args:
        path: named in errors.
        objects: object → parts → rings (outer first, then holes) → points [x, y, …], closed or not. A ring of fewer
            than three points is left out; an object without any ring becomes an empty polygon.

    Returns:
        (object,) array of geometries.

    Raises:
        DataError: a point is not two numbers; the message counts objects from 1.
    """
    import shapely

    parts, owner = [], []
    for index, polygons in enumerate(objects):
        try:
            solid = [[ring for ring in rings if len(ring) >= 3] for rings in polygons if len(rings) and len(rings[0]) >= 3]
        except TypeError as error:
            raise DataError(
                f"{path}: object {index + 1} has coordinates of the wrong nesting; export the file again"
            ) from error
        parts += solid
        owner += [index] * len(solid)
    rings = [ring for part in parts for ring in part]
    out = np.full(len(objects), shapely.Polygon(), object)
    if not rings:
        return out
    lengths = np.array([len(ring) for ring in rings])
    points = _points(path, rings, owner, [len(part) for part in parts])
    if not np.isfinite(points).all():
        first = np.searchsorted(np.cumsum(lengths), np.argmin(np.isfinite(points).all(axis=1)), "right")
        index = np.repeat(owner, [len(part) for part in parts])[first]
        raise DataError(f"{path}: object {index + 1} has a coordinate that is not a finite number; export the file again")
    points, ring = _closed(points, lengths)
    closed = shapely.linearrings(points, indices=ring)
    polygons = shapely.polygons(closed, indices=np.repeat(np.arange(len(parts)), [len(part) for part in parts]))
    count = np.bincount(owner, minlength=len(objects))
    single = np.flatnonzero(count == 1)
    out[single] = polygons[np.isin(owner, single)]
    for many in np.flatnonzero(count > 1):
        out[many] = shapely.multipolygons(polygons[np.asarray(owner) == many])
    return out


def _points(path: object, rings: list[Sequence[Sequence[Any]]], owner: list[int], ring_counts: list[int]) -> np.ndarray:
    """(point, 2) of all rings; further coordinates (z) are dropped."""
    try:
        points = np.array(list(chain.from_iterable(rings)), np.float64)
        if points.ndim == 2 and points.shape[1] >= 2:
            return points[:, :2]
    except (TypeError, ValueError):
        pass
    for index, ring in zip(np.repeat(owner, ring_counts).tolist(), rings, strict=True):
        for point in ring:
            if not isinstance(point, (list, tuple, np.ndarray)) or len(point) < 2 or not _numbers(point[:2]):
                raise DataError(f"{path}: object {index + 1} has the point {str(point)[:40]}; a point is [x, y]")
    return np.array([point[:2] for point in chain.from_iterable(rings)], np.float64)  # some with z, some without


def _numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in values)


def _closed(points: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of all rings, every ring closed and at least four points long, and the ring each belongs to."""
    stop = np.cumsum(lengths)
    first = points[stop - lengths]
    lacking = (first != points[stop - 1]).any(axis=1) | (lengths < 4)
    points = np.insert(points, stop[lacking], first[lacking], axis=0)
    return points, np.repeat(np.arange(len(lengths)), lengths + lacking)
