"""Which classes an outline file names, read as a stream: a slide's GeoJSON may be larger than memory allows to parse."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from pathlib import Path

from malpighi.errors import DataError

_CHUNK = 1 << 22
_OVERLAP = 1 << 12  # longer than any classification
_CLASSIFICATION = re.compile(rb'"classification"\s*:\s*("(?:[^"\\]|\\.)*"|\{[^{}]*\})')


def classes_named_in(path: Path) -> tuple[str, ...] | None:
    """Class names of a QuPath GeoJSON's objects, sorted; () where it names none, None where the format has no names.

    Of COCO JSON, the categories in the order of their ids; of HPA's table, its 19 classes.

    Raises:
        DataError: the file cannot be read.
    """
    if path.suffix.lower() == ".csv" and path.is_file():
        from malpighi.annotations.hpa import HPA_2021
        from malpighi.annotations.hpa_table import is_hpa

        return HPA_2021 if is_hpa(path) else None
    if not path.name.lower().endswith((".json", ".geojson", ".json.gz", ".geojson.gz")):
        return None
    if path.name.lower().endswith((".json", ".json.gz")) and path.is_file():
        from malpighi.annotations.coco import is_coco, read_coco

        coco = read_coco(path) if is_coco(path) else None
        if coco is not None:
            return coco.classes
    found: set[bytes] = set()
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            before = b""
            while chunk := file.read(_CHUNK):
                found.update(_CLASSIFICATION.findall(before + chunk))
                before = (before + chunk)[-_OVERLAP:]
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); copy or export it again") from error
    return tuple(sorted({_name(path, text) for text in found} - {""}))


def _name(path: Path, text: bytes) -> str:
    """The class as `annotations.geojson` names it: QuPath 0.6 writes derived classes as a list of names."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}: a classification is not JSON ({error}); export it again") from error
    if isinstance(value, str):
        return value
    names = value.get("names")
    return ": ".join(map(str, names)) if isinstance(names, list) else str(value.get("name") or "")
