"""Reading what a run or prediction folder holds, tolerant of what is not there yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from malpighi.errors import DataError


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; {} where the file is absent.

    Raises:
        DataError: the file is there and is not a JSON object.
    """
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}); the run that wrote it may have been cut short") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds {type(value).__name__}, a JSON object is needed")
    return value


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Lines of `metrics.jsonl` in order of steps; of a step that a resumed run repeats, the last training and validation line.

    A last line that a killed run left half-written is skipped; any other bad line is an error that names it.

    Raises:
        DataError: a line before the last is not a JSON object with a step.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    kept: dict[tuple[int, bool], dict[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            key = (int(row["step"]), "validation" in row)
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                continue
            raise DataError(f"{path}, line {number}: not a JSON object with a step; delete the line and try again") from error
        kept[key] = row
    return [kept[key] for key in sorted(kept)]
