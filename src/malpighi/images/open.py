"""From a path to the driver that reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from malpighi.errors import DataError, SpacingError
from malpighi.geometry import Spacing
from malpighi.images.base import Source
from malpighi.images.channels import channel_files, is_channel_path


def _raster(path: Path, labels: bool) -> Source:
    from malpighi.images.raster import RasterSource

    return RasterSource(path, labels)


def _tiff(path: Path, labels: bool) -> Source:
    from malpighi.images.tiff import TiffSource

    return TiffSource(path, labels)


def _slide(path: Path, labels: bool) -> Source:
    from malpighi.images.slide import SlideSource

    return SlideSource(path)


def _zarr(path: Path, labels: bool) -> Source:
    from malpighi.images.zarr import ZarrSource

    return ZarrSource(path)


def _nifti(path: Path, labels: bool) -> Source:
    from malpighi.images.nifti import NiftiSource

    return NiftiSource(path, labels)


def _stack(path: Path, labels: bool) -> Source:
    from malpighi.images.stack import StackSource

    return StackSource(path, labels)


def _channels(path: Path, labels: bool) -> Source:
    from malpighi.images.channels import ChannelsSource

    return ChannelsSource(path, labels)


Driver = Callable[[Path, bool], Source]

DRIVERS: dict[str, tuple[Driver, ...]] = {
    ".png": (_raster,),
    ".jpg": (_raster,),
    ".jpeg": (_raster,),
    ".bmp": (_raster,),
    ".tif": (_tiff, _slide),
    ".tiff": (_tiff, _slide),
    ".btf": (_tiff,),
    ".svs": (_tiff, _slide),
    ".qptiff": (_tiff,),
    ".ndpi": (_slide,),
    ".mrxs": (_slide,),
    ".scn": (_slide,),
    ".svslide": (_slide,),
    ".vms": (_slide,),
    ".vmu": (_slide,),
    ".bif": (_slide,),
    ".dcm": (_slide,),
    ".czi": (_slide,),
    ".zarr": (_zarr,),
    ".nii": (_nifti,),
    ".nii.gz": (_nifti,),
}
"""Drivers by suffix, in the order in which they are tried. A folder that is no Zarr holds the slices of one volume."""

IMAGE_SUFFIXES = tuple(DRIVERS)
_ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")


def is_image(path: Path) -> bool:
    """Whether the name, or for folders without a suffix a Zarr inside, says that malpighi reads it; opens nothing.

    A folder of slices does not count: nothing in it says that its images are not images of their own. A path with braces
    (`ID_{red,green}.png`) counts by its suffix, whether its files are there or not.
    """
    return bool(_drivers(Path(path)))


def open_image(
    path: Path | str,
    spacing: float | Spacing | None = None,
    on_damage: Literal["raise", "fill"] = "raise",
    labels: bool = False,
) -> Source:
    """Open an image of any format; the suffix says which drivers are tried. A folder is opened as the slices of a volume,
    a path with braces (`dir/ID_{red,green,blue}.png`) as one image of a file a channel.

    Args:
        spacing: overrides the level-0 spacing: a number is µm per pixel on every axis, and so is a spacing of one axis.
        on_damage: what a tile that cannot be decoded does: "raise" `TileError`, or "fill" and note it in `damage`.
        labels: a label image: palette indices stay numbers and alpha is dropped.

    Raises:
        DataError: the path does not exist, has another suffix, or no driver reads it; says what each driver said.
        SpacingError: `spacing` has another number of axes than the image.
    """
    path = Path(path)
    drivers = _drivers(path)
    if not path.exists() and not channel_files(path):
        raise DataError(f"{path}: does not exist")
    if not drivers and path.is_dir():
        drivers = (_stack,)
    if not drivers:
        raise DataError(f"{path}: is not an image malpighi reads; allowed are {' '.join(IMAGE_SUFFIXES)}")
    said = []
    for driver in drivers:
        try:
            source = driver(path, labels)
        except DataError as error:
            said.append(str(error))
            continue
        source.on_damage = on_damage
        if spacing is not None:
            try:
                source.space = source.space.with_spacing(spacing_for(spacing, source.space.rank, source.name))
            except SpacingError:
                source.close()
                raise
        return source
    if len(said) == 1:
        raise DataError(said[0])
    reasons = "; ".join(reason.removeprefix(f"{path}: ") for reason in said)
    raise DataError(f"{path}: is not an image malpighi reads: {reasons}")


def spacing_for(given: float | Spacing, rank: int, name: str) -> Spacing:
    """What a user gave, for an image of `rank` axes: a number or a spacing of one axis stands for all.

    Raises:
        SpacingError: it has another number of axes.
    """
    if not isinstance(given, Spacing):
        return Spacing.um(given, rank)
    if given.rank == 1:
        return Spacing(given.values * rank, given.unit)
    if given.rank != rank:
        raise SpacingError(
            f"{name}: has {rank} axes and the spacing given has {given.rank}, {given}; give --spacing as one number or as "
            + ("z,y,x" if rank == 3 else "y,x")
        )
    return given


def _drivers(path: Path) -> tuple[Driver, ...]:
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    found = DRIVERS.get("".join(suffixes), ()) or DRIVERS.get(path.suffix.lower(), ())
    if found and is_channel_path(path):
        return (_channels,)
    if not found and path.is_dir() and any((path / mark).exists() for mark in _ZARR_MARKS):
        return (_zarr,)
    return found
