"""Converting volumes: NIfTI, Zarr, TIFF stacks, folders of slices, and a row of run lengths a slice; slab by slab."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.annotations.base import UNLABELLED, Annotation
from malpighi.annotations.label_images import labels_of, layer_of, write_tiff
from malpighi.annotations.rle import Order, RunLengths
from malpighi.errors import OutputError
from malpighi.geometry import Box
from malpighi.images.base import Source

NIFTI = (".nii", ".nii.gz")


def write_volume(source: Source, target: Path, suffix: str, numbers: Sequence[int]) -> None:
    """Write every voxel of a volume as it is: .nii, .nii.gz, .tif, or a folder of slices (no suffix)."""
    from malpighi.images.nifti import write_nifti
    from malpighi.images.write_slices import write_slices

    count = len(source.channels)
    spacing = source.space.spacing
    if suffix in NIFTI:
        affine = getattr(source, "affine", None)
        write_nifti(target, source.read, source.shape, source.dtype, spacing, affine, count)
    elif count not in ((1, 3) if not suffix else (1,)):
        raise OutputError(f"{target}: holds one channel, {source.name} has {count}; write .ome.zarr or .nii.gz")
    elif suffix:
        write_tiff(target, lambda box: source.read(box)[0], source.shape, source.dtype, spacing)
    else:
        write_slices(target, source.read, source.shape, source.dtype, spacing, numbers)


def write_label_volume(
    annotation: Annotation, target: Path, suffix: str, numbers: Sequence[int], affine: np.ndarray | None
) -> int | None:
    """Write an annotation as one label image: class k is k, 255 is unlabelled; of slices, unlabelled ones are left out."""
    from malpighi.images.nifti import write_nifti
    from malpighi.images.write_slices import write_slices

    space, read = annotation.space, labels_of(annotation)
    if suffix in NIFTI:
        write_nifti(target, read, space.shape, np.uint8, space.spacing, affine)
        return None
    return write_slices(target, read, space.shape, np.uint8, space.spacing, numbers, lambda plane: bool((plane != 255).any()))


def slice_rows(
    annotation: Annotation, name: str, row: str, order: Order, numbers: Sequence[int] = ()
) -> Iterator[tuple[str, RunLengths]]:
    """(`ROW_0000`, runs) of the slices of a volume, some slices in memory; unlabelled slices have no row."""
    from malpighi.images.write_slices import slab

    shape, read = annotation.space.shape, layer_of(annotation, name)
    numbers = numbers or range(shape[0])
    for box in Box.of_shape(shape).split((slab(shape), *shape[1:])):
        for z, plane in enumerate(read(box), box.start[0]):
            if (plane != UNLABELLED).any():
                yield f"{row}_{numbers[z]:04d}", RunLengths.encode(plane == 1, order)


def affine_of(*paths: Path | None) -> Any:
    """The affine of the first of the paths that is a NIfTI; None where none is."""
    for path in paths:
        if path is not None and path.name.lower().endswith(NIFTI) and path.is_file():
            from malpighi.images.nifti import NiftiSource

            with NiftiSource(path) as source:
                return source.affine
    return None
