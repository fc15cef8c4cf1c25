"""OME-NGFF metadata, versions 0.4 and 0.5: dictionaries in and out, no files. https://ngff.openmicroscopy.org/0.5/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Spacing

Kind = Literal["image", "labels"]
Version = Literal["0.4", "0.5"]
VERSIONS: tuple[Version, ...] = ("0.5", "0.4")

MICROMETRES = {
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
    "inch": 25_400.0,
}
"""Micrometres in each length unit that NGFF names and that a microscope may write."""

_SHORT = {
    "å": "angstrom",
    "nm": "nanometer",
    "um": "micrometer",
    "µm": "micrometer",
    "μm": "micrometer",
    "micron": "micrometer",
}
_SHORT |= {"mm": "millimeter", "cm": "centimeter", "m": "meter", "in": "inch", "micrometre": "micrometer"}
_RGB = ("FF0000", "00FF00", "0000FF", "FFFFFF")


def in_micrometres(unit: str | None) -> float | None:
    """Micrometres in one `unit` ("micrometer", "µm", "nm", …); None where it is no unit of length."""
    if not unit:
        return None
    unit = unit.strip().lower()
    return MICROMETRES.get(_SHORT.get(unit, unit))


def multiscales(
    name: str, axes: Sequence[str], spacings: Sequence[Spacing], kind: Kind, version: Version, paths: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The `multiscales` entry of an image with one spacing a level, finest first.

    All levels share their outer corner, so no translations are written, as ome-zarr-py and bioformats2raw do. A spacing
    in pixels gets no unit.
    """
    units = {"unit": "micrometer"} if spacings[0].physical else {}
    described = [{"name": a, "type": "channel"} if a == "c" else {"name": a, "type": "space", **units} for a in axes]
    lead = [1.0] * (len(axes) - spacings[0].rank)
    datasets = [
        {"path": path, "coordinateTransformations": [{"type": "scale", "scale": [*lead, *spacing.values]}]}
        for path, spacing in zip(paths or [str(i) for i in range(len(spacings))], spacings, strict=True)
    ]
    entry = {"name": name, "axes": described, "datasets": datasets, "type": "mean" if kind == "image" else "nearest"}
    return [entry if version == "0.5" else {"version": version, **entry}]


def image_label(version: Version, classes: Mapping[int, str], colors: Mapping[int, Sequence[int]]) -> dict[str, Any]:
    """The `image-label` entry of a label image that lies in `IMAGE/labels/NAME`."""
    entry: dict[str, Any] = {} if version == "0.5" else {"version": version}
    if colors:
        entry["colors"] = [{"label-value": int(v), "rgba": _rgba(c)} for v, c in sorted(colors.items())]
    if classes:
        entry["properties"] = [{"label-value": int(v), "class": name} for v, name in sorted(classes.items())]
    return entry | {"source": {"image": "../../"}}


def omero(channels: Sequence[str], dtype: np.dtype) -> dict[str, Any]:
    """Names, colours and display range of the channels, as viewers expect them."""
    top = float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0
    window = {"min": 0.0, "start": 0.0, "max": top, "end": top}
    colours = _RGB if len(channels) > 1 else ("FFFFFF",)
    return {
        "channels": [
            {"label": name, "color": colours[i % len(colours)], "window": window, "active": True}
            for i, name in enumerate(channels)
        ],
    }


def attributes(version: Version, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Group attributes that hold `entries`: under "ome" in 0.5, plain in 0.4."""
    return {"ome": {"version": version, **entries}} if version == "0.5" else dict(entries)


def entries(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of `attributes`, for either version."""
    ome = attrs.get("ome")
    return dict(ome) if isinstance(ome, Mapping) else dict(attrs)


def axis_names(name: str, multiscale: Mapping[str, Any], rank: int) -> tuple[str, ...]:
    """Axis names of a `multiscales` entry, in array order; 0.1–0.3 wrote plain strings or nothing."""
    axes = multiscale.get("axes")
    if axes is None:
        return ("t", "c", "z", "y", "x")[-rank:]
    names = tuple(a["name"] if isinstance(a, Mapping) else str(a) for a in axes)
    if len(names) != rank or len(set(names)) != len(names):
        raise DataError(f"{name}: axes {names} do not fit an array of {rank} axes; the metadata is broken, write it again")
    return names


def level_scale(multiscale: Mapping[str, Any], level: int, rank: int) -> tuple[float, ...]:
    """Scale of a level, axis by axis: its own `scale` times the one that all levels share."""
    scale = [1.0] * rank
    for where in (multiscale["datasets"][level], multiscale):
        for transform in where.get("coordinateTransformations") or ():
            if transform.get("type") == "scale" and len(transform.get("scale", ())) == rank:
                scale = [a * float(b) for a, b in zip(scale, transform["scale"], strict=True)]
    return tuple(scale)


def spacing_of(multiscale: Mapping[str, Any], names: Sequence[str], spatial: Sequence[str]) -> Spacing:
    """Level-0 spacing along the axes `spatial`: micrometres where every one of them names a unit of length, else pixels."""
    scale = level_scale(multiscale, 0, len(names))
    axes = multiscale.get("axes") or []
    units = {a["name"]: in_micrometres(a.get("unit")) for a in axes if isinstance(a, Mapping)}
    factors = [units.get(axis) for axis in spatial]
    values = [scale[names.index(axis)] for axis in spatial]
    if any(f is None for f in factors) or min(values) <= 0:
        return Spacing.pixels(len(spatial))
    return Spacing.um([v * (f or 1.0) for v, f in zip(values, factors, strict=True)])


def _rgba(color: Sequence[int]) -> list[int]:
    rgba = [int(c) for c in color]
    return rgba if len(rgba) == 4 else [*rgba[:3], 255]
