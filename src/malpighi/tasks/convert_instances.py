"""Converting objects with a mask each: COCO JSON, HPA's table, Sartorius' rows; of one image, or of all that a file holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from malpighi.annotations.base import Annotation
from malpighi.annotations.coco import Coco, coco_instances, is_coco, read_coco, write_coco
from malpighi.annotations.coco_rle import column_major
from malpighi.annotations.folders import FolderAnnotation
from malpighi.annotations.hpa import HPA_2021, hpa_instances, hpa_row
from malpighi.annotations.hpa_table import Cell, is_hpa, stream_hpa, write_hpa
from malpighi.annotations.instances import Instance, InstancesAnnotation, bounds, drawn, object_numbers, placed
from malpighi.annotations.outlines import ShapesAnnotation
from malpighi.annotations.rle import RunLengths
from malpighi.annotations.submissions import RleAnnotation, write_table
from malpighi.errors import OutputError
from malpighi.tasks.convert_outlines import numbered_masks, shapes_of

Format = Literal["", "coco", "hpa", "sartorius"]
SUFFIXES: dict[Format, str] = {"coco": ".json", "hpa": ".csv", "sartorius": ".csv"}
Image = tuple[str, tuple[int, int], Iterable[Instance]]
"""Name, (y, x) shape, objects."""


def image_size(path: Path, row: str) -> tuple[int, int] | None:
    """(y, x) of the image that a COCO file or an HPA table tells of; None for other files."""
    coco = coco_of(path)
    if coco is not None:
        return coco.image(row).shape
    return hpa_row(path, row).shape if path.is_file() and is_hpa(path) else None


def coco_of(path: Path) -> Coco | None:
    """The COCO file at a path, if it is one."""
    return read_coco(path) if path.suffix.lower() == ".json" and path.is_file() and is_coco(path) else None


def all_images(path: Path, classes: Sequence[str]) -> tuple[tuple[str, ...], Iterator[Image]] | None:
    """Classes and images of a file that names its images itself, one at a time; None for other files."""
    coco = coco_of(path)
    if coco is not None:
        images = ((one.name, one.shape, coco_instances(coco, one)) for one in coco.images)
        return _only(coco.classes, images, classes, path)
    if path.is_file() and is_hpa(path):
        rows = ((row.name, row.shape, hpa_instances(row, str(path))) for row in stream_hpa(path))
        return _only(HPA_2021, rows, classes, path)
    return None


def _only(
    have: Sequence[str], images: Iterable[Image], wanted: Sequence[str], path: Path
) -> tuple[tuple[str, ...], Iterator[Image]]:
    unknown = [name for name in wanted if name not in have]
    if unknown:
        raise OutputError(f"{path}: has no class {', '.join(unknown)}, only {', '.join(have)}")
    kept = tuple(wanted) or tuple(have)
    return kept, ((name, shape, (item for item in items if item.label in kept)) for name, shape, items in images)


def write_instances(path: Path, style: Format, images: Iterable[Image], classes: Sequence[str]) -> int:
    """Write objects in one of the formats that tell them apart; returns how many objects, of HPA's how many rows.

    Raises:
        OutputError: the format cannot hold them: a class that HPA has not, or masks that overlap in Sartorius' rows.
    """
    if style == "coco":
        return write_coco(path, images, classes)
    if style == "hpa":
        stems = ((Path(name).name.split(".")[0], shape, items) for name, shape, items in images)
        return write_hpa(path, ((name, shape, _hpa_cells(path, items)) for name, shape, items in stems))
    rows = chain.from_iterable(_apart(path, *image) for image in images)
    return write_table(path, rows, ("id", "predicted"))


def _hpa_cells(path: Path, items: Iterable[Instance]) -> Iterator[Cell]:
    for item in items:
        if item.label not in HPA_2021:
            raise OutputError(
                f"{path}: class {item.label!r} is none of HPA's 19 ({', '.join(HPA_2021[:3])}, …); name it with --class"
            )
        if not item.crowd and item.runs.area:
            yield Cell(HPA_2021.index(item.label), 1.0 if item.score is None else item.score, item.runs)


def _apart(path: Path, name: str, shape: tuple[int, int], items: Iterable[Instance]) -> Iterator[tuple[str, RunLengths]]:
    """A row an object, row-major; the same mask with several labels is one row."""
    objects = [item for item in items if not item.crowd and item.runs.area]
    first = dict(reversed(list(zip(object_numbers(objects), objects, strict=True))))
    owner = np.zeros(shape[0] * shape[1], np.int32)  # column-major, as the masks are
    for number, item in sorted(first.items(), key=lambda entry: entry[0]):
        for start, stop in item.runs:
            met = owner[start:stop]
            if met.any():
                other = first[int(met[met > 0][0])]
                raise OutputError(
                    f"{path}: {item.name} and {other.name} overlap, which run-length rows of instances must not; "
                    "write COCO JSON or GeoJSON, or part them"
                )
            met[:] = number
        box = bounds(item.runs)
        yield Path(name).name.split(".")[0], placed(item.runs.decode(box) > 0, box.start, shape, "C")


def instances_of(annotation: Annotation) -> Iterator[Instance]:
    """The objects of any 2-D annotation as masks; where a format keeps each object's own mask, also what overlaps."""
    if annotation.space.rank != 2:
        raise OutputError(f"{annotation.name}: is 3-D; masks of single objects are written of 2-D images")
    shape = (annotation.space.shape[0], annotation.space.shape[1])
    if isinstance(annotation, InstancesAnnotation):
        yield from annotation.items
    elif isinstance(annotation, FolderAnnotation):
        for name, mask in annotation.masks():
            yield Instance(annotation.classes[0], RunLengths.encode(mask), name=f"{annotation.name}/{name}")
    elif isinstance(annotation, RleAnnotation) and annotation.has_objects:
        for row, runs in enumerate(annotation.masks, 1):
            turned = column_major(runs)
            yield Instance(annotation.classes[0], turned, name=f"{annotation.name}, instance {row}")
    elif annotation.has_objects and len(annotation.classes) == 1 and not isinstance(annotation, ShapesAnnotation):
        for number, start, mask in numbered_masks(annotation):
            yield Instance(annotation.classes[0], placed(mask, start, shape), name=f"{annotation.name}, object {number}")
    else:
        for item in shapes_of(annotation):
            score = item.measurements.get("score")
            yield Instance(item.label, drawn(item.geometry, shape), score, f"{annotation.name}, object {item.id}")
