"""Volumes written in pieces: OME-Zarr, a TIFF stack, a folder of slices."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from malpighi.errors import OutputError
from malpighi.geometry import Box
from malpighi.images.base import Source
from malpighi.images.write import ZarrWriter, remove_zarr

SLAB = 16  # slices drawn at once
UNLABELLED = 255

Kind = Literal["image", "labels"]
Progress = Callable[[int, int], None] | None


def write_volume(source: Source, path: Path, kind: Kind, progress: Progress = None) -> Path:
    """Write a volume of one channel; the suffix says how. See `VesselPhantom.write`."""
    if path.exists():
        raise OutputError(f"{path}: exists; choose another name")
    suffix = path.suffix.lower()
    writers = {".zarr": _write_zarr, ".tif": _write_stack, ".tiff": _write_stack, "": _write_slices}
    if suffix not in writers:
        raise OutputError(f"{path}: volumes are written as .zarr, .tif or, without a suffix, a folder of slices")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writers[suffix](source, path, kind, progress)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
    return path


def _write_zarr(source: Source, path: Path, kind: Kind, progress: Progress) -> None:
    facts: dict[str, Any] = {"classes": {1: "vessel"}} if kind == "labels" else {"channels": source.channels}
    writer = ZarrWriter(path, source.shape, source.space.spacing, source.dtype, kind=kind, shard=128, **facts)
    boxes = list(Box.of_shape(source.shape).split(writer.shard))
    try:
        for done, box in enumerate(boxes, 1):
            array = source.read(box)
            writer.write(box, array if kind == "image" else array[0])
            if progress is not None:
                progress(done, len(boxes))
        writer.finish()
    except BaseException:
        remove_zarr(path)
        raise


def _write_stack(source: Source, path: Path, kind: Kind, progress: Progress) -> None:
    """One OME-TIFF with the spacing, compressed slice by slice."""
    import tifffile

    partial = path.with_name(path.name + ".partial")
    metadata: dict[str, Any] = {"axes": "ZYX"}
    for axis, size in zip("ZYX", source.space.spacing.values, strict=True):
        metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
    try:
        with tifffile.TiffWriter(partial, bigtiff=True, ome=True) as tif:
            slices = (page for _, page in _slices(source, progress))
            tif.write(slices, shape=source.shape, dtype=source.dtype, compression="deflate", metadata=metadata)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _write_slices(source: Source, path: Path, kind: Kind, progress: Progress) -> None:
    """One TIFF a slice, numbered from 0000; masks of slices that nobody annotated are left out."""
    import tifffile

    partial = path.with_name(path.name + ".partial")
    partial.mkdir(parents=True)
    across, down = (1e4 / s for s in source.space.spacing.values[:0:-1])  # pixels per cm
    try:
        for z, page in _slices(source, progress):
            if kind == "labels" and (page == UNLABELLED).all():
                continue
            name = partial / f"{z:04d}.tif"
            tifffile.imwrite(
                name, page, compression="deflate", resolution=(across, down), resolutionunit="CENTIMETER", metadata=None
            )
        partial.replace(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _slices(source: Source, progress: Progress) -> Iterator[tuple[int, np.ndarray]]:
    """(z, slice) in order, read in slabs."""
    depth, height, width = source.shape
    for z in range(0, depth, SLAB):
        slab = np.empty((min(SLAB, depth - z), height, width), source.dtype)
        for box in Box((z, 0, 0), slab.shape).split((SLAB, 256, 256)):
            slab[box.relative_to((z, 0, 0)).slices] = source.read(box)[0]
        for k, page in enumerate(slab):
            yield z + k, page
        if progress is not None:
            progress(min(z + SLAB, depth), depth)
