"""Reading metrics.jsonl: one JSON object a line. Torch-free, for reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from malpighi.errors import DataError

NAME = "metrics.jsonl"
KINDS = ("validation", "kept")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Lines of `metrics.jsonl` in order of steps: of a step that a resumed run repeats the last line of each kind.

    Kinds are training, "validation", and "kept": the weights that the run ended with, where they are none that were validated before.

    A last line that a killed run left half-written is skipped; any other bad line is an error that names it.

    Raises:
        DataError: a line before the last is not a JSON object with a step.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    kept: dict[tuple[int, int], dict[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            key = (int(row["step"]), next((n for n, kind in enumerate(KINDS, 1) if kind in row), 0))
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                continue
            raise DataError(f"{path}, line {number}: not a JSON object with a step; delete the line and try again") from error
        kept[key] = row
    return [kept[key] for key in sorted(kept)]
