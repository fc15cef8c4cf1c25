"""An annotation seen through the data set's classes: what training, scoring and reports draw."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from malpighi.annotations.base import Annotation
from malpighi.annotations.combined import probability_classes, rasterise_classes
from malpighi.geometry import Box, Shape, Spacing


class InClasses(Annotation):
    """An annotation in the layers of a data set's classes, in their order.

    Layers of classes that it does not speak of are `UNLABELLED` throughout, outside the image too.
    """

    def __init__(self, annotation: Annotation, classes: tuple[str, ...]) -> None:
        super().__init__(annotation.name, annotation.space, classes, annotation.notes)
        self.annotation = annotation

    def rasterise(self, box: Box, spacing: Spacing | None = None) -> np.ndarray:
        """As every annotation, but where a class is unlabelled it is so outside the image too: padding teaches nothing."""
        return rasterise_classes(self.annotation, self.classes, box, spacing)

    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        return rasterise_classes(self.annotation, self.classes, box, spacing)

    @property
    def soft(self) -> bool:  # type: ignore[override]
        """Whether the labels are probabilities."""
        return self.annotation.soft

    def probabilities(self, box: Box, spacing: Spacing | None = None) -> np.ndarray:
        """As `rasterise`: (class, *spatial) float32, NaN where a class is unlabelled, outside the image too."""
        return probability_classes(self.annotation, self.classes, box, spacing)

    @property
    def has_objects(self) -> bool:
        """Whether single objects are told apart."""
        return self.annotation.has_objects

    def _instances(self, box: Box, spacing: Spacing, classes: tuple[str, ...]) -> np.ndarray:
        wanted = tuple(name for name in self.annotation.classes if name in classes)
        return self.annotation.instances(box, spacing, wanted) if wanted else np.zeros(box.size, np.int32)

    def shapes(self) -> Iterator[Shape]:
        """The objects of the data set's classes."""
        return (shape for shape in self.annotation.shapes() if shape.label in self.classes)

    def close(self) -> None:
        """Let go of the files."""
        self.annotation.close()
