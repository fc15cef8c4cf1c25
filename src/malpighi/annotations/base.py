"""Annotation: the one contract through which every kind of label is rasterised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box, Shape, Space, Spacing

UNLABELLED = 255
"""Value of `rasterise` where nobody said what is there: neither the class nor background. Losses and scores skip it."""


class Annotation(ABC):
    """Labels of one image, drawn box by box.

    Attributes:
        name: what errors call it, usually the path.
        space: level-0 shape and spacing of the image that the labels belong to.
        classes: names of the classes that this annotation *speaks of*; the order of `rasterise`'s layers. A class that is
            not among them is unlabelled here, not absent.

    Classes are layers, not one integer image, because one may lie within another (the tuft in Bowman's capsule).
    """

    def __init__(self, name: str, space: Space, classes: tuple[str, ...]) -> None:
        if len(set(classes)) != len(classes):
            raise DataError(f"{name}: class names {classes} repeat; give each class once")
        self.name = name
        self.space = space
        self.classes = tuple(classes)

    @abstractmethod
    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        """Layers of `box`, which may hang over the image, on the image's grid at `spacing`."""

    def rasterise(self, box: Box, spacing: Spacing | None = None) -> np.ndarray:
        """Draw `box` on the image's grid at `spacing` (level 0 where None), touching nothing outside it.

        A voxel belongs to a class if its centre does. Outside the image everything is 0.

        Returns:
            (class, *spatial) uint8: 1 where the class is, 0 where it is not, `UNLABELLED` (255) where nobody said.
        """
        spacing = spacing or self.space.spacing
        spacing.over(self.space.spacing)  # raises on µm against pixels
        if box.rank != self.space.rank:
            raise DataError(f"{self.name}: box {box} has {box.rank} axes, the annotation has {self.space.rank}")
        return self._rasterise(box, spacing)

    def shapes(self) -> Iterator[Shape]:
        """The objects, one by one, with outlines in level-0 pixels; formats without objects raise `DataError`."""
        raise DataError(f"{self.name}: this format holds pixels, not objects; run `malpighi convert` to outline them")
