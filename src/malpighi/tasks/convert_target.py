"""Labels written to the format that the output's name says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.annotations.base import Annotation
from malpighi.annotations.open import read_outlines, suffix_of
from malpighi.errors import OutputError
from malpighi.geometry import Box
from malpighi.tasks.convert_asked import Conversion
from malpighi.tasks.convert_instances import instances_of, write_instances
from malpighi.tasks.convert_outlines import mask_of, shapes_of
from malpighi.tasks.convert_source import made_from, numbers_of_slices
from malpighi.tasks.convert_volumes import NIFTI, affine_of, slice_rows, write_label_volume

if TYPE_CHECKING:
    from malpighi.annotations.label_images import Reader


def write_labels(asked: Conversion, annotation: Annotation, suffix: str) -> int | None:
    """Write an annotation; returns how many objects or rows, None of formats that hold pixels.

    Raises:
        OutputError: the format cannot hold the labels, or the output cannot be written.
    """
    if suffix in NIFTI or (not suffix and annotation.space.rank == 3):
        affine = affine_of(asked.image, asked.source, made_from(asked))
        return write_label_volume(annotation, asked.target, suffix, numbers_of_slices(asked), affine)
    if asked.style:
        return _write_instances(asked, annotation)
    return WRITERS.get(suffix, _write_folder)(asked, annotation)


def _write_geojson(asked: Conversion, annotation: Annotation) -> int:
    from malpighi.annotations.geojson import write_geojson

    outlines = None if asked.source.is_dir() else read_outlines(asked.source)
    return write_geojson(asked.target, shapes_of(annotation), outlines.colors if outlines else None)


def _write_polygons(asked: Conversion, annotation: Annotation) -> int:
    from malpighi.annotations.polygons import write_polygons

    return write_polygons(asked.target, shapes_of(annotation))


def _write_imagej(asked: Conversion, annotation: Annotation) -> int:
    from malpighi.annotations.imagej import write_imagej

    return write_imagej(asked.target, shapes_of(annotation))


def _write_folder(asked: Conversion, annotation: Annotation) -> int:
    from malpighi.annotations.folders import write_folder

    height, width = _flat(asked, annotation)
    return write_folder(asked.target, shapes_of(annotation), (height, width))


def _write_table(asked: Conversion, annotation: Annotation) -> int:
    from malpighi.annotations.rle import RunLengths
    from malpighi.annotations.submissions import write_table

    row = asked.row or asked.source.name.split(".")[0]
    if annotation.space.rank == 3:
        rows = slice_rows(annotation, _only_class(asked, annotation), row, asked.order or "C", numbers_of_slices(asked))
        return write_table(asked.target, rows, empty="1 0")
    shape, order = _flat(asked, annotation), asked.order or "F"
    if asked.objects:
        numbers = annotation.instances(Box.of_shape(shape))
        found = np.unique(numbers[numbers > 0]).tolist()
        return write_table(asked.target, ((row, RunLengths.encode(numbers == n, order)) for n in found))
    runs = RunLengths.encode_boxes(mask_of(annotation, _only_class(asked, annotation)), shape, order)
    return write_table(asked.target, [(row, runs)])


def _write_instances(asked: Conversion, annotation: Annotation) -> int:
    shape = _flat(asked, annotation)
    name = asked.row or (asked.image.name if asked.image is not None else asked.source.name)
    return write_instances(asked.target, asked.style, [(name, shape, instances_of(annotation))], annotation.classes)


def _write_image(asked: Conversion, annotation: Annotation) -> None:
    from malpighi.annotations.label_images import labels_of, write_png, write_tiff

    read: Reader = annotation.instances if asked.objects else labels_of(annotation)
    if suffix_of(asked.target) == ".png":
        write_png(asked.target, read, annotation.space.shape, np.uint16 if asked.objects else np.uint8)
    else:
        dtype: Any = np.int32 if asked.objects else np.uint8
        write_tiff(asked.target, read, annotation.space.shape, dtype, annotation.space.spacing)


def _write_zarr(asked: Conversion, annotation: Annotation) -> None:
    from malpighi.annotations.label_images import layer_of, write_zarr

    make = _numbers_of if asked.objects else layer_of
    layers: dict[str, Reader] = {name: make(annotation, name) for name in annotation.classes}
    dtype: Any = np.int32 if asked.objects else np.uint8
    write_zarr(asked.target, layers, annotation.space.shape, annotation.space.spacing, dtype, asked.overwrite)


def _numbers_of(annotation: Annotation, name: str) -> Reader:
    return lambda box: annotation.instances(box, None, (name,))


WRITERS: dict[str, Callable[[Conversion, Annotation], int | None]] = {
    ".zarr": _write_zarr,
    ".geojson": _write_geojson,
    ".geojson.gz": _write_geojson,
    ".json": _write_polygons,
    ".zip": _write_imagej,
    ".roi": _write_imagej,
    ".csv": _write_table,
    ".png": _write_image,
    ".tif": _write_image,
    ".tiff": _write_image,
}
"""By suffix; a name without one is a folder of a PNG an object. NIfTI and folders of slices: see `write_label_volume`."""


def _flat(asked: Conversion, annotation: Annotation) -> tuple[int, int]:
    if annotation.space.rank != 2:
        raise OutputError(f"{asked.target}: this format holds 2-D labels, {annotation.name} is 3-D; write .tif or .ome.zarr")
    return annotation.space.shape[0], annotation.space.shape[1]


def _only_class(asked: Conversion, annotation: Annotation) -> str:
    if len(annotation.classes) != 1:
        names = ", ".join(annotation.classes)
        raise OutputError(f"{asked.target}: a run-length row holds one class, there are {names}; choose one with --class")
    return annotation.classes[0]
