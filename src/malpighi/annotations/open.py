"""From a path to the annotation it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from malpighi.annotations.base import Annotation
from malpighi.annotations.rle import Order
from malpighi.errors import DataError
from malpighi.geometry import Space

if TYPE_CHECKING:
    from malpighi.annotations.outlines import Outlines


@dataclass(frozen=True)
class Request:
    """What is asked of a reader; each takes what it needs."""

    path: Path
    space: Space
    classes: tuple[str, ...]
    row: str
    order: Order
    on_damage: Literal["raise", "fill"]
    numbers: tuple[int, ...]
    unlabelled: int | None


def _runs(asked: Request) -> Annotation:
    from malpighi.annotations.hpa_table import is_hpa
    from malpighi.annotations.submissions import open_rle

    if is_hpa(asked.path):
        from malpighi.annotations.hpa import open_hpa

        return open_hpa(asked.path, asked.space, asked.classes, asked.row)
    return open_rle(asked.path, asked.space, asked.classes, asked.row, asked.order, asked.numbers)


def _outlines(asked: Request) -> Annotation:
    from malpighi.annotations.outlines import ShapesAnnotation

    return ShapesAnnotation(str(asked.path), asked.space, _read_outlines(asked.path), asked.classes)


def _json(asked: Request) -> Annotation:
    from malpighi.annotations.coco import is_coco, open_coco

    return open_coco(asked.path, asked.space, asked.classes, asked.row) if is_coco(asked.path) else _outlines(asked)


def _read_outlines(path: Path) -> Outlines:
    suffix = suffix_of(path)
    if suffix in (".roi", ".zip"):
        from malpighi.annotations.imagej import read_imagej

        return read_imagej(path)
    if suffix in (".json", ".json.gz"):
        from malpighi.annotations.polygons import read_json

        return read_json(path)
    from malpighi.annotations.geojson import read_geojson

    return read_geojson(path)


def _mask(asked: Request) -> Annotation:
    from malpighi.annotations.masks import open_mask

    return open_mask(asked.path, asked.space, asked.classes, asked.on_damage, asked.unlabelled)


def _folder(asked: Request) -> Annotation:
    """Of a volume, a folder holds a mask a slice; of a 2-D image, one an object."""
    if asked.space.rank == 3:
        from malpighi.annotations.slices import open_slices

        return open_slices(asked.path, asked.space, asked.classes, asked.numbers, asked.on_damage, asked.unlabelled)
    from malpighi.annotations.folders import FolderAnnotation

    return FolderAnnotation(asked.path, asked.space, asked.classes)


READERS: dict[str, Callable[[Request], Annotation]] = {
    ".csv": _runs,
    ".csv.gz": _runs,
    ".geojson": _outlines,
    ".geojson.gz": _outlines,
    ".json": _json,
    ".json.gz": _json,
    ".roi": _outlines,
    ".zip": _outlines,
    ".png": _mask,
    ".bmp": _mask,
    ".tif": _mask,
    ".tiff": _mask,
    ".zarr": _mask,
    ".nii": _mask,
    ".nii.gz": _mask,
    ".jpg": _mask,  # refused there, with the reason
    ".jpeg": _mask,
}
"""Readers by suffix; a folder that is no Zarr holds one PNG an object, or of a volume one mask a slice."""

ANNOTATION_SUFFIXES = tuple(suffix for suffix in READERS if suffix not in (".jpg", ".jpeg"))


def suffix_of(path: Path) -> str:
    """The suffix as the table spells it: lower case, `.gz` with what is before it, `.ome.zarr` as `.zarr`."""
    path = Path(path)
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() + last if last == ".gz" else last


def read_outlines(path: Path) -> Outlines | None:
    """What an outline file holds, which needs no image; None for formats of pixels and for COCO, which names its images."""
    reader = READERS.get(suffix_of(path))
    if reader is _json:
        from malpighi.annotations.coco import is_coco

        return None if is_coco(Path(path)) else _read_outlines(Path(path))
    return _read_outlines(Path(path)) if reader is _outlines else None


def open_annotation(
    path: Path,
    space: Space,
    classes: tuple[str, ...] = (),
    row: str = "",
    order: Order = "F",
    on_damage: Literal["raise", "fill"] = "raise",
    numbers: tuple[int, ...] = (),
    unlabelled: int | None = None,
) -> Annotation:
    """Open labels of any format; the suffix says which.

    Args:
        path: file, Zarr, or folder: of one PNG an object where the image is 2-D, of one mask a slice where it is a volume.
        space: of the image the labels belong to.
        classes: what values or unnamed objects mean, or which named ones to take; empty: what the file says.
        row: for files that hold many images (tables, COCO JSON), the id of this one.
        order: for run lengths, "F" column-major or "C" row-major.
        on_damage: for label images, as `open_image`.
        numbers: of the slices of a volume, by which masks and rows of single slices are found; 0, 1, … where empty.
        unlabelled: the value of label images where nobody said what is there.

    Raises:
        DataError: the path does not exist, its suffix is unknown, or its content is wrong.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: does not exist; check the path of the labels")
    suffix = suffix_of(path)
    reader = READERS.get(suffix) or (_folder_reader(path) if path.is_dir() else None)
    if reader is None:
        raise DataError(
            f"{path}: labels with the suffix {suffix or '(none)'} are not known; allowed are "
            f"{' '.join(ANNOTATION_SUFFIXES)} and a folder of one PNG an object"
        )
    return reader(Request(path, space, tuple(classes), row, order, on_damage, tuple(numbers), unlabelled))


def _folder_reader(path: Path) -> Callable[[Request], Annotation]:
    marks = ("zarr.json", ".zgroup", ".zarray")
    return _mask if any((path / mark).exists() for mark in marks) else _folder
