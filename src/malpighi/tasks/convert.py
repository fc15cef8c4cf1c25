"""Converting: an image to OME-Zarr, labels of any format to any other. No network, no torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from malpighi.annotations.open import suffix_of
from malpighi.errors import DataError, OutputError, RecipeError
from malpighi.images.channels import image_exists
from malpighi.tasks.convert_asked import Conversion, Progress
from malpighi.tasks.convert_instances import SUFFIXES, Format, all_images, write_instances
from malpighi.tasks.convert_source import holds_image, open_labels
from malpighi.tasks.convert_submission import prediction_folders, write_submission
from malpighi.tasks.convert_target import WRITERS, write_labels
from malpighi.tasks.convert_volumes import NIFTI, write_volume

OUTPUTS = (*WRITERS, *NIFTI, ".h5ad")
"""What may be written; a name without suffix is a folder of one PNG an object, or of one TIFF a slice."""


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
        raise DataError(f"{asked.source}: does not exist; check the path")
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
    if holds_image(asked, suffix):
        return _image(asked, suffix, progress)
    told = _all_images(asked) or _labels(asked, suffix)
    if progress is not None:
        progress(1, 1)
    return told


def _submission(asked: Conversion, suffix: str, progress: Progress | None) -> dict[str, Any] | None:
    """Write a table of predictions, a row an image; None where something else is to be converted.

    A volume's slices are rows of their own, and objects too: see `write_labels`.
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
    annotation = open_labels(asked)
    try:
        count = write_labels(asked, annotation, suffix)
        told = {"output": str(asked.target), "kind": "labels", "classes": list(annotation.classes)}
        return told | ({} if count is None else {"objects": count})
    finally:
        annotation.close()
