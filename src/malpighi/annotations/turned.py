"""Labels of a volume seen along another axis, as `images.turned` shows the volume."""

from __future__ import annotations

import numpy as np

from malpighi.annotations.base import Annotation
from malpighi.geometry import Box, Spacing
from malpighi.images.turned import Turn


class TurnedAnnotation(Annotation):
    """An annotation with another axis first; objects keep their numbers. Outlines are of planes and are not turned.

    Args:
        annotation: closed with this one.
        axis: that is put first, one of `annotation.space.axes`; the others keep their order.
    """

    def __init__(self, annotation: Annotation, axis: str) -> None:
        self._annotation = annotation
        self._turn = Turn.along(axis, annotation.space, annotation.name)
        super().__init__(annotation.name, self._turn.space(annotation.space), annotation.classes, annotation.notes)

    def rasterise(self, box: Box, spacing: Spacing | None = None) -> np.ndarray:
        """As the annotation beneath does, outside the image too, where some leave everything unlabelled."""
        return self._rasterise(box, spacing or self.space.spacing)

    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        back = self._turn.back
        return np.ascontiguousarray(self._turn.array(self._annotation.rasterise(back.box(box), back.spacing(spacing))))

    @property
    def soft(self) -> bool:  # type: ignore[override]
        """Whether the labels are probabilities."""
        return self._annotation.soft

    def probabilities(self, box: Box, spacing: Spacing | None = None) -> np.ndarray:
        """As the annotation beneath, turned."""
        back, at = self._turn.back, spacing or self.space.spacing
        return np.ascontiguousarray(self._turn.array(self._annotation.probabilities(back.box(box), back.spacing(at))))

    @property
    def has_objects(self) -> bool:
        """Whether single objects are told apart."""
        return self._annotation.has_objects

    def _instances(self, box: Box, spacing: Spacing, classes: tuple[str, ...]) -> np.ndarray:
        back = self._turn.back
        drawn = self._annotation.instances(back.box(box), back.spacing(spacing), classes)
        return np.ascontiguousarray(self._turn.array(drawn, leading=0))

    def close(self) -> None:
        """Let go of the files beneath."""
        self._annotation.close()
