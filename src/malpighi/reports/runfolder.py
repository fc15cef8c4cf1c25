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
