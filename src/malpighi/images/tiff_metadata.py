"""What a TIFF says of pixel size, channels and axes; each dialect says it elsewhere."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

from malpighi.errors import DataError
from malpighi.geometry import Spacing
from malpighi.images import ngff

_PLAUSIBLE = (0.01, 20.0)
"""µm per pixel that resolution tags are believed for: 72 or 300 dots per inch (353, 85 µm) is what a program made up."""

_DEPTH = "ZIQ"
"""Axes read as z: tifffile says I or Q where a file merely holds several pages."""


def outer_axes(name: str, axes: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Axes over the pages of a series, as C and Z only, with their sizes.

    Raises:
        DataError: more than one time point, or more stacks than one.
    """
    kept = [(a, n) for a, n in zip(axes, shape, strict=True) if n > 1]
    for axis, n in kept:
        if axis == "T":
            raise DataError(f"{name}: has {n} time points (axis T); save one time point as its own image")
        if axis not in _DEPTH + "C":
            raise DataError(f"{name}: has an axis {axis} of {n}; allowed are C, Z, Y, X and one time point")
    named = "".join("C" if a == "C" else "Z" for a, _ in kept)
    if len(set(named)) != len(named):
        raise DataError(f"{name}: axes {axes} hold more than one stack {shape}; save one stack as its own image")
    return named, tuple(n for _, n in kept)


def spacing(tif: Any, rank: int) -> Spacing:
    """Size of a voxel: from OME-XML, Aperio's or ImageJ's description, or resolution tags; else pixels.

    A stack whose pages have a size but whose slices have none is in pixels: half a spacing is none.
    """
    page = tif.pages[0]
    values: list[float | None]
    if tif.is_ome:
        values = _ome_spacing(tif.ome_metadata or "")
    elif tif.is_svs:
        found = re.search(r"MPP\s*=\s*([0-9.]+)", page.description)
        values = [None, *[float(found[1]) if found else None] * 2]
    elif tif.is_imagej:
        values = _imagej_spacing(tif, page)
    else:
        values = [None, *_resolution(page)]
    wanted = values[-rank:]
    known = [v for v in wanted if v is not None and v > 0]
    return Spacing.um(known) if len(known) == rank else Spacing.pixels(rank)


def ome_channels(tif: Any) -> tuple[str, ...]:
    """Channel names of the first image of OME-XML; empty where it gives none."""
    pixels = _ome_pixels(tif.ome_metadata or "") if tif.is_ome else None
    names = [] if pixels is None else [c.get("Name") or "" for c in pixels if c.tag.endswith("}Channel")]
    return tuple(names) if all(names) else ()


def _ome_pixels(xml: str) -> ET.Element | None:
    try:
        root = ET.fromstring(xml)
    except ET.ParseError:
        return None
    return next((e for e in root.iter() if e.tag.endswith("}Pixels") or e.tag == "Pixels"), None)


def _ome_spacing(xml: str) -> list[float | None]:
    pixels = _ome_pixels(xml)
    values: list[float | None] = []
    for axis in "ZYX":
        size = None if pixels is None else pixels.get(f"PhysicalSize{axis}")
        unit = ngff.in_micrometres("µm" if pixels is None else pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        values.append(float(size) * unit if size and unit else None)
    return values


def _imagej_spacing(tif: Any, page: Any) -> list[float | None]:
    about = tif.imagej_metadata or {}
    factor = ngff.in_micrometres(str(about.get("unit", "")).replace("\\u00B5", "µ"))
    if factor is None:
        return [None, None, None]
    x, y = (_number(page, tag) for tag in ("XResolution", "YResolution"))  # pixels per unit
    z = about.get("spacing")
    return [float(z) * factor if z else None, factor / y if y else None, factor / x if x else None]


def _resolution(page: Any) -> list[float | None]:
    """(y, x) µm per pixel from the resolution tags, where the unit is one of length and the value is plausible."""
    unit = page.tags.get("ResolutionUnit")
    length = {2: 25_400.0, 3: 10_000.0}.get(2 if unit is None else int(unit.value))
    values: list[float | None] = []
    for tag in ("YResolution", "XResolution"):
        dots = _number(page, tag)
        size = length / dots if length and dots else 0.0
        values.append(size if _PLAUSIBLE[0] <= size <= _PLAUSIBLE[1] else None)
    return values


def _number(page: Any, tag: str) -> float | None:
    found = page.tags.get(tag)
    if found is None:
        return None
    value = found.value
    if isinstance(value, tuple):
        return value[0] / value[1] if value[1] else None
    return float(value) or None
