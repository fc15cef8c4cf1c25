"""Outlines of any file format: checked once, then drawn box by box."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from malpighi.annotations.base import UNNAMED, Annotation
from malpighi.annotations.scanline import Spans, paint, spans, union
from malpighi.errors import DataError
from malpighi.geometry import Box, Shape, Space, Spacing

if TYPE_CHECKING:
    from shapely import STRtree
    from shapely.geometry.base import BaseGeometry

log = logging.getLogger(__name__)

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Outlines:
    """What an outline file holds.

    Attributes:
        shapes: in the file's order, geometry valid: an outline that crossed itself is split by the even-odd rule.
        notes: what was tolerated, one line each.
        colors: class name → (red, green, blue), where the file says.
    """

    shapes: tuple[Shape, ...]
    notes: tuple[str, ...] = ()
    colors: dict[str, Color] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Shape]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def checked(
    path: object, found: Sequence[Shape], notes: Sequence[str] = (), colors: dict[str, Color] | None = None
) -> Outlines:
    """Make every geometry valid, leave out the empty ones, and note both; the notes are logged once.

    Self-crossing outlines are taken by the even-odd rule, as QuPath's and ImageJ's own painting does: both lobes of a
    figure of eight are inside, what a loop covers twice is not.
    """
    import shapely

    geometries = np.asarray([shape.geometry for shape in found], object)
    crossing = np.flatnonzero(~shapely.is_valid(geometries)) if len(geometries) else np.zeros(0, int)
    shapes = list(found)
    for index in crossing:
        shapes[index] = replace(shapes[index], geometry=even_odd(shapes[index].geometry))
    flat = [i for i, shape in enumerate(shapes) if shape.geometry.is_empty or shape.geometry.area == 0]
    told = list(notes)
    if len(crossing):
        told.append(
            f"{len(crossing)} outlines cross themselves (first: {_nth(found, crossing[0])}); filled by the even-odd rule"
        )
    if flat:
        told.append(f"{len(flat)} outlines enclose nothing (first: {_nth(found, flat[0])}); left out")
    for note in told:
        log.warning("%s: %s", path, note)
    dropped = set(flat)
    return Outlines(tuple(s for i, s in enumerate(shapes) if i not in dropped), tuple(told), colors or {})


def _nth(shapes: Sequence[Shape], index: int) -> str:
    return f"object {index + 1}, id {shapes[index].id}"


def even_odd(geometry: BaseGeometry) -> BaseGeometry:
    """The valid geometry that an invalid one fills by the even-odd rule, part by part."""
    import shapely

    parts = [shapely.make_valid(part, method="linework") for part in shapely.get_parts(geometry)]
    pieces = shapely.get_parts(shapely.get_parts(parts))  # make_valid may answer with a collection of multipolygons
    solid = pieces[shapely.get_type_id(pieces) == shapely.GeometryType.POLYGON]
    return shapely.union_all(solid) if len(solid) else shapely.Polygon()


class ShapesAnnotation(Annotation):
    """Outlined objects of a 2-D image; a box draws only the objects that meet it."""

    def __init__(self, name: str, space: Space, outlines: Outlines, classes: tuple[str, ...] = ()) -> None:
        if space.rank != 2:
            raise DataError(f"{name}: outlines belong to 2-D images, this one has {space.rank} axes; use a label image")
        labels, speaks = _classes(name, outlines.shapes, tuple(classes))
        self._shapes = tuple(
            s if s.label == label else replace(s, label=label)
            for s, label in zip(outlines.shapes, labels, strict=True)
            if label in speaks
        )
        self._geometries = np.asarray([s.geometry for s in self._shapes], object)
        self._layer = np.asarray([speaks.index(s.label) for s in self._shapes], np.int64)
        beyond = self._beyond(name, space)
        super().__init__(name, space, speaks, (*outlines.notes, *beyond))

    @cached_property
    def _tree(self) -> STRtree:
        import shapely

        return shapely.STRtree(self._geometries)

    @property
    def has_objects(self) -> bool:
        """Always: every outline is an object."""
        return True

    def shapes(self) -> Iterator[Shape]:
        """The objects in the file's order; one that leaves the image does so here too."""
        return iter(self._shapes)

    def _beyond(self, name: str, space: Space) -> list[str]:
        """Say how many outlines leave the image; all of them outside is an error."""
        import shapely

        if not len(self._geometries):
            return []
        height, width = space.shape
        x0, y0, x1, y1 = shapely.bounds(self._geometries).T
        outside = (x1 <= 0) | (y1 <= 0) | (x0 >= width) | (y0 >= height)
        if outside.all():
            raise DataError(
                f"{name}: all {len(outside)} outlines lie outside the image of {height} × {width}; "
                "they belong to another image, or are not in level-0 pixels"
            )
        leaving = np.flatnonzero((x0 < 0) | (y0 < 0) | (x1 > width) | (y1 > height))
        if not len(leaving):
            return []
        note = f"{len(leaving)} outlines leave the image (first: {_nth(self._shapes, leaving[0])}); clipped"
        log.warning("%s: %s", name, note)
        return [note]

    def _meeting(self, box: Box, spacing: Spacing) -> tuple[np.ndarray, Spans]:
        """The objects whose bounding box meets `box`, and what they fill of it."""
        import shapely

        ratio = spacing.over(self.space.spacing)
        (y0, x0), (y1, x1) = ([v * r for v, r in zip(edge, ratio, strict=True)] for edge in (box.start, box.stop))
        near = np.sort(self._tree.query(shapely.box(x0, y0, x1, y1)))
        return near, spans(self._geometries[near], box, ratio)

    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        near, found = self._meeting(box, spacing)
        layer = self._layer[near][found.owner]
        size = (box.size[0], box.size[1])
        layers = [union(Spans(*(part[layer == k] for part in found)), size) for k in range(len(self.classes))]
        return np.stack(layers)

    def _instances(self, box: Box, spacing: Spacing, classes: tuple[str, ...]) -> np.ndarray:
        near, found = self._meeting(box, spacing)
        wanted = [k for k, name in enumerate(self.classes) if name in classes]
        kept = np.isin(self._layer[near], wanted)[found.owner]
        return paint(Spans(*(part[kept] for part in found)), (box.size[0], box.size[1]), near + 1)


def _classes(name: str, shapes: Sequence[Shape], asked: tuple[str, ...]) -> tuple[list[str], tuple[str, ...]]:
    """The class of every shape, and the classes the annotation speaks of."""
    named = tuple(dict.fromkeys(s.label for s in shapes if s.label))
    if not named:
        if shapes and len(asked) > 1:
            raise DataError(f"{name}: its objects carry no class, yet {len(asked)} are given ({', '.join(asked)}); give one")
        speaks = asked or (UNNAMED,)
        return [speaks[0]] * len(shapes), speaks
    if asked and not set(asked) & set(named):
        log.warning("%s: holds %s, none of the classes asked for (%s)", name, ", ".join(named), ", ".join(asked))
    labels = [s.label or UNNAMED for s in shapes]
    return labels, asked or tuple(dict.fromkeys(labels))
