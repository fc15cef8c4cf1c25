"""Converting: an image to OME-Zarr, labels of any format to any other. No network, no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.annotations.base import Annotation
from malpighi.annotations.open import open_annotation, read_outlines, suffix_of
from malpighi.annotations.rle import Order
from malpighi.errors import DataError, OutputError, RecipeError
from malpighi.geometry import Box, Shape, Space, Spacing
from malpighi.images.channels import image_exists
from malpighi.tasks.convert_instances import SUFFIXES, Format, all_images, image_size, instances_of, outlined, write_instances
from malpighi.tasks.convert_submission import prediction_folders, write_submission
from malpighi.tasks.convert_volumes import NIFTI, affine_of, slice_rows, write_label_volume, write_volume

if TYPE_CHECKING:
    from malpighi.annotations.label_images import Reader

OUTPUTS = (
    ".zarr",
    ".nii",
    ".nii.gz",
    ".geojson",
    ".geojson.gz",
    ".json",
    ".zip",
    ".roi",
    ".csv",
    ".png",
    ".tif",
    ".tiff",
    ".h5ad",
)
"""What may be written; a name without suffix is a folder of one PNG an object, or of one TIFF a slice."""

WHOLE = 1 << 28
"""Voxels of a label image of numbered objects that is held at once to outline them."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Conversion:
    """What to convert, and what the input does not say itself.

    Attributes:
        source: image, label file, folder of one PNG an object or of a volume's slices, or a prediction that `segment` wrote.
        target: by its suffix, the format to write.
        image: the image the labels belong to: its size, and its pixel size.
        classes: what label values or unnamed objects mean, or which of the named ones to take.
        spacing: level-0 µm per pixel; None: what the image says. One of three axes says that a folder is a volume.
        order: of run lengths, read or written: "F" column-major, "C" row-major; None: "F", of volumes "C".
        row: id of the row to read or to write in a run-length table, of volumes without the slice's number; default when
            writing: the source's name.
        size: (y, x) of the image, where there is no image to ask.
        objects: keep objects apart: numbers in a label image, a row an object in a table.
        overwrite: replace what is there.
        like, organs, column: of a submission made of predictions, see `write_submission`.
        style: which format of masks of single objects a .json or .csv is: "coco", "hpa" or "sartorius"; empty: polygons, or
            a row of run lengths. A name that ends in .coco.json is COCO.
    """

    source: Path
    target: Path
    image: Path | None = None
    classes: tuple[str, ...] = ()
    spacing: float | Spacing | None = None
    order: Order | None = None
    row: str = ""
    size: tuple[int, int] | None = None
    objects: bool = False
    overwrite: bool = False
    style: Format = ""
    like: Path | None = None
    organs: Path | None = None
    column: str = ""


def convert(asked: Conversion, progress: Progress | None = None) -> dict[str, Any]:
    """Convert, and say what was written.

    Returns:
        "output", "kind" ("image" or "labels"), and for labels "classes" and, where objects were written, "objects".

    Raises:
        DataError: the input is unreadable, or the image's size is needed and unknown.
        OutputError: the output exists, cannot be written, or its format cannot hold the labels.
        RecipeError: the output's suffix is unknown.
    """
    if not image_exists(asked.source):
        raise DataError(f"{asked.source}: does not exist")
    if asked.target.exists() and not asked.overwrite:
        raise OutputError(f"{asked.target}: exists; choose another name or pass --overwrite")
    if asked.target.resolve() == asked.source.resolve():
        raise OutputError(f"{asked.target}: is the input itself; choose another name")
    suffix = suffix_of(asked.target)
    if suffix == ".h5ad":
        from malpighi.tasks.convert_tables import write_anndata

        return {"kind": "cells", "output": str(asked.target), "objects": write_anndata(asked.source, asked.target)}
    if suffix not in OUTPUTS and suffix:
        raise RecipeError(f"{asked.target}: cannot write {suffix}; allowed are {' '.join(OUTPUTS)} and a folder without suffix")
    asked = replace(asked, style=_style(asked, suffix))
    if (submission := _submission(asked, suffix, progress)) is not None:
        return submission
    if _is_image(asked, suffix):
        return _image(asked, suffix, progress)
    told = _all_images(asked) or _labels(asked, suffix)
    if progress is not None:
        progress(1, 1)
    return told


def _submission(asked: Conversion, suffix: str, progress: Progress | None) -> dict[str, Any] | None:
    """Write a table of predictions, a row an image; None where something else is to be converted.

    A volume's slices are rows of their own, and objects too: see `_write_table`.
    """
    wanted = asked.like is not None or asked.organs is not None or bool(asked.column)
    found = prediction_folders(asked.source) if suffix == ".csv" and not (asked.style or asked.objects) else {}
    if wanted and not found:
        raise RecipeError(
            f"{asked.source} → {asked.target}: --like, --organs and --column are for predictions that `malpighi segment` wrote "
            "and a .csv with a row an image; leave them out"
        )
    if not found or (not wanted and asked.source in found.values()):
        return None
    return write_submission(
        asked.source,
        asked.target,
        classes=asked.classes,
        order=asked.order or "F",
        like=asked.like,
        organs=asked.organs,
        column=asked.column,
        row=asked.row,
        progress=progress,
    )


def _style(asked: Conversion, suffix: str) -> Format:
    """The format of single objects that was asked for, by name or by suffix."""
    if not asked.style:
        return "coco" if asked.target.name.lower().endswith(".coco.json") else ""
    if suffix != SUFFIXES[asked.style]:
        raise RecipeError(f"{asked.target}: --format {asked.style} is written as {SUFFIXES[asked.style]}; name it so")
    return asked.style


def _all_images(asked: Conversion) -> dict[str, Any] | None:
    """Write all images of a COCO file or an HPA table, where the output holds many and none was named."""
    if not asked.style or asked.row or asked.image or asked.size:
        return None
    found = all_images(asked.source, asked.classes)
    if found is None:
        return None
    classes, images = found
    count = write_instances(asked.target, asked.style, images, classes)
    return {"output": str(asked.target), "kind": "labels", "classes": list(classes), "objects": count}


def _is_image(asked: Conversion, suffix: str) -> bool:
    """An image and not labels: nothing that only labels have was said or is there.

    A 2-D image is copied to .zarr and NIfTI alone; what else is written of it are labels. A volume is copied to anything.
    """
    from malpighi.annotations.masks import label_images
    from malpighi.images.open import is_image, open_image

    volume = _is_slices(asked)
    if suffix not in (".zarr", *NIFTI, ".tif", ".tiff", "") or not (volume or is_image(asked.source)):
        return False
    if asked.classes or asked.image or asked.objects or label_images(asked.source):
        return False
    if volume or suffix in (".zarr", *NIFTI):
        return True
    with open_image(asked.source) as source:
        return source.space.rank == 3


def _is_slices(asked: Conversion) -> bool:
    """A folder of a volume's slices: of numbered TIFFs, or of other numbered images where the spacing has three axes."""
    from malpighi.images.stack import find_slices, is_slices

    if (asked.source / "masks").is_dir() or not is_slices(asked.source):
        return False
    told = isinstance(asked.spacing, Spacing) and asked.spacing.rank == 3
    return told or find_slices(asked.source).files[0].suffix.lower() in (".tif", ".tiff")


def _image(asked: Conversion, suffix: str, progress: Progress | None) -> dict[str, Any]:
    from malpighi.images.open import open_image
    from malpighi.images.stack import slice_numbers
    from malpighi.images.write import write_image

    with open_image(asked.source, spacing=asked.spacing) as source:
        if suffix == ".zarr":
            write_image(source, asked.target, progress, overwrite=asked.overwrite)
        else:
            write_volume(source, asked.target, suffix, slice_numbers(asked.source))
        return {"output": str(asked.target), "kind": "image", "shape": list(source.shape), "spacing": str(source.space.spacing)}


def _labels(asked: Conversion, suffix: str) -> dict[str, Any]:
    annotation = _open(asked)
    try:
        if suffix in NIFTI or (not suffix and annotation.space.rank == 3):
            affine = affine_of(asked.image, asked.source, _made_from(asked))
            count = write_label_volume(annotation, asked.target, suffix, _numbers(asked), affine)
        elif asked.style:
            count = _write_instances(asked, annotation)
        else:
            count = _WRITERS.get(suffix, _write_folder)(asked, annotation)
        told = {"output": str(asked.target), "kind": "labels", "classes": list(annotation.classes)}
        return told | ({} if count is None else {"objects": count})
    finally:
        annotation.close()


def _open(asked: Conversion) -> Annotation:
    if _is_prediction(asked.source):
        from malpighi.sampling.inclasses import InClasses
        from malpighi.tasks.prediction import Prediction

        predicted = Prediction(asked.source)
        return InClasses(predicted, asked.classes) if asked.classes else predicted
    space = _space(asked)
    if space is None:
        raise DataError(
            f"{asked.source}: its image's size is needed; name the image with --image, or give --width and --height"
        )
    order = asked.order or ("C" if space.rank == 3 else "F")
    return open_annotation(asked.source, space, asked.classes, asked.row, order, numbers=_numbers(asked))


def _numbers(asked: Conversion) -> tuple[int, ...]:
    """Of the slices of the volume that the labels belong to; empty where it is no folder of slices."""
    from malpighi.images.stack import slice_numbers

    image = asked.image or _made_from(asked) or (asked.source if _is_slices(asked) else None)
    return slice_numbers(image) if image is not None else ()


def _made_from(asked: Conversion) -> Path | None:
    """The image that a prediction was made from."""
    if not _is_prediction(asked.source):
        return None
    from malpighi.tasks.prediction import Prediction

    made = Prediction(asked.source)
    made.close()
    return Path(made.manifest["image"].get("path", "."))


def _is_prediction(path: Path) -> bool:
    """A folder that `segment` wrote: its masks lie at the network's spacing, its manifest knows the image's."""
    from malpighi.inference.manifest import MANIFEST

    return (path / MANIFEST).is_file()


def _space(asked: Conversion) -> Space | None:
    """Of the image the labels belong to: asked of the image, told, or that of the label image itself."""
    from malpighi.annotations.folders import size_of_folder
    from malpighi.annotations.masks import label_images
    from malpighi.images.open import is_image, open_image, spacing_for

    if asked.image is not None:
        with open_image(asked.image, spacing=asked.spacing) as image:
            return image.space
    spacing = None if asked.spacing is None else spacing_for(asked.spacing, 2, str(asked.source))
    if asked.size is not None:
        return Space.of_shape(asked.size, spacing)
    if is_image(asked.source) or _is_slices(asked):
        inside = next(iter(label_images(asked.source)), None)
        path = asked.source if inside is None else asked.source / "labels" / inside
        with open_image(path, spacing=asked.spacing, labels=True) as image:
            return image.space
    if asked.source.is_dir():
        return Space.of_shape(size_of_folder(asked.source), spacing)
    told = image_size(asked.source, asked.row)
    if told is not None:
        return Space.of_shape(told, spacing)
    outlines = read_outlines(asked.source)
    if (
        outlines is not None and suffix_of(asked.target) in _OUTLINES and not asked.style
    ):  # from outlines to outlines no pixel is drawn
        bounds = [shape.geometry.bounds for shape in outlines.shapes] or [(0, 0, 1, 1)]
        return Space.of_shape([int(max(1, *(b[axis] for b in bounds))) + 1 for axis in (3, 2)], spacing)
    return None


# -- writers ---------------------------------------------------------------------------------------------------------
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
        rows = slice_rows(annotation, _only_class(asked, annotation), row, asked.order or "C", _numbers(asked))
        return write_table(asked.target, rows, empty="1 0")
    shape, order = _flat(asked, annotation), asked.order or "F"
    if asked.objects:
        numbers = annotation.instances(Box.of_shape(shape))
        found = np.unique(numbers[numbers > 0]).tolist()
        return write_table(asked.target, ((row, RunLengths.encode(numbers == n, order)) for n in found))
    runs = RunLengths.encode_boxes(_mask_of(annotation, _only_class(asked, annotation)), shape, order)
    return write_table(asked.target, [(row, runs)])


def _write_instances(asked: Conversion, annotation: Annotation) -> int:
    shape = _flat(asked, annotation)
    name = asked.row or (asked.image.name if asked.image is not None else asked.source.name)
    instances = instances_of(annotation, shapes_of)
    return write_instances(asked.target, asked.style, [(name, shape, instances)], annotation.classes)


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


_OUTLINES = (".geojson", ".geojson.gz", ".json", ".zip", ".roi")

_WRITERS: dict[str, Callable[[Conversion, Annotation], int | None]] = {
    ".geojson": _write_geojson,
    ".geojson.gz": _write_geojson,
    ".json": _write_polygons,
    ".zip": _write_imagej,
    ".roi": _write_imagej,
    ".csv": _write_table,
    ".png": _write_image,
    ".tif": _write_image,
    ".tiff": _write_image,
    ".zarr": _write_zarr,
}


def _flat(asked: Conversion, annotation: Annotation) -> tuple[int, int]:
    if annotation.space.rank != 2:
        raise OutputError(f"{asked.target}: this format holds 2-D labels, {annotation.name} is 3-D; write .tif or .ome.zarr")
    return annotation.space.shape[0], annotation.space.shape[1]


def _only_class(asked: Conversion, annotation: Annotation) -> str:
    if len(annotation.classes) != 1:
        names = ", ".join(annotation.classes)
        raise OutputError(f"{asked.target}: a run-length row holds one class, there are {names}; choose one with --class")
    return annotation.classes[0]


def shapes_of(annotation: Annotation) -> Iterator[Shape]:
    """The objects of any annotation: its own outlines, else traced exactly along the pixel edges.

    Numbered objects are traced one by one, also where they touch; elsewhere an object is what hangs together.
    """
    from malpighi.annotations.instances import InstancesAnnotation
    from malpighi.annotations.outlines import ShapesAnnotation
    from malpighi.objects.measure import ObjectOptions, find_objects

    if isinstance(annotation, ShapesAnnotation):
        yield from annotation.shapes()
        return
    if isinstance(annotation, InstancesAnnotation):
        yield from outlined(annotation)
        return
    if annotation.space.rank != 2:
        raise OutputError(f"{annotation.name}: is 3-D and has no outlines; write .tif or .ome.zarr")
    if annotation.has_objects and len(annotation.classes) == 1:
        yield from _numbered(annotation)
        return
    options = ObjectOptions(simplify=0)
    for name in annotation.classes:
        for found in find_objects(_mask_of(annotation, name), annotation.space, annotation.space.spacing, name, options):
            if found.shape is not None:
                yield found.shape


def _mask_of(annotation: Annotation, name: str) -> Reader:
    """One class as booleans: what nobody labelled is no object."""
    from malpighi.annotations.label_images import layer_of

    layer = layer_of(annotation, name)
    return lambda box: layer(box) == 1


def _numbered(annotation: Annotation) -> Iterator[Shape]:
    import shapely
    from scipy import ndimage

    from malpighi.objects.trace import outline

    whole = Box.of_shape(annotation.space.shape)
    if whole.volume > WHOLE:
        raise DataError(
            f"{annotation.name}: numbered objects are outlined in images of up to {WHOLE} pixels; cut it into parts"
        )
    numbers = annotation.instances(whole)
    for number, place in enumerate(ndimage.find_objects(numbers), 1):
        if place is not None:
            traced = outline(np.ascontiguousarray(numbers[place] == number))
            shift = np.array([place[1].start, place[0].start])
            moved = shapely.transform(traced, lambda points, shift=shift: points + shift)
            yield Shape(moved, annotation.classes[0], id=str(number))
