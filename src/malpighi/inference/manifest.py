"""What a prediction is, in words: the identity that its manifest says, compared with what is asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from malpighi.errors import OutputError
from malpighi.geometry import Spacing
from malpighi.images.channels import image_files

MANIFEST = "manifest.json"


def file_fingerprint(path: Path) -> dict[str, Any]:
    """Path, size and time of change of an image: of a folder (Zarr, slices) or a file a channel, of all files together."""
    path = Path(path).resolve()
    stats = [os.stat(f) for f in image_files(path)]
    return {
        "path": str(path),
        "bytes": sum(s.st_size for s in stats),
        "changed": max((s.st_mtime_ns for s in stats), default=0),
    }


def names_a_folder(name: str) -> bool:
    """Whether a class's label image can be called so."""
    return bool(name) and not name.startswith(".") and "/" not in name and "\\" not in name


def identity(
    shape: Sequence[int],
    spacing: Spacing,
    classes: Sequence[str],
    thresholds: Sequence[float],
    probabilities: bool,
    fingerprint: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a prediction is, as its manifest says it: two with the same identity are the same result."""
    told = {
        "shape": list(shape),
        "spacing": {"values": list(spacing.values), "unit": spacing.unit},
        "classes": {name: float(t) for name, t in zip(classes, thresholds, strict=True)},
        "probabilities": probabilities,
        **(fingerprint or {}),
    }
    return dict(as_json(told))


def finished_manifest(path: Path, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """The manifest of a finished prediction with the identity `asked`; None where nothing is finished.

    Raises:
        OutputError: finished is another one. It is neither taken for the one asked for nor replaced.
    """
    if not (path / MANIFEST).is_file():
        return None
    there = read_json(path / MANIFEST)
    if different := differences({key: there.get(key) for key in asked}, asked):
        raise OutputError(
            f"{path}: holds a finished prediction with another {', '.join(different)}; choose another output, or replace it "
            "with --overwrite"
        )
    return there


def differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Where two identities differ, in words such as "predict.overlap", "threshold of tuft" or "image"."""
    found = []
    for key in sorted({*there, *asked}):
        one: Any = there.get(key)
        other: Any = asked.get(key)
        if one == other:
            continue
        words = {"classes": "threshold of ", "options": ""}
        deep = key in words and isinstance(one, dict) and isinstance(other, dict)
        if deep and (key == "options" or one.keys() == other.keys()):
            found += [words[key] + name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
        else:
            found.append(key)
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        OutputError: it is not one.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise OutputError(f"{path}: is damaged ({error}); choose another output, or begin again with --overwrite") from error


def as_json(value: Any) -> Any:
    """`value` as it is after a way through a JSON file: what is compared with one."""
    return json.loads(json.dumps(value))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
