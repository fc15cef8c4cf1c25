"""Outlines of the objects of any annotation, traced exactly where it holds pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from malpighi.annotations.base import Annotation
from malpighi.annotations.instances import InstancesAnnotation, bounds
from malpighi.annotations.outlines import ShapesAnnotation
from malpighi.errors import DataError, OutputError
from malpighi.geometry import Box, Shape

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from malpighi.annotations.label_images import Reader

WHOLE = 1 << 28
"""Voxels of a label image of numbered objects that is held at once to outline them."""


def shapes_of(annotation: Annotation) -> Iterator[Shape]:
    """The objects of any annotation: its own outlines, else traced exactly along the pixel edges.

    Numbered objects are traced one by one, also where they touch; elsewhere an object is what hangs together.
    """
    from malpighi.objects.measure import ObjectOptions, find_objects

    if isinstance(annotation, ShapesAnnotation):
        yield from annotation.shapes()
        return
    if isinstance(annotation, InstancesAnnotation):
        yield from _of_masks(annotation)
        return
    if annotation.space.rank != 2:
        raise OutputError(f"{annotation.name}: is 3-D and has no outlines; write .tif or .ome.zarr")
    if annotation.has_objects and len(annotation.classes) == 1:
        yield from _of_numbers(annotation)
        return
    options = ObjectOptions(simplify=0)
    for name in annotation.classes:
        for found in find_objects(mask_of(annotation, name), annotation.space, annotation.space.spacing, name, options):
            if found.shape is not None:
                yield found.shape


def _of_masks(annotation: InstancesAnnotation) -> Iterator[Shape]:
    for number, item in enumerate(annotation.items, 1):
        box = bounds(item.runs)
        if not box.empty:
            score = {} if item.score is None else {"score": item.score}
            yield Shape(_traced(item.runs.decode(box) > 0, box.start), item.label, score, id=str(number))


def _of_numbers(annotation: Annotation) -> Iterator[Shape]:
    if Box.of_shape(annotation.space.shape).volume > WHOLE:
        raise DataError(
            f"{annotation.name}: numbered objects are outlined in images of up to {WHOLE} pixels; cut it into parts"
        )
    for number, start, mask in numbered_masks(annotation):
        yield Shape(_traced(mask, start), annotation.classes[0], id=str(number))


def numbered_masks(annotation: Annotation) -> Iterator[tuple[int, tuple[int, int], np.ndarray]]:
    """Number, (y, x) of its first pixel, and mask, (y, x) bool, of each object of a 2-D label image, which is held whole."""
    from scipy import ndimage

    numbers = annotation.instances(Box.of_shape(annotation.space.shape))
    for number, place in enumerate(ndimage.find_objects(numbers), 1):
        if place is not None:
            yield number, (place[0].start, place[1].start), numbers[place] == number


def _traced(mask: np.ndarray, start: Sequence[int]) -> BaseGeometry:
    """The outline along its pixels' edges of a mask whose first pixel lies at `start`, (y, x)."""
    import shapely

    from malpighi.objects.trace import outline

    shift = np.array(start[::-1])
    return shapely.transform(outline(np.ascontiguousarray(mask)), lambda points: points + shift)


def mask_of(annotation: Annotation, name: str) -> Reader:
    """One class as booleans: what nobody labelled is no object."""
    from malpighi.annotations.label_images import layer_of

    layer = layer_of(annotation, name)
    return lambda box: layer(box) == 1
