"""Which files of a folder are images, which are labels, and what name ties them together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from malpighi.images.channels import image_stem
from malpighi.images.open import IMAGE_SUFFIXES, is_image

DOUBLE_SUFFIXES = (".ome.zarr", ".ome.tiff", ".ome.tif", ".nii.gz", ".geojson.gz", ".json.gz")
"""Taken whole: `slide.ome.tif` is called `slide`."""

OUTLINE_SUFFIXES = (".geojson.gz", ".geojson", ".json.gz", ".json", ".zip")
"""Outlines: QuPath GeoJSON, polygon JSON, ImageJ region zips."""


def stem(path: Path) -> str:
    """The file's name without its suffix, double suffixes taken whole; dots that begin no known suffix stay.

    Of a file a channel, what their names have in common: `ID` of `ID_{red,green}.png`.
    """
    shared = image_stem(path)
    if shared:
        return shared
    for suffix in (*DOUBLE_SUFFIXES, *OUTLINE_SUFFIXES, *IMAGE_SUFFIXES):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def images_in(folder: Path) -> list[Path]:
    """The images directly in `folder`, in natural order: `tile_2` before `tile_10`."""
    return _sorted(path for path in _listing(folder) if is_image(path))


def outlines_in(folder: Path) -> list[Path]:
    """The outline files directly in `folder`, in natural order."""
    return _sorted(p for p in _listing(folder) if p.name.lower().endswith(OUTLINE_SUFFIXES) and p.is_file())


def folders_in(folder: Path) -> list[Path]:
    """The visible sub-folders, image folders such as `slide.ome.zarr` aside."""
    return _sorted(path for path in _listing(folder) if path.is_dir() and not is_image(path))


def child(folder: Path, *names: str) -> Path | None:
    """The sub-folder with one of these names, whatever its case; the first name that is there."""
    have = {path.name.lower(): path for path in folders_in(folder)}
    return next((have[name] for name in names if name in have), None)


def _listing(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if _visible(path)] if folder.is_dir() else []


def _visible(path: Path) -> bool:
    return not path.name.startswith((".", "__MACOSX"))


def _sorted(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: natural(path.name))


def natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key that orders numbers within names by their value."""
    import re

    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text.lower()) if part]
