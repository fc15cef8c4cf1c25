"""An image's own intensity: measured in one streamed pass over all of it, and remembered."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.errors import OutputError
from malpighi.geometry import Box
from malpighi.images.base import Source
from malpighi.images.channels import image_files
from malpighi.images.replacing import replacing
from malpighi.sampling.intensity import Intensity, IntensityOptions, fixed_intensity, kind_for, require_finite, scaled_by
from malpighi.sampling.tally import Tally

_VERSION = 1  # of what is measured: another number forgets all that was remembered
_BYTES = 2**27  # read at once

Progress = Callable[[float], None]


def measure_image(
    source: Source,
    options: IntensityOptions,
    level: int = 0,
    on_progress: Progress | None = None,
    cache: Path | None = None,
) -> Intensity:
    """Offset, scale and limits of one image from every voxel of it; `options.kind` and the rest mean what they mean elsewhere.

    Whole numbers of 8 and 16 bits take one pass, others two (as float32; see `Tally`). What was measured is kept in a small
    file and read back while path, size and time of the image's files, the options and the level stay as they are.

    Args:
        level: of the pyramid that is read.
        on_progress: gets the part that is done, 0 … 1.
        cache: folder of such files; the user's own where None.

    Raises:
        DataError: NaN or infinity (with image and box).
        RecipeError: "imagenet" for an image that is not of three channels.
    """
    channels = len(source.channels)
    kind = kind_for(options, channels, source.dtype)
    if kind in ("imagenet", "range"):
        return fixed_intensity(kind, options, channels, source.dtype)
    key = _key(source, options, level)
    file = None if key is None else (cache or cache_folder()) / "intensity" / f"{_digest(key)}.json"
    known = None if file is None or key is None else _remembered(file, key)
    if known is None:
        known = _measured(source, kind, options, level, on_progress or (lambda part: None)).softened(options.soft)
        if file is not None and key is not None:
            _remember(file, key, known)
    return known


def cache_folder() -> Path:
    """Where programs of this user keep what they can make again: XDG_CACHE_HOME, else the platform's own place."""
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "malpighi"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "malpighi"
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "malpighi" / "Cache"
    return Path.home() / ".cache" / "malpighi"


def _measured(source: Source, kind: str, options: IntensityOptions, level: int, on_progress: Progress) -> Intensity:
    tallies = [Tally(source.dtype) for _ in source.channels]
    percentiles = () if kind == "measured" else (options.low, options.high)
    twice = bool(percentiles) and not tallies[0].whole
    for part in _count(source, level, tallies):
        on_progress(part / 2 if twice else part)
    if twice:
        for tally in tallies:
            tally.refine(percentiles)
        for part in _count(source, level, tallies):
            on_progress(0.5 + part / 2)
    if kind == "measured":
        return scaled_by(*np.array([tally.moments() for tally in tallies]).T)
    low, high = np.array([[tally.percentile(p) for p in percentiles] for tally in tallies]).T
    if kind == "percentile":
        return scaled_by(low, high - low, low, high)
    clipped = [tally.moments(a, b) for tally, a, b in zip(tallies, low, high, strict=True)]
    return scaled_by(*np.array(clipped).T, low, high)


def _count(source: Source, level: int, tallies: list[Tally]) -> Iterator[float]:
    """Count every voxel; the part that is done."""
    whole = Box.of_shape(source.space.shapes[level])
    done = 0
    for box in whole.split(_step(source, whole.size)):
        tile = require_finite(source.read(box, level), source.name, box)
        for tally, channel in zip(tallies, tile, strict=True):
            tally.add(channel)
        done += box.volume
        yield done / whole.volume


def _step(source: Source, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Boxes as wide as the image, of whole chunks of 128³ (1024²) where it has such, of as many rows as memory allows."""
    side = 1024 if len(shape) == 2 else 128
    if len(shape) == 2:
        return side, shape[1]
    row = len(source.channels) * source.dtype.itemsize * min(side, shape[0]) * shape[2]
    return side, min(-(-shape[1] // side) * side, max(side, _BYTES // row // side * side)), shape[2]


def _key(source: Source, options: IntensityOptions, level: int) -> dict[str, Any] | None:
    """What the numbers depend on; None for what is no file."""
    path = Path(source.name)
    try:
        stats = [(os.path.relpath(file, path), file.stat()) for file in image_files(path)]
    except OSError:
        return None
    if not stats:
        return None
    listed = [f"{name} {found.st_size} {found.st_mtime_ns}" for name, found in stats]
    return {
        "version": _VERSION,
        "path": str(path.resolve()),
        "files": hashlib.sha256("\n".join(listed).encode()).hexdigest(),
        "image": [list(source.space.shapes[level]), source.dtype.name, list(source.channels)],
        "level": level,
        "options": json.loads(json.dumps(asdict(options))),
    }


def _digest(key: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]


def _remembered(file: Path, key: dict[str, Any]) -> Intensity | None:
    """What the file says, if it says it of this very image; None for whatever is wrong with it."""
    try:
        found = json.loads(file.read_text())
        return Intensity.from_dict(found["intensity"]) if found["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _remember(file: Path, key: dict[str, Any], intensity: Intensity) -> None:
    """Write it, whole or not at all; where nothing can be written the image is measured again next time."""
    try:
        with replacing(file) as part:
            part.write_text(json.dumps({"key": key, "intensity": intensity.as_dict()}))
    except OutputError:
        pass
