"""Masks of single objects, which may overlap: what COCO JSON and HPA's table hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from malpighi.annotations.base import UNLABELLED, Annotation
from malpighi.annotations.rle import Order, RunLengths
from malpighi.annotations.scanline import paint, spans
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True, eq=False)
class Instance:
    """One object of one class; an object of several classes is several of these with the same mask.

    Attributes:
        label: class name.
        runs: its mask, of the image's size, column-major.
        score: how sure a prediction is; None: nobody said.
        name: what errors call it.
        crowd: a region where objects are, not told apart (COCO's `iscrowd`).
    """

    label: str
    runs: RunLengths
    score: float | None = None
    name: str = ""
    crowd: bool = False


def placed(mask: np.ndarray, start: Sequence[int], shape: tuple[int, int], order: Order = "F") -> RunLengths:
    """Runs in an image of `shape` of a small (y, x) mask whose first pixel lies at `start`, which is inside."""
    if order == "C":
        turned = placed(mask.T, (start[1], start[0]), (shape[1], shape[0]))
        return RunLengths(turned.starts, turned.stops, shape, "C")
    height = mask.shape[0] + 1  # a row of zeros below: no run goes on in the next column
    local = RunLengths.encode(np.pad(mask, ((0, 1), (0, 0))))
    column, row = np.divmod(local.starts, height)
    starts = (start[1] + column) * shape[0] + start[0] + row
    stops = starts + local.stops - local.starts
    fresh = np.concatenate([[True], starts[1:] > stops[:-1]])[: len(starts)]  # in an image as high as the mask they do
    return RunLengths(starts[fresh], stops[np.append(fresh[1:], True)[: len(stops)]], shape, "F")


def drawn(geometry: BaseGeometry, shape: tuple[int, int]) -> RunLengths:
    """The column-major mask of an outline in an image of `shape`: a pixel is inside if its centre is."""
    x0, y0, x1, y1 = (0.0, 0.0, 0.0, 0.0) if geometry.is_empty else geometry.bounds
    box = Box.of_bounds((math.floor(y0), math.floor(x0)), (math.ceil(y1), math.ceil(x1))).clip(shape)
    if box.empty:
        return RunLengths(np.empty(0, np.int64), np.empty(0, np.int64), shape, "F")
    filled = paint(spans([geometry], box, (1.0, 1.0)), (box.size[0], box.size[1]), np.array([1]))
    return placed(filled > 0, box.start, shape)


def bounds(runs: RunLengths) -> Box:
    """The box of a column-major mask; an empty one where nothing is set."""
    if not len(runs.starts):
        return Box((0, 0), (0, 0))
    height = runs.shape[0]
    (left, top), (right, bottom) = np.divmod(runs.starts, height), np.divmod(runs.stops - 1, height)
    if (left != right).any():
        return Box.of_bounds((0, int(left[0])), (height, int(right[-1]) + 1))
    return Box.of_bounds((int(top.min()), int(left[0])), (int(bottom.max()) + 1, int(right[-1]) + 1))


def object_numbers(instances: Sequence[Instance]) -> list[int]:
    """Number of the object of each instance, from 1: the same mask with another label is the same object."""
    seen: dict[tuple[bytes, bytes], list[int]] = {}
    had: dict[int, set[str]] = {}
    numbers = []
    for item in instances:
        key = (item.runs.starts.tobytes(), item.runs.stops.tobytes())
        number = next((n for n in seen.get(key, ()) if item.label not in had[n]), len(had) + 1)
        if number > len(had):
            seen.setdefault(key, []).append(number)
        had.setdefault(number, set()).add(item.label)
        numbers.append(number)
    return numbers


class InstancesAnnotation(Annotation):
    """Objects with a mask each; they may overlap, and the later one wins where their numbers are drawn.

    Args:
        classes: names of all classes that the file speaks of.
        asked: those to take; empty: all.

    Raises:
        DataError: the file speaks of none of those asked for.
    """

    def __init__(
        self,
        name: str,
        space: Space,
        instances: Sequence[Instance],
        classes: tuple[str, ...],
        asked: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
    ) -> None:
        if space.rank != 2:
            raise DataError(f"{name}: masks of objects belong to 2-D images, this one has {space.rank} axes")
        if asked and not set(asked) & set(classes):
            raise DataError(f"{name}: holds {', '.join(classes)}, none of the classes asked for ({', '.join(asked)})")
        speaks = asked or classes
        crowds = sum(item.crowd for item in instances)
        more = (f"{crowds} regions of objects that are not told apart count as unlabelled",) if crowds else ()
        super().__init__(name, space, speaks, (*notes, *more))
        self.items = tuple(item for item in instances if item.label in speaks and not item.crowd)
        self._crowds = tuple(item for item in instances if item.label in speaks and item.crowd)
        self._numbers = object_numbers(self.items)
        self._boxes = {id(item): bounds(item.runs) for item in (*self.items, *self._crowds)}

    @property
    def has_objects(self) -> bool:
        """Always."""
        return True

    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        out = np.zeros((len(self.classes), *box.size), np.uint8)
        for items, value in ((self._crowds, UNLABELLED), (self.items, 1)):
            for item in items:
                self._draw(out[self.classes.index(item.label)], item, value, box, spacing)
        return out

    def _instances(self, box: Box, spacing: Spacing, classes: tuple[str, ...]) -> np.ndarray:
        out = np.zeros(box.size, np.int32)
        for item, number in zip(self.items, self._numbers, strict=True):
            if item.label in classes:
                self._draw(out, item, number, box, spacing)
        return out

    def _draw(self, out: np.ndarray, item: Instance, value: int, box: Box, spacing: Spacing) -> None:
        """Set `value` where the level-0 pixel at a voxel's centre is of the object; only its own box is looked at."""
        ratio = spacing.over(self.space.spacing)
        own = self._boxes[id(item)]
        centres = [
            np.floor((np.arange(a, b) + 0.5) * r + 1e-9).astype(np.int64)
            for a, b, r in zip(box.start, box.stop, ratio, strict=True)
        ]
        near = [
            slice(*np.searchsorted(places, (a, b)).tolist()) for places, a, b in zip(centres, own.start, own.stop, strict=True)
        ]
        rows, columns = (places[part] for places, part in zip(centres, near, strict=True))
        out[near[0], near[1]][item.runs.sample(rows, columns) > 0] = value
