"""Sparse annotation: outside what was annotated nobody said anything, which is not background."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from malpighi.annotations.base import UNLABELLED, Annotation
from malpighi.errors import DataError
from malpighi.geometry import Box, Shape, Spacing

Said = Callable[[Box, Spacing], np.ndarray]
"""(box inside the image, spacing) → bool, of the box's size or broadcast to it: where somebody said what is there."""


class WithinRegion(Annotation):
    """An annotation of a part of an image; everything else is `UNLABELLED`.

    Args:
        said: where it was annotated.
        notes: to be added to the annotation's own.
    """

    def __init__(self, annotation: Annotation, said: Said, notes: tuple[str, ...] = ()) -> None:
        super().__init__(annotation.name, annotation.space, annotation.classes, (*annotation.notes, *notes))
        self._annotation = annotation
        self._said = said

    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        return np.where(self._said(box, spacing), self._annotation.rasterise(box, spacing), np.uint8(UNLABELLED))

    @property
    def soft(self) -> bool:  # type: ignore[override]
        """Whether the labels are probabilities."""
        return self._annotation.soft

    def _probabilities(self, box: Box, spacing: Spacing) -> np.ndarray:
        return np.where(self._said(box, spacing), self._annotation.probabilities(box, spacing), np.float32(np.nan))

    @property
    def has_objects(self) -> bool:
        """Whether single objects are told apart."""
        return self._annotation.has_objects

    def _instances(self, box: Box, spacing: Spacing, classes: tuple[str, ...]) -> np.ndarray:
        return np.where(self._said(box, spacing), self._annotation.instances(box, spacing, classes), 0)

    def shapes(self) -> Iterator[Shape]:
        """The objects, also those outside the region."""
        return self._annotation.shapes()

    def close(self) -> None:
        """Let go of the files."""
        self._annotation.close()


def within_region(annotation: Annotation, region: Box | Path) -> Annotation:
    """The annotation where it counts.

    Args:
        region: a box in level-0 voxels, or a mask of the image's size that is not 0 where somebody annotated.

    Raises:
        DataError: the box has another rank than the image or lies outside it; the mask cannot be read or does not match.
    """
    if isinstance(region, Box):
        return WithinRegion(annotation, _inside_box(annotation, region))
    from malpighi.annotations.masks import open_mask

    mask = open_mask(region, annotation.space, ("annotated",))
    return WithinRegion(annotation, lambda box, spacing: mask.rasterise(box, spacing)[0] == 1)


def _inside_box(annotation: Annotation, region: Box) -> Said:
    space = annotation.space
    if region.rank != space.rank or region.clip(space.shape).empty:
        raise DataError(
            f"{annotation.name}: region {region} in an image of {' × '.join(map(str, space.shape))}; give a box inside it, "
            "one start:stop an axis"
        )

    def said(box: Box, spacing: Spacing) -> np.ndarray:
        inside = np.ones((1,) * box.rank, bool)
        for axis, (a, b, r) in enumerate(zip(box.start, box.stop, spacing.over(space.spacing), strict=True)):
            centre = (np.arange(a, b) + 0.5) * r
            along = (centre >= region.start[axis]) & (centre < region.stop[axis])
            inside = inside & along.reshape([-1 if k == axis else 1 for k in range(box.rank)])
        return inside

    return said
