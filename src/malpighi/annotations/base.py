"""Annotation: the one contract through which every kind of label is rasterised."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box, Shape, Space, Spacing

UNLABELLED = 255
"""Value of `rasterise` where nobody said what is there: neither the class nor background. Losses and scores skip it."""

UNNAMED = "object"
"""Class of a file that names none (a binary mask, an unclassified outline); stands for the data set's only class."""


class Annotation(ABC):
    """Labels of one image, drawn box by box.

    Attributes:
        name: what errors call it, usually the path.
        space: level-0 shape and spacing of the image that the labels belong to.
        classes: names of the classes that this annotation *speaks of*; the order of `rasterise`'s layers. A class that is
            not among them is unlabelled here, not absent.
        notes: what was wrong in the file and tolerated (an outline that crosses itself, …), one line each.

    Classes are layers, not one integer image, because one may lie within another (the tuft in Bowman's capsule).
    A format writes `_rasterise` for a box inside the image, and `_instances` and `_shapes` where it knows objects.
    """

    def __init__(self, name: str, space: Space, classes: tuple[str, ...], notes: tuple[str, ...] = ()) -> None:
        if len(set(classes)) != len(classes):
            raise DataError(f"{name}: class names {classes} repeat; give each class once")
        self.name = name
        self.space = space
        self.classes = tuple(classes)
        self.notes = tuple(notes)

    # -- what a format writes ------------------------------------------------------------------------------------
    @abstractmethod
    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        """(class, *spatial) layers of `box` on the image's grid at `spacing`; every voxel's centre is in the image."""

    soft: bool = False
    """Whether the labels are probabilities: `probabilities` then says more than `rasterise`."""

    def _probabilities(self, box: Box, spacing: Spacing) -> np.ndarray:
        """(class, *spatial) float32 of `box`, as `_rasterise`; NaN where nobody said."""
        layers = self._rasterise(box, spacing)
        return np.where(layers == UNLABELLED, np.float32(np.nan), layers.astype(np.float32))

    def _instances(self, box: Box, spacing: Spacing, classes: tuple[str, ...]) -> np.ndarray:
        """(*spatial) int32 object numbers of `box`, as `_rasterise`; only objects of `classes`."""
        raise DataError(f"{self.name}: this format holds pixels, not objects; `malpighi.objects` labels them")

    @property
    def has_objects(self) -> bool:
        """Whether single objects are told apart: `instances` answers."""
        return False

    def shapes(self) -> Iterator[Shape]:
        """The objects, one by one, with outlines in level-0 pixels; formats without outlines raise `DataError`."""
        raise DataError(f"{self.name}: this format holds pixels, not outlines; run `malpighi convert` to outline them")

    def close(self) -> None:  # noqa: B027 (most formats hold nothing open)
        """Let go of open files."""

    # -- what everyone calls -------------------------------------------------------------------------------------
    def rasterise(self, box: Box, spacing: Spacing | None = None) -> np.ndarray:
        """Draw `box` on the image's grid at `spacing` (level 0 where None), touching nothing outside it.

        A voxel belongs to a class if its centre does. Outside the image everything is 0.

        Returns:
            (class, *spatial) uint8: 1 where the class is, 0 where it is not, `UNLABELLED` (255) where nobody said.
        """
        spacing = spacing or self.space.spacing
        inside = self._inside(box, spacing)
        if inside == box and not box.empty:
            return self._rasterise(box, spacing)
        out = np.zeros((len(self.classes), *box.size), np.uint8)
        if not inside.empty:
            out[(slice(None), *inside.relative_to(box.start).slices)] = self._rasterise(inside, spacing)
        return out

    def probabilities(self, box: Box, spacing: Spacing | None = None) -> np.ndarray:
        """Draw `box` as probabilities; those of labels that are none are 0 and 1.

        Returns:
            (class, *spatial) float32 in 0 … 1, NaN where nobody said; 0 outside the image.
        """
        spacing = spacing or self.space.spacing
        inside = self._inside(box, spacing)
        out = np.zeros((len(self.classes), *box.size), np.float32)
        if not inside.empty:
            out[(slice(None), *inside.relative_to(box.start).slices)] = self._probabilities(inside, spacing)
        return out

    def instances(self, box: Box, spacing: Spacing | None = None, classes: tuple[str, ...] | None = None) -> np.ndarray:
        """Draw `box` object by object; where objects overlap the later one in the file wins.

        Args:
            box: on the image's grid at `spacing`.
            classes: only objects of these; None: of all.

        Returns:
            (*spatial) int32: 0 where there is no object, else the object's number from 1, the same in every box.

        Raises:
            DataError: the format does not tell objects apart (`has_objects` is False).
        """
        spacing = spacing or self.space.spacing
        inside = self._inside(box, spacing)
        out = np.zeros(box.size, np.int32)
        if not inside.empty:
            wanted = self.classes if classes is None else classes
            out[inside.relative_to(box.start).slices] = self._instances(inside, spacing, wanted)
        return out

    def _inside(self, box: Box, spacing: Spacing) -> Box:
        """The voxels of `box` whose centre lies in the image."""
        ratio = spacing.over(self.space.spacing)  # raises on µm against pixels
        if box.rank != self.space.rank:
            raise DataError(f"{self.name}: box {box} has {box.rank} axes, the annotation has {self.space.rank}")
        return box.clip(tuple(math.ceil(n / r - 0.5) for n, r in zip(self.space.shape, ratio, strict=True)))
