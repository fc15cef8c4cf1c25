"""Several annotations of one image, and annotations seen through the class list that somebody asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from malpighi.annotations.base import UNLABELLED, UNNAMED, Annotation
from malpighi.errors import DataError
from malpighi.geometry import Box, Shape, Spacing


class CombinedAnnotation(Annotation):
    """Several files of one image, each of which speaks only of its own classes.

    Where several speak of one class, a voxel is of it if any says so, and unlabelled only if all leave it open.
    """

    def __init__(self, name: str, annotations: Sequence[Annotation]) -> None:
        if not annotations:
            raise DataError(f"{name}: no annotation at all; give at least one file")
        space = annotations[0].space
        for other in annotations[1:]:
            if other.space.shape != space.shape:
                raise DataError(f"{other.name}: made for an image of {other.space.shape}, {name} has {space.shape}")
        classes = tuple(dict.fromkeys(c for a in annotations for c in a.classes))
        super().__init__(name, space, classes, tuple(note for a in annotations for note in a.notes))
        self.parts = tuple(annotations)

    @property
    def has_objects(self) -> bool:
        """Whether every part tells objects apart."""
        return all(part.has_objects for part in self.parts)

    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        out = np.full((len(self.classes), *box.size), UNLABELLED, np.uint8)
        for part in self.parts:
            for name, layer in zip(part.classes, part.rasterise(box, spacing), strict=True):
                merged = out[self.classes.index(name)]
                merged[...] = np.where(merged == UNLABELLED, layer, np.where(layer == 1, 1, merged))
        return out

    @property
    def soft(self) -> bool:  # type: ignore[override]
        """Whether the labels of some part are probabilities."""
        return any(part.soft for part in self.parts)

    def _probabilities(self, box: Box, spacing: Spacing) -> np.ndarray:
        """Of several that speak of a class the highest, as one part that says "here" outweighs another that does not."""
        out = np.full((len(self.classes), *box.size), np.nan, np.float32)
        for part in self.parts:
            for name, layer in zip(part.classes, part.probabilities(box, spacing), strict=True):
                merged = out[self.classes.index(name)]
                np.fmax(merged, layer, out=merged)
        return out

    def _instances(self, box: Box, spacing: Spacing, classes: tuple[str, ...]) -> np.ndarray:
        """Only the part that speaks of `classes` is asked: the numbers of two parts would collide."""
        asked = [part for part in self.parts if set(part.classes) & set(classes)]
        if len(asked) > 1:
            raise DataError(
                f"{self.name}: {len(asked)} files hold objects of {', '.join(classes)}; ask for the classes one by one, "
                "their numbers would collide"
            )
        return asked[0].instances(box, spacing, classes) if asked else np.zeros(box.size, np.int32)

    def shapes(self) -> Iterator[Shape]:
        """The objects of every part in turn."""
        for part in self.parts:
            yield from part.shapes()

    def close(self) -> None:
        """Close every part."""
        for part in self.parts:
            part.close()


def rasterise_classes(annotation: Annotation, classes: Sequence[str], box: Box, spacing: Spacing | None = None) -> np.ndarray:
    """Draw `box` in the layers that somebody asks for.

    Args:
        annotation: speaks of some of the classes, perhaps of others too.
        classes: of the layers, in order. Where there is only one, it takes the labels of a file that names none.
        box: on the image's grid at `spacing`.
        spacing: level 0 where None.

    Returns:
        (class, *spatial) uint8: 0, 1, or `UNLABELLED`, which fills the layer of a class the annotation does not speak
        of. Outside the image such a layer is `UNLABELLED` too; it holds nothing to learn from.
    """
    return _in_order(annotation, classes, annotation.rasterise(box, spacing), UNLABELLED)


def probability_classes(annotation: Annotation, classes: Sequence[str], box: Box, spacing: Spacing | None = None) -> np.ndarray:
    """`rasterise_classes` of probabilities: (class, *spatial) float32, NaN where nobody said."""
    return _in_order(annotation, classes, annotation.probabilities(box, spacing), np.nan)


def _in_order(annotation: Annotation, classes: Sequence[str], drawn: np.ndarray, unsaid: float) -> np.ndarray:
    """The layers of an annotation in the order of `classes`; one that it does not speak of holds `unsaid`."""
    speaks = annotation.classes
    if speaks == (UNNAMED,) and len(classes) == 1:
        speaks = tuple(classes)
    if speaks == tuple(classes):
        return drawn
    out = np.full((len(classes), *drawn.shape[1:]), unsaid, drawn.dtype)
    for layer, name in enumerate(classes):
        if name in speaks:
            out[layer] = drawn[speaks.index(name)]
    return out
