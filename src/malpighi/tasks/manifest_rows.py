"""Rows of a manifest.csv that commands write."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from malpighi.annotations.files import replacing
from malpighi.geometry import Spacing


def spacing_text(spacing: float | Spacing | None) -> str:
    """As a manifest holds it; empty for pixels, which need not be told."""
    if spacing is None or isinstance(spacing, (int, float)):
        return "" if spacing is None else f"{spacing!r}"
    if not spacing.physical:
        return ""
    return repr(spacing.values[0]) if len(set(spacing.values)) == 1 else ",".join(map(repr, spacing.values))


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table with a heading, whole or not at all."""
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
