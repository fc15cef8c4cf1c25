"""The section of a page that shows scores: table and interval plot by class, organ, stain, donor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from malpighi.reports.colors import RGB
from malpighi.reports.html import Report
from malpighi.reports.words import interval_text

_COLUMNS = {"dice": "Dice", "iou": "IoU", "precision": "precision", "recall": "recall", "f1": "object F1"}
_COUNTS = {"images": "images", "groups": "donors", "n": "images", "cases": "images"}


def add_scores(report: Report, scores: Mapping[str, Any], colors: Mapping[str, RGB] | None = None) -> None:
    """Append the tables and the plot of a `metrics.report` result to the section that is open.

    Args:
        scores: overall values and `by`: "class", "organ", … → name → values, `low` and `high` of the Dice interval among them.
        colors: class → (r, g, b).
    """
    from malpighi.reports.plots import score_bars

    by = {kind: group for kind, group in (scores.get("by") or {}).items() if group}
    plot = {kind: {name: (v.get("dice"), *interval(v)) for name, v in group.items()} for kind, group in by.items()}
    if any(interval(scores)) and scores.get("dice") is not None:
        plot = {"overall": {"all": (scores["dice"], *interval(scores))}} | plot
    if plot:
        caption = "Dice with 95 % bootstrap intervals over groups (donors), where there are enough of them to say."
        report.figure(score_bars(plot, colors=colors), caption)
    for kind, group in by.items():
        rows = [_row(kind, name, values) for name, values in group.items()]
        report.table(rows, _columns(rows), colors=colors if kind == "class" else None)


def interval(values: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The Dice interval among `values`; (None, None) where there is none."""
    pair: Sequence[float | None] | None = values.get("interval")
    return (pair[0], pair[1]) if pair else (None, None)


def _row(kind: str, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {kind: name}
    for key, heading in _COLUMNS.items():
        if key in values:
            row[heading] = values[key]
            if key == "dice":
                row["95 % interval"] = interval_text(*interval(values))
    for key, heading in _COUNTS.items():
        if key in values:
            row.setdefault(heading, values[key])
    return row


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(key for row in rows for key in row)
    said = {name for name in names if any(row.get(name) not in (None, interval_text(None, None)) for row in rows)}
    return [name for name in names if name in said]
