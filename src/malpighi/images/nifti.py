"""NIfTI (.nii, .nii.gz), read in place and written slice by slice.

A NIfTI array is (x, y, z), x fastest: its k, j, i are our z, y, x, and the bytes lie as a C-ordered (z, y, x) array does.
Nothing is turned to a standard orientation: masks and images of one scanner lie on one grid, and `affine` says where it is.
"""

from __future__ import annotations

import gzip
import itertools
import math
import tempfile
import threading
import weakref
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np

from malpighi.errors import DataError, OutputError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images import cache
from malpighi.images.base import Source
from malpighi.images.color import channel_names
from malpighi.images.replacing import replacing

MILLIMETRES = {"mm": 1.0, "micron": 1e-3, "meter": 1e3}
"""Millimetres in the units of length that a header can name."""

_owners = itertools.count()
_BAND = 1 << 24  # voxels that are copied at once


class NiftiSource(Source):
    """A NIfTI-1 or -2 volume, or an image where it is one slice deep; the vector axis holds channels.

    The voxel size counts only where the header names its unit; else the image is in pixels and `notes` says what the header
    holds. Values are scaled by `scl_slope` and `scl_inter` to float32 where these do anything. An uncompressed file is
    mapped; a compressed one is decompressed once, at the first read, into a temporary file that vanishes with the source.

    Attributes:
        affine: (4, 4), voxel (x, y, z, 1) to world, in mm where the unit is known.

    Args:
        labels: a label image: floating-point values that are whole numbers become int32, others are an error.
    """

    def __init__(self, path: Path, labels: bool = False) -> None:
        self._path = Path(path)
        self._key = ("nifti", next(_owners))
        self._lock = threading.Lock()
        self._spool: IO[bytes] | None = None
        try:
            image: Any = nib.load(path)
            header, proxy = image.header, image.dataobj
            self._offset, self._slope, self._inter = int(proxy.offset), float(proxy.slope), float(proxy.inter)
            self._stored = header.get_data_dtype()
            unit = header.get_xyzt_units()[0]
            sizes = [float(z) for z in header.get_zooms()]
            dims = tuple(int(n) for n in header.get_data_shape())
        except Exception as error:  # nibabel raises its own, struct's, gzip's, …
            raise DataError(f"{path}: is no NIfTI ({error}); export it again") from error
        self._layout, count = _layout(path, dims, self._stored)
        whole = self._layout[1:4]
        spatial = whole if whole[0] > 1 else whole[1:]
        self._labels = labels and self._kind() == "f"
        scaled = (self._slope, self._inter) != (1.0, 0.0)
        dtype = np.dtype(np.int32) if self._labels else np.dtype(np.float32) if scaled else self._plain_dtype()
        factor = MILLIMETRES.get(unit)
        self.affine = np.asarray(image.affine, np.float64).copy()
        self.affine[:3] *= factor or 1.0
        spacing, self.notes = _spacing(str(path), [*sizes, 1.0, 1.0, 1.0][:3], factor, len(spatial))
        super().__init__(
            str(path), Space((spatial,), spacing), dtype, channel_names(count, rgb=self._stored.fields is not None)
        )
        self._check_complete()

    def _kind(self) -> str:
        scaled = (self._slope, self._inter) != (1.0, 0.0)
        return "f" if scaled else self._plain_dtype().kind

    def _plain_dtype(self) -> np.dtype:
        return np.dtype(np.uint8) if self._stored.fields is not None else self._stored.newbyteorder("=")

    @property
    def _bytes(self) -> int:
        return math.prod(self._layout) * self._stored.itemsize

    def _check_complete(self) -> None:
        if self._compressed:
            return
        have = self._path.stat().st_size
        if have < self._offset + self._bytes:
            raise DataError(
                f"{self.name}: truncated: the voxels reach to byte {self._offset + self._bytes}, the file ends at {have}; "
                "copy it again"
            )

    @property
    def _compressed(self) -> bool:
        return self._path.suffix.lower() == ".gz"

    def _read(self, box: Box, level: int) -> np.ndarray:
        array = self._voxels()
        lead = (slice(None),) if box.rank == 3 else (slice(None), 0)
        part = np.asarray(array[(*lead, *box.slices)])
        if self._stored.fields is not None:
            return np.moveaxis(part[0], -1, 0).copy()
        if self.dtype == part.dtype and part.dtype.isnative:
            return np.array(part)
        return self._whole(part, box) if self._labels else self._scaled(part)

    def _scaled(self, part: np.ndarray) -> np.ndarray:
        if (self._slope, self._inter) == (1.0, 0.0):
            return part.astype(self.dtype)
        return (part.astype(np.float64) * self._slope + self._inter).astype(self.dtype)

    def _whole(self, part: np.ndarray, box: Box) -> np.ndarray:
        values = part.astype(np.float64) * self._slope + self._inter
        numbers = np.rint(values)
        if not (np.abs(values - numbers) < 1e-4).all():  # NaN included
            raise DataError(f"{self.name}: a mask with values that are no whole numbers in {box}; threshold it first")
        return numbers.astype(np.int32)

    def _voxels(self) -> np.ndarray:
        """(channel, z, y, x) as in the file; of RGB (1, z, y, x, 3). Mapped anew: a map that stays grows to the volume's size."""
        if not self._compressed:
            flat = np.memmap(self._path, np.uint8, "r", self._offset, (self._bytes,))
        else:
            with self._lock:  # one thread decompresses, the others wait for it
                self._spool = self._spool or self._decompressed()
                flat = np.memmap(self._spool, np.uint8, "r", 0, (self._bytes,))
        return _shaped(flat, self._stored, self._layout)

    def _decompressed(self) -> IO[bytes]:
        """The voxels' bytes, in a temporary file without a name."""
        spool = tempfile.TemporaryFile()  # noqa: SIM115 (the source holds it)
        try:
            with gzip.open(self._path) as file:
                file.seek(self._offset)
                left = self._bytes
                while left and (data := file.read(min(left, _BAND))):
                    spool.write(data)
                    left -= len(data)
        except (OSError, EOFError, zlib.error) as error:
            spool.close()
            raise DataError(f"{self.name}: is truncated or damaged ({error}); copy it again") from error
        if left:
            spool.close()
            raise DataError(f"{self.name}: truncated: {left} of {self._bytes} bytes of voxels are missing; copy it again")
        spool.flush()
        cache.tiles.count(self._bytes // self._stored.itemsize)
        weakref.finalize(self, spool.close)
        return spool

    def _close(self) -> None:
        with self._lock:
            if self._spool is not None:
                self._spool.close()
            self._spool = None


def _layout(path: Path, dims: tuple[int, ...], dtype: np.dtype) -> tuple[tuple[int, int, int, int], int]:
    """(channel, z, y, x) of the file's array, and how many channels that makes."""
    x, y, z, t, c, *rest = (*dims, *(1,) * (5 - len(dims)))
    if t != 1:
        raise DataError(f"{path}: has {t} time points (axis 4 of {dims}); save one time point as its own image")
    if math.prod(rest) != 1 or min(x, y, z, c) < 1:
        raise DataError(f"{path}: an array of {dims}; allowed are (x, y, z), one time point, and channels on axis 5")
    if dtype.kind not in "iufV":
        raise DataError(f"{path}: voxels of {dtype}; allowed are whole and floating-point numbers and RGB")
    if dtype.fields is not None and c > 1:
        raise DataError(f"{path}: RGB voxels and a vector axis of {c}; save it with one of the two")
    return (c, z, y, x), c if dtype.fields is None else len(dtype.fields)


def _shaped(flat: np.ndarray, dtype: np.dtype, layout: tuple[int, ...]) -> np.ndarray:
    if dtype.fields is not None:
        return flat.reshape(*layout, len(dtype.fields))
    return flat.view(dtype).reshape(layout)


def _spacing(name: str, sizes: list[float], factor: float | None, rank: int) -> tuple[Spacing, tuple[str, ...]]:
    """Of (x, y, z) sizes in a unit of `factor` mm; pixels, and why, where there is no unit."""
    wanted = sizes[:rank][::-1]
    good = all(math.isfinite(v) and v > 0 for v in wanted)
    if factor is not None and good:  # 7 digits: zooms are float32
        return Spacing.um([float(f"{v * factor * 1e3:.7g}") for v in wanted]), ()
    told = " × ".join(f"{v:g}" for v in wanted)
    if not good:
        return Spacing.pixels(rank), (f"{name}: the header's voxel size is {told}; give the true one with --spacing",)
    mm = ",".join(f"{v * 1e3:g}" for v in wanted)
    return Spacing.pixels(rank), (
        f"{name}: the header gives a voxel size of {told} without a unit, so it is in pixels; if that is mm, "
        f"give --spacing {mm}",
    )


def write_nifti(
    path: Path,
    read: Callable[[Box], np.ndarray],
    shape: tuple[int, ...],
    dtype: Any,
    spacing: Spacing,
    affine: np.ndarray | None = None,
    channels: int = 1,
) -> None:
    """Write a volume (or image), a few slices in memory; `.nii.gz` compresses.

    Sizes are written in mm, which is what most programs take them for. `affine` keeps its directions and origin and gets
    the lengths of `spacing`; without one the volume lies at the origin along the axes.

    Args:
        path: .nii or .nii.gz; replaced only when all is written.
        read: box → (*box.size), or (channel, *box.size) where there are several channels.
        shape: (z, y, x) or (y, x).
        dtype: of the voxels; bool becomes uint8.
        spacing: in µm; in pixels the header names no unit.
        affine: (4, 4), (x, y, z, 1) to mm, as `NiftiSource.affine`.
        channels: more than one lie on the vector axis.
    """
    kind = np.dtype(np.uint8) if np.dtype(dtype) == bool else np.dtype(dtype)
    try:
        header = _header(shape, kind, spacing, affine, channels)
    except Exception as error:  # nibabel: no code for this dtype
        raise OutputError(f"{path}: NIfTI cannot hold {kind} voxels ({error}); convert them first") from error
    compressed = Path(path).suffix.lower() == ".gz"
    with replacing(Path(path)) as part, gzip.open(part, "wb", compresslevel=4) if compressed else part.open("wb") as file:
        file.write(header.binaryblock + b"\0" * 4)
        _write_voxels(file, read, shape, kind, channels)  # type: ignore[arg-type]


def _write_voxels(
    file: IO[bytes], read: Callable[[Box], np.ndarray], shape: tuple[int, ...], dtype: np.dtype, channels: int
) -> None:
    plane = math.prod(shape[1:])
    step = max(1, _BAND // max(1, plane) // 64 * 64 or _BAND // max(1, plane))
    for channel in range(channels):
        for box in Box.of_shape(shape).split((step, *shape[1:])):
            part = read(box)
            part = part[channel] if part.ndim > len(shape) else part
            file.write(np.ascontiguousarray(part, dtype.newbyteorder("<")).tobytes())


def _header(shape: tuple[int, ...], dtype: np.dtype, spacing: Spacing, affine: np.ndarray | None, channels: int) -> Any:
    large = max(shape) > np.iinfo(np.int16).max
    header: Any = (nib.Nifti2Header if large else nib.Nifti1Header)(endianness="<")
    sizes = shape[::-1]
    header.set_data_dtype(dtype)
    header.set_data_shape(sizes if channels == 1 else (*sizes, *(1,) * (4 - len(sizes)), channels))
    lengths = [v * 1e-3 if spacing.physical else v for v in spacing.values[::-1]]
    given = np.eye(4) if affine is None else np.array(affine, np.float64)
    own = np.linalg.norm(given[:3, :3], axis=0)
    for axis, length in enumerate(lengths):
        if own[axis] > 0 and (spacing.physical or affine is None):
            given[:3, axis] *= length / own[axis]
    header.set_zooms(
        (*np.linalg.norm(given[:3, :3], axis=0)[: len(sizes)], *(1.0,) * (len(header.get_data_shape()) - len(sizes)))
    )
    header.set_sform(given, code=2)
    header.set_qform(given, code=2)
    header.set_xyzt_units("mm" if spacing.physical else "unknown")
    header.set_slope_inter(1, 0)
    header["vox_offset"] = 544 if large else 352
    header["magic"] = b"n+2" if large else b"n+1"
    return header
