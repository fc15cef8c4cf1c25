"""Exact polygon filling: a voxel is inside if its centre is, by the even-odd rule, holes included.

Row by row, every edge that crosses the line of voxel centres toggles inside and outside from the first centre at or past
the crossing. An edge owns its upper end and not its lower one, a crossing on a centre counts as left of it: outlines that
share a border share no voxel and leave none out. Coordinates are never shifted to the box before the crossing is
computed, so that a voxel comes out the same whatever box it is drawn with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from malpighi.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shapely.geometry.base import BaseGeometry


class Spans(NamedTuple):
    """Horizontal stretches of voxels, one an entry: `owner` fills columns start … stop of `row`, relative to the box."""

    owner: np.ndarray
    row: np.ndarray
    start: np.ndarray
    stop: np.ndarray


def spans(geometries: Sequence[BaseGeometry], box: Box, ratio: Sequence[float]) -> Spans:
    """What each of `geometries` fills of `box`.

    Args:
        geometries: shapely Polygons or MultiPolygons, (x, y) in level-0 pixels; they may cross themselves.
        box: (y, x), in voxels of `ratio` (y, x) level-0 pixels.

    Returns:
        spans ordered by owner (index into `geometries`), then row; none is empty.
    """
    ends, owner = _edges(geometries)
    x0, y0, x1, y1 = ends[:, 0] / ratio[1], ends[:, 1] / ratio[0], ends[:, 2] / ratio[1], ends[:, 3] / ratio[0]
    top, left = box.start
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), top, top + box.size[0]).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), top, top + box.size[0]).astype(np.int64)
    rows = last - first
    edge = np.repeat(np.arange(len(rows)), rows)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(rows) - rows, rows) + first[edge]
    slope = (x1 - x0)[edge] / (y1 - y0)[edge]
    crossing = x0[edge] + (row + 0.5 - y0[edge]) * slope
    column = np.clip(np.ceil(crossing - 0.5) - left, 0, box.size[1]).astype(np.int64)
    order = np.lexsort((column, row, owner[edge]))
    column = column[order]
    start, stop = column[0::2], column[1::2]  # a closed ring crosses a line an even number of times
    kept = np.flatnonzero(stop > start)
    at = order[0::2][kept]
    return Spans(owner[edge[at]], row[at] - top, start[kept], stop[kept])


def union(found: Spans, size: tuple[int, int]) -> np.ndarray:
    """(y, x) uint8: 1 where any span lies."""
    if not len(found.row):
        return np.zeros(size, np.uint8)
    width = size[1] + 1
    depth = np.zeros(size[0] * width, np.int32)
    np.add.at(depth, found.row * width + found.start, 1)
    np.add.at(depth, found.row * width + found.stop, -1)
    return (np.cumsum(depth, out=depth).reshape(size[0], width)[:, :-1] > 0).view(np.uint8)


def paint(found: Spans, size: tuple[int, int], values: np.ndarray) -> np.ndarray:
    """(y, x) int32: `values[owner]` where a span lies, the last owner's where several do."""
    out = np.zeros(size[0] * size[1], np.int32)
    length = found.stop - found.start
    begin = found.row * size[1] + found.start
    index = np.arange(length.sum()) + np.repeat(begin - (np.cumsum(length) - length), length)
    out[index] = np.repeat(values[found.owner], length)
    return out.reshape(size)


def _edges(geometries: Sequence[BaseGeometry]) -> tuple[np.ndarray, np.ndarray]:
    """All edges of all rings, (edge, x0 y0 x1 y1), and the index of the geometry that each belongs to."""
    import shapely

    parts, part_owner = shapely.get_parts(np.asarray(geometries, object), return_index=True)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[1:] == ring[:-1]
    ends = np.hstack([points[:-1], points[1:]])[same]
    owner = part_owner[ring_part[ring[1:]]][same] if len(ring) else np.zeros(0, np.int64)
    sloped = ends[:, 1] != ends[:, 3]
    return ends[sloped], owner[sloped]
