"""A volume as a folder of TIFF slices, as scanners and challenges give them."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.errors import OutputError
from malpighi.geometry import Box, Spacing

_BAND = 1 << 25  # voxels read at once


def write_slices(
    folder: Path,
    read: Callable[[Box], np.ndarray],
    shape: tuple[int, ...],
    dtype: Any,
    spacing: Spacing | None = None,
    numbers: Sequence[int] = (),
    keep: Callable[[np.ndarray], bool] | None = None,
) -> int:
    """Write `folder/0000.tif`, `0001.tif`, …: deflate, a slice each, some slices in memory.

    Args:
        folder: a new one; appears only when all is written.
        read: box → (*box.size), or (channel, *box.size) of 3 channels, saved as RGB.
        shape: (z, y, x).
        spacing: level-0 µm per pixel, written as the slices' resolution; that between slices is nowhere to be written.
        numbers: of the slices; 0, 1, … where empty.
        keep: whether a slice is written at all.

    Returns:
        How many slices were written.

    Raises:
        OutputError: the folder exists or cannot be written.
    """
    import tifffile

    folder = Path(folder)
    if folder.exists():
        raise OutputError(f"{folder}: exists; choose another folder")
    numbers = numbers or range(shape[0])
    width = max(4, len(str(max(numbers))))
    options: dict[str, Any] = {"compression": "deflate", "metadata": None}
    if spacing is not None and spacing.physical:
        options |= {"resolution": (1e4 / spacing.values[-1], 1e4 / spacing.values[-2]), "resolutionunit": "CENTIMETER"}
    count = 0
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}-", suffix=".part", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); check the folder and its permissions") from error
    try:
        for box in Box.of_shape(shape).split((slab(shape), *shape[1:])):
            planes = np.moveaxis(read(box), -3, 0)  # (z, y, x) or (z, channel, y, x)
            for z, plane in enumerate(planes, box.start[0]):
                if keep is None or keep(plane):
                    pixels = plane if plane.ndim == 2 else plane[0] if len(plane) == 1 else np.moveaxis(plane, 0, -1)
                    kind = "rgb" if pixels.ndim == 3 else "minisblack"
                    values = np.ascontiguousarray(pixels, dtype)
                    tifffile.imwrite(part / f"{numbers[z]:0{width}d}.tif", values, photometric=kind, **options)
                    count += 1
        part.chmod(0o755)
        part.rename(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}); free space or choose another") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return count


def slab(shape: Sequence[int]) -> int:
    """Slices of a volume of `shape` to read at once: whole rows of chunks where memory allows."""
    most = max(1, _BAND // max(1, math.prod(shape[1:])))
    return most // 64 * 64 or most
