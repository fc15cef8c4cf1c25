"""Writing label images: PNG, tiled TIFF, OME-Zarr, from a reader of boxes; TIFF and Zarr in bounded memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.annotations.base import UNLABELLED, Annotation
from malpighi.annotations.combined import rasterise_classes
from malpighi.annotations.files import replacing
from malpighi.errors import OutputError
from malpighi.geometry import Box, Spacing

Reader = Callable[[Box], np.ndarray]
"""Box inside the image → (*spatial) labels."""

LARGEST_PNG = 1 << 29
"""Pixels; a PNG is decoded whole by everyone who opens it."""


def labels_of(annotation: Annotation, classes: Sequence[str] = ()) -> Reader:
    """The annotation as one label image: class k of `classes` is k, counted from 1; 0 background; 255 unlabelled.

    Where classes overlap the later one shows: give the inner structure last.
    """
    names = tuple(classes) or annotation.classes
    if len(names) >= UNLABELLED:
        raise OutputError(f"{annotation.name}: {len(names)} classes do not fit in a label image; write one file a class")

    def read(box: Box) -> np.ndarray:
        layers = rasterise_classes(annotation, names, box)
        out = np.where((layers == UNLABELLED).all(axis=0), UNLABELLED, 0).astype(np.uint8)
        for value, layer in enumerate(layers, 1):
            out[layer == 1] = value
        return out

    return read


def write_png(path: Path, read: Reader, shape: Sequence[int], dtype: Any = np.uint8) -> None:
    """Write a 2-D label image of 8 or 16 bits, whole in memory."""
    import cv2

    if np.dtype(dtype) not in (np.uint8, np.uint16) or len(shape) != 2:
        raise OutputError(f"{path}: PNG holds 2-D labels of 8 or 16 bits, not {len(shape)}-D {np.dtype(dtype)}; write a TIFF")
    if shape[0] * shape[1] > LARGEST_PNG:
        raise OutputError(f"{path}: {shape[0]} × {shape[1]} is too large for a PNG; write .tif or .ome.zarr")
    labels = read(Box.of_shape(shape))
    if labels.max(initial=0) > np.iinfo(dtype).max:
        raise OutputError(f"{path}: label {labels.max()} does not fit in a PNG of {np.dtype(dtype)}; write a TIFF")
    image = np.ascontiguousarray(labels.astype(dtype, copy=False))
    with replacing(Path(path)) as part:
        part.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def write_tiff(
    path: Path,
    read: Reader,
    shape: Sequence[int],
    dtype: Any = np.uint8,
    spacing: Spacing | None = None,
    tile: int = 512,
    compression: str = "deflate",
) -> None:
    """Write a tiled TIFF of one level, one row of tiles in memory; a 3-D image becomes one page a slice.

    Args:
        path: replaced only when all is written.
        read: labels of a box.
        shape: (y, x) or (z, y, x).
        dtype: of the labels.
        spacing: level-0 µm per pixel, written as the resolution, of volumes as OME-XML too; left out where in pixels.
        tile: side of a tile, a multiple of 16.
        compression: "deflate" (every program reads it) or "zstd" (faster, smaller).
    """
    import tifffile

    box = Box.of_shape(shape)
    options = _described(box.rank, spacing)
    large = box.volume * np.dtype(dtype).itemsize > 1 << 31
    with replacing(Path(path)) as part, tifffile.TiffWriter(part, bigtiff=large, ome="metadata" in options) as tif:
        tif.write(
            _tiles(read, box, tile, np.dtype(dtype)),
            shape=box.size,
            dtype=dtype,
            tile=(tile, tile),
            compression=compression,
            photometric="minisblack",
            **{"metadata": None, **options},
        )


def _described(rank: int, spacing: Spacing | None) -> dict[str, Any]:
    """What a TIFF says of its pixel size; resolution tags have no place for that between slices, OME-XML has."""
    if spacing is None or not spacing.physical:
        return {}
    tags: dict[str, Any] = {
        "resolution": (1e4 / spacing.values[-1], 1e4 / spacing.values[-2]),
        "resolutionunit": "CENTIMETER",
    }
    if rank == 3:
        sizes = zip("ZYX", spacing.values, strict=True)
        told = [{f"PhysicalSize{axis}": value, f"PhysicalSize{axis}Unit": "µm"} for axis, value in sizes]
        tags["metadata"] = {"axes": "ZYX"} | told[0] | told[1] | told[2]
    return tags


def _tiles(read: Reader, whole: Box, side: int, dtype: np.dtype) -> Iterator[np.ndarray]:
    """Tiles in the file's order, padded with 0 to full size."""
    planes = (1,) * (whole.rank - 2)
    for box in whole.split((*planes, side, whole.size[-1])):
        band = read(box).astype(dtype, copy=False).reshape(box.size[-2:])
        for left in range(0, band.shape[1], side):
            piece = band[:, left : left + side]
            tile = np.zeros((side, side), dtype)
            tile[: piece.shape[0], : piece.shape[1]] = piece
            yield tile


def write_zarr(
    path: Path,
    layers: Mapping[str, Reader],
    shape: Sequence[int],
    spacing: Spacing,
    dtype: Any = np.uint8,
    overwrite: bool = False,
) -> None:
    """Write an OME-Zarr with one label image a class, `labels/CLASS`: what `segment` writes and `evaluate` reads.

    Args:
        path: of the group.
        layers: class name → reader of its label image; non-zero is the class.
        shape: spatial, level 0.
        spacing: of level 0.
        dtype: of the labels.
        overwrite: replace what is there.
    """
    from malpighi.images.write import ZarrWriter, remove_zarr, write_labels_group

    path = Path(path)
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists; choose another name or pass --overwrite")
    for name in layers:
        if "/" in name or name in ("", ".", ".."):
            raise OutputError(f"{path}: class {name!r} cannot be the name of a label image; rename it with --class")
    part = path.with_name(f".{path.name}.part")
    try:
        for name, read in layers.items():
            writer = ZarrWriter(
                part / "labels" / name, tuple(shape), spacing, dtype, kind="labels", classes={1: name}, overwrite=True
            )
            for box in Box.of_shape(shape).split(writer.shard):
                writer.write(box, read(box).astype(dtype, copy=False))
            writer.finish()
        write_labels_group(part, list(layers))
        if path.exists():
            remove_zarr(path)
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def layer_of(annotation: Annotation, name: str) -> Reader:
    """One class of an annotation: 1 where it is, else 0; 255 where nobody said."""
    return lambda box: rasterise_classes(annotation, (name,), box)[0]
