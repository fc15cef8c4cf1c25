"""The outline of one component, without the rest of the mask in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.objects.label import Components, Read
from malpighi.objects.numbered import Numbered
from malpighi.objects.pieces import checked_mask
from malpighi.objects.trace import fill_holes, lattice_codes, outline

if TYPE_CHECKING:
    from shapely.geometry import LinearRing, MultiPolygon, Polygon

WHOLE = 4096 * 4096
"""Components whose bounding box holds more pixels are traced block by block."""


@dataclass(frozen=True, eq=False)
class Outline:
    """What a component's pixels say of its form.

    Attributes:
        geometry: (x, y) in the mask's pixels, pixel i spans [i, i + 1).
        codes: (16,) how often each lattice code occurs, for `trace.perimeter`; of the component before filling where it was
            traced block by block.
        filled: pixels of the holes that were filled.
        kept: share of the pixel-edge length that is left after filling, where `codes` is from before it; else 1.
    """

    geometry: Polygon | MultiPolygon
    codes: np.ndarray
    filled: int = 0
    kept: float = 1.0


def outline_component(
    components: Components, component: int, read: Read | None = None, holes_below: float = 0, whole: int = WHOLE
) -> Outline:
    """Trace component 1 … n of a 2-D mask along its pixel edges.

    Args:
        read: reads the mask instead of `components.read`, for example through a `BlockCache`.
        holes_below: holes of fewer pixels are filled.
        whole: pixels up to which the bounding box is read at once.
    """
    box = components.box(component)
    if box.volume > whole:
        return _in_blocks(lambda inside: components.labels(inside) == component, components.block, box, holes_below)
    mask = alone(checked_mask((read or components.read)(box), box), components.faces_only)
    return _traced(mask, fill_holes(mask, holes_below, components.faces_only) if holes_below else mask, box)


def outline_number(
    objects: Numbered, place: int, read: Read | None = None, holes_below: float = 0, whole: int = WHOLE
) -> Outline:
    """Trace the object in place 1 … n of a label image along its pixel edges, without those that it touches.

    Args:
        read: reads the labels instead of `objects.read`, for example through a `BlockCache`.
        holes_below: holes of fewer pixels are filled, but not where another object lies in them.
        whole: pixels up to which the bounding box is read at once.
    """
    box, number = objects.box(place), objects.number(place)
    labels = read or objects.read
    if box.volume > whole:
        return _in_blocks(lambda inside: labels(inside) == number, objects.block, box, holes_below)
    held = labels(box)
    mask = held == number
    return _traced(mask, mask | (fill_holes(mask, holes_below) & (held == 0)) if holes_below else mask, box)


def _traced(mask: np.ndarray, filled: np.ndarray, box: Box) -> Outline:
    """The outline of `filled`, which is `mask` without some holes."""
    codes = lattice_codes(np.pad(filled, 1))
    added = int(np.count_nonzero(filled)) - int(np.count_nonzero(mask)) if filled is not mask else 0
    return Outline(_moved(outline(filled, codes), box), _counted(codes), added)


def simplified(geometry: Polygon | MultiPolygon, tolerance: float) -> Polygon | MultiPolygon:
    """A pixel-edge outline with far fewer vertices; as it was where that would spoil it.

    The steps of a slope are first cut half-way (as marching squares draws it), for from step to step there is no line that
    stays near; then Douglas-Peucker that keeps topology leaves out what lies within `tolerance`. Objects of a few pixels,
    whose area would change by more than 5 %, and the rare outline that would touch itself stay exact.
    """
    if tolerance <= 0:
        return geometry
    cut = _without_steps(geometry)
    simple = cut.simplify(tolerance, preserve_topology=False)  # 20 times as fast, and nearly always right
    if _same_form(simple, geometry):
        return simple
    simple = cut.simplify(tolerance, preserve_topology=True)
    return simple if _same_form(simple, geometry) else geometry


def _same_form(simple: Polygon | MultiPolygon, geometry: Polygon | MultiPolygon) -> bool:
    import shapely

    holes = [shapely.get_num_interior_rings(shapely.get_parts(g)).tolist() for g in (simple, geometry)]
    return holes[0] == holes[1] and bool(simple.is_valid) and abs(simple.area / geometry.area - 1) <= 0.05


def _without_steps(geometry: Polygon | MultiPolygon) -> Polygon | MultiPolygon:
    """Every corner cut from the middle of its last pixel edge to the middle of the next."""
    import shapely
    from shapely.geometry import MultiPolygon, Polygon

    def cut(ring: LinearRing) -> np.ndarray:
        corners = shapely.get_coordinates(ring)
        edges = np.diff(corners, axis=0)
        half = np.clip(edges / 2, -0.5, 0.5)
        return np.stack([corners[:-1] + half, corners[1:] - half], axis=1).reshape(-1, 2)

    polygons = [Polygon(cut(p.exterior), [cut(r) for r in p.interiors]) for p in shapely.get_parts(geometry)]
    return polygons[0] if len(polygons) == 1 else MultiPolygon(polygons)


def alone(mask: np.ndarray, faces_only: bool) -> np.ndarray:
    """The one component that fills the mask's box on all four sides, (y, x) bool, without the others that reach into it.

    There is only one: it joins left to right, so that no other can join top to bottom. Filled from the top row, for that
    works in this thread: labelling a small crop wakes OpenCV's other threads, which takes longer than the crop on a busy
    machine.
    """
    import cv2

    own = 2
    work = (mask != 0).view(np.uint8)
    for x in np.flatnonzero(work[0]).tolist():
        if not work[0, x]:
            continue
        *_, (_, _, width, height) = cv2.floodFill(work, None, (x, 0), own, flags=4 if faces_only else 8)
        if (height, width) == mask.shape:
            return work == own
        work[work == own] = 0  # another, which only reaches in
    raise DataError("the mask changed while it was worked: an object is not where it was found")


def _counted(codes: np.ndarray) -> np.ndarray:
    return np.bincount(codes.ravel(), minlength=16)


def _moved(geometry: Polygon | MultiPolygon, box: Box) -> Polygon | MultiPolygon:
    import shapely

    offset = np.array(box.start[::-1])
    return shapely.transform(geometry, lambda xy: xy + offset)


def _in_blocks(own: Read, block: tuple[int, ...], box: Box, holes_below: float) -> Outline:
    """Trace the part in every block, and unite them: the mask's edges are integers, so that the union is exact.

    Args:
        own: one box of the object's mask, (y, x) bool.
    """
    import shapely

    codes = np.zeros(16, np.int64)
    parts = []
    for core, mask in _pieces(own, block, box):
        codes += _counted(lattice_codes(mask))
        inside = np.ascontiguousarray(mask[1:, 1:])
        if inside.any():
            parts.append(_moved(outline(inside), core))
    exact = shapely.union_all(parts).simplify(0)
    if not holes_below:
        return Outline(exact, codes)
    filled = _without_holes(exact, holes_below)
    return Outline(filled, codes, round(filled.area - exact.area), filled.length / exact.length)


def _pieces(own: Read, block: tuple[int, ...], box: Box) -> Iterator[tuple[Box, np.ndarray]]:
    """Boxes that partition the lattice points of `box`, each with the pixels around them, one before the box's start."""
    for points in Box.of_bounds(box.start, tuple(n + 1 for n in box.stop)).split(block):
        pixels = Box.of_bounds(tuple(a - 1 for a in points.start), points.stop)
        inside = pixels.intersect(box)
        mask = np.zeros(pixels.size, bool)
        if not inside.empty:
            mask[inside.relative_to(pixels.start).slices] = own(inside)
        yield points, mask


def _without_holes(geometry: Polygon | MultiPolygon, below: float) -> Polygon | MultiPolygon:
    import shapely
    from shapely.geometry import MultiPolygon, Polygon

    parts = shapely.get_parts(geometry)
    polygons = [Polygon(p.exterior, [r for r in p.interiors if Polygon(r).area >= below]) for p in parts]
    return polygons[0] if len(polygons) == 1 else MultiPolygon(polygons)
