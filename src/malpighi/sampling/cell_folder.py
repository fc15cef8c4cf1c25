"""Writing a prepared folder, an image at a time: what is there of an image is whole, and the folder is finished last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from malpighi.errors import DataError
from malpighi.images.replacing import replacing
from malpighi.objects.cells import Cells
from malpighi.sampling.cell_data import BOX, CELLS, FACTS, IMAGES, KINDS, PARTS, file_name, stored_shape

MOST_CELLS = 2**16 - 1
"""Of one image: their numbers are stored in 16 bits."""

_STORED = ("uint8", "uint16", "float32")  # what both OpenCV and torch take; others become float32


@dataclass(frozen=True)
class Sizes:
    """At which size images and cells are stored; as in `CellDataOptions`.

    Attributes:
        side: longer side of images.
        crop: side of crops.
        margin: a crop is the square around the cell's box, this much longer on every side.
        span: crops show so many level-0 pixels instead; 0: the box.
    """

    side: int
    crop: int
    margin: float = 0.0
    span: int = 0


class ImageRow(NamedTuple):
    """What is known of an image besides its pixels; `labels` None where nobody said."""

    id: str
    group: str
    split: str
    labels: tuple[str, ...] | None


def write_image(
    folder: Path,
    identifier: str,
    image: np.ndarray,
    cells: Cells,
    sizes: Sizes,
    features: Mapping[str, np.ndarray] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Store one image with its cells.

    Args:
        image: (channel, y, x) level 0; integers of 8 and 16 bits and float32 are kept, others become float32.
        cells: of the image's shape.
        features: columns of the cell table, (cell,) each.
        facts: what else is to be remembered of the image until the folder is finished, as JSON would hold it.

    Raises:
        DataError: shapes or lengths that do not match, more than 65,535 cells, NaN or infinity.
        OutputError: a file cannot be written.
    """
    image, boxes = _stored(image, identifier), _checked(image, cells, features or {}, identifier)
    shape = (int(image.shape[1]), int(image.shape[2]))
    crops, masks = cut(image, cells.labels, boxes, sizes)
    arrays = {
        "images": shrunk(image, sizes.side),
        "labels": _nearest(cells.labels, sizes.side),
        "nuclei": _nearest(cells.nuclei, sizes.side),
        "crops": crops,
        "masks": masks,
    }
    for kind in KINDS:
        path = folder / kind / f"{file_name(identifier)}.npy"
        with replacing(path) as part, part.open("wb") as file:
            np.save(file, arrays[kind])
    own = {"height": shape[0], "width": shape[1], "scale": max(shape) / sizes.side, "cells": cells.count}
    known = {**(facts or {}), **own, "dtype": image.dtype.name}
    areas = np.bincount(cells.labels.ravel(), minlength=cells.count + 1)[1:].astype(np.float64)
    _write_part(folder, identifier, known, boxes, areas, cells.border, features or {})  # last: with it the image is whole


def part_path(folder: Path, identifier: str) -> Path:
    """The table of one image's cells; where it is, the image is whole."""
    return folder / PARTS / f"{file_name(identifier)}.parquet"


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    """(channel, y, x) → (channel, side, side): means over areas (linear where it grows), 0 below and on the right."""
    height, width = stored_shape(image.shape[1:], side)
    out = np.zeros((len(image), side, side), image.dtype)
    for channel, target in zip(image, out, strict=True):
        target[:height, :width] = _resized(channel, height, width)
    return out


def cut(image: np.ndarray, labels: np.ndarray, boxes: np.ndarray, sizes: Sizes) -> tuple[np.ndarray, np.ndarray]:
    """A crop of every cell and the cell in it: (cell, channel, crop, crop), and (cell, crop, crop) bool.

    The crop is a square around the middle of the cell's box; beyond the image it is 0.
    """
    crops = np.zeros((len(boxes), len(image), sizes.crop, sizes.crop), image.dtype)
    masks = np.zeros((len(boxes), sizes.crop, sizes.crop), bool)
    for j, (top, left, bottom, right) in enumerate(boxes.tolist()):
        long = sizes.span or int(np.ceil(max(bottom - top, right - left) * (1 + 2 * sizes.margin)))
        at = ((top + bottom - long) // 2, (left + right - long) // 2)
        own = np.where(_window(labels, at, long) == j + 1, np.uint8(255), np.uint8(0))
        masks[j] = _resized(own, sizes.crop, sizes.crop) >= 128  # at least half of the pixel
        for channel, out in zip(image, crops[j], strict=True):
            out[...] = _resized(_window(channel, at, long), sizes.crop, sizes.crop)
    return crops, masks


def _window(plane: np.ndarray, at: tuple[int, int], long: int) -> np.ndarray:
    """(long, long) of a plane from `at`; 0 outside of it. No copy where nothing is outside."""
    low = [max(0, a) for a in at]
    high = [min(n, a + long) for a, n in zip(at, plane.shape, strict=True)]
    inside = plane[low[0] : high[0], low[1] : high[1]]
    if inside.shape == (long, long):
        return inside
    out = np.zeros((long, long), plane.dtype)
    out[low[0] - at[0] : high[0] - at[0], low[1] - at[1] : high[1] - at[1]] = inside
    return out


def _resized(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area means where both sides shrink, linear interpolation else; same dtype."""
    import cv2

    if plane.shape == (height, width):
        return plane
    shrinks = plane.shape[0] >= height and plane.shape[1] >= width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(plane), (width, height), interpolation=how)


def _nearest(labels: np.ndarray, side: int) -> np.ndarray:
    """(y, x) cell numbers → (side, side) uint16: the number at each stored pixel's middle, 0 in the padding."""
    out = np.zeros((side, side), np.uint16)
    height, width = stored_shape(labels.shape, side)
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64) for new, old in zip((height, width), labels.shape, strict=True)
    )
    out[:height, :width] = labels[np.ix_(rows, columns)]
    return out


def _stored(image: np.ndarray, identifier: str) -> np.ndarray:
    if image.ndim != 3:
        raise DataError(f"{identifier}: an image of shape {image.shape}; cells are found in (channel, y, x)")
    kept = image if image.dtype.name in _STORED else image.astype(np.float32)
    if kept.dtype == np.float32 and not np.isfinite(kept).all():
        raise DataError(f"{identifier}: holds NaN or infinity; replace them in the file, by 0 or the background's value")
    return kept


def _checked(image: np.ndarray, cells: Cells, features: Mapping[str, np.ndarray], identifier: str) -> np.ndarray:
    """Boxes (cell, 4) of cells that fit the image."""
    from scipy import ndimage

    if cells.labels.shape != image.shape[1:] or cells.nuclei.shape != image.shape[1:]:
        raise DataError(
            f"{identifier}: cells of shape {cells.labels.shape} for an image of {image.shape[1:]}; they must be alike"
        )
    if cells.count > MOST_CELLS:
        raise DataError(f"{identifier}: {cells.count} cells, at most {MOST_CELLS} are stored; raise cells.cell_area")
    wrong = [name for name, values in features.items() if len(values) != cells.count]
    if wrong:
        raise DataError(f"{identifier}: {', '.join(wrong)} of {len(features[wrong[0]])} cells, the image has {cells.count}")
    found = ndimage.find_objects(cells.labels)
    if len(found) != cells.count or any(box is None for box in found):
        raise DataError(f"{identifier}: cells are not numbered 1 … {cells.count} without gaps")
    return np.array([(y.start, x.start, y.stop, x.stop) for y, x in found], np.int64).reshape(-1, 4)


def _write_part(
    folder: Path,
    identifier: str,
    facts: Mapping[str, Any],
    boxes: np.ndarray,
    areas: np.ndarray,
    border: np.ndarray,
    features: Mapping[str, np.ndarray],
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"cell": np.arange(1, len(boxes) + 1, dtype=np.int32)}
    columns |= {name: boxes[:, k].astype(np.int32) for k, name in enumerate(BOX)}
    columns |= {"area": areas, "border": np.asarray(border, bool)}
    columns |= {name: np.asarray(values, np.float64) for name, values in features.items() if name not in columns}
    table = pa.table(columns).replace_schema_metadata({"image": json.dumps(facts)})
    with replacing(part_path(folder, identifier)) as part:
        pq.write_table(table, part)


def finish(folder: Path, rows: Sequence[ImageRow], facts: Mapping[str, Any]) -> None:
    """Write the tables of all images, and cells.json last; the images' own tables are no longer needed then.

    Args:
        rows: the images that are in, in order.
        facts: "classes", "channels", "side", "crop", and what the folder was made of.

    Raises:
        DataError: images of different types.
    """
    import shutil

    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = [pq.read_table(part_path(folder, row.id)) for row in rows]
    known = [json.loads(part.schema.metadata[b"image"]) for part in parts]
    types = {fact["dtype"]: row.id for fact, row in zip(known, rows, strict=True)}
    if len(types) > 1:
        listed = ", ".join(f"{name} (such as {identifier})" for name, identifier in sorted(types.items()))
        raise DataError(f"images differ in their value type: {listed}; convert them to one kind and prepare them again")
    numbered = [part.add_column(0, "image", pa.array(np.full(len(part), i, np.int64))) for i, part in enumerate(parts)]
    cells = pa.concat_tables(numbered, promote_options="default")  # an image without cells may lack columns
    images = {
        "id": [row.id for row in rows],
        "group": [row.group for row in rows],
        "split": [row.split for row in rows],
        **{name: [fact[name] for fact in known] for name in ("height", "width", "scale")},
        "labels": pa.array([list(row.labels or ()) for row in rows], pa.list_(pa.string())),
        "known": [row.labels is not None for row in rows],
        "cells": [fact["cells"] for fact in known],
    }
    for name, table in ((IMAGES, pa.table(images)), (CELLS, cells.replace_schema_metadata())):
        with replacing(folder / name) as part:
            pq.write_table(table, part)
    with replacing(folder / FACTS) as part:
        part.write_text(json.dumps({**facts, "dtype": next(iter(types))}, indent=1, ensure_ascii=False), encoding="utf-8")
    shutil.rmtree(folder / PARTS)
