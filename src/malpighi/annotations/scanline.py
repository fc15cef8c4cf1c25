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
    ends = np.where(ends[:, 1:2] > ends[:, 3:4], ends[:, [2, 3, 0, 1]], ends)  # one edge, walked up or down, rounds alike
    (top, left), (height, width) = box.start, box.size
    y = ends[:, 1::2] / ratio[0]
    first, last = np.sort(np.clip(np.ceil(y - 0.5), top, top + height).astype(np.int64), axis=1).T
    crossing = np.flatnonzero(last > first)
    (x0, x1), (y0, y1) = (ends[crossing, 0::2] / ratio[1]).T, y[crossing].T
    rows = (last - first)[crossing]
    edge = np.repeat(np.arange(len(rows)), rows)
    row = np.arange(len(edge)) + np.repeat(first[crossing] - (np.cumsum(rows) - rows), rows)
    at = x0[edge] + (row + 0.5 - y0[edge]) * ((x1 - x0) / (y1 - y0))[edge]
    column = np.clip(np.ceil(at - 0.5) - left, 0, width).astype(np.int64)
    # one number for owner, row and column: sorting it is several times as fast as sorting by three
    key = (owner[crossing][edge] * height + row - top) * (width + 1) + column
    key.sort()
    enter, leave = key[0::2], key[1::2]  # a closed ring crosses a line an even number of times
    enter, length = enter[leave > enter], (leave - enter)[leave > enter]
    line, start = np.divmod(enter, width + 1)
    return Spans(line // height, line % height, start, start + length)


def union(found: Spans, size: tuple[int, int]) -> np.ndarray:
    """(y, x) uint8: 1 where any span lies."""
    begin = found.row * size[1] + found.start
    order = np.argsort(begin, kind="stable")
    begin = begin[order]
    end = np.maximum.accumulate((found.row * size[1] + found.stop)[order])
    fresh = np.flatnonzero(np.concatenate([[True], begin[1:] > end[:-1]])[: len(begin)])  # overlapping spans are one
    edges = np.stack([begin[fresh], end[np.append(fresh[1:] - 1, len(end) - 1)[: len(fresh)]]], axis=1).ravel()
    gaps = np.diff(edges, prepend=0, append=size[0] * size[1])
    values = np.zeros(len(gaps), np.uint8)
    values[1::2] = 1
    return np.repeat(values, gaps).reshape(size)


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
    return ends, owner
