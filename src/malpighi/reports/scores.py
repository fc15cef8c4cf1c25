"""The part of a page that shows scores: a plot of intervals, and tables by class, organ, stain, donor and image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from malpighi.metrics.report import FURTHER
from malpighi.reports.colors import RGB
from malpighi.reports.html import Report
from malpighi.reports.words import MISSING, interval_text


def add_scores(report: Report, scores: Mapping[str, Any], colors: Mapping[str, RGB] | None = None) -> None:
    """Append the result of `metrics.report.summarise` to the section that is open.

    Args:
        report: the page.
        scores: as `summarise` made it, or read back from JSON; what is missing is left out.
        colors: class → (r, g, b).
    """
    from malpighi.reports.plots import score_bars

    by = {kind: group for kind, group in (scores.get("by") or {}).items() if group}
    percent = f"{100 * (scores.get('bootstrap') or {}).get('confidence', 0.95):g} %"
    drawn = {kind: {name: dice(v) for name, v in group.items()} for kind, group in by.items() if kind != "donor"}
    if scores.get("dice") is not None:
        drawn = {"": {"all": dice(scores)}} | drawn
    if drawn:
        report.figure(
            score_bars(drawn, colors=colors), f"Mean Dice of an image, with {percent} bootstrap intervals over donors."
        )
    for note in scores.get("warnings") or ():
        report.text(f"{note[:1].upper()}{note[1:]}.")
    for kind, group in by.items():
        rows = [{kind: name, **_row(values, percent)} for name, values in group.items()]
        fold = f"By donor ({len(rows)})" if kind == "donor" else ""
        report.table(rows, _said(rows), colors=colors if kind == "class" else None, fold=fold)
    _add_cases(report, scores.get("cases") or ())


def dice(entry: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    """Dice of an entry and the ends of its interval."""
    low, high = entry.get("dice_interval") or (None, None)
    return entry.get("dice"), low, high


def _add_cases(report: Report, cases: Sequence[Mapping[str, Any]]) -> None:
    """Every image, worst first: those are the ones to look at."""
    if cases:
        rows = sorted(cases, key=lambda case: case.get("dice") or 0.0)
        rows = [{FURTHER.get(key, key): value for key, value in row.items() if value != ""} for row in rows]
        report.table(rows, _said(rows), fold=f"Every image and class, worst first ({len(rows)})")


def _row(entry: Mapping[str, Any], percent: str) -> dict[str, Any]:
    objects = entry.get("objects") or {}
    return {
        "Dice": entry.get("dice"),
        f"{percent} interval": interval_text(*dice(entry)[1:]),
        "pooled Dice": entry.get("pooled_dice"),
        "IoU": entry.get("iou"),
        "precision": entry.get("precision"),
        "recall": entry.get("recall"),
        **further(entry),
        "object F1": objects.get("f1"),
        "images": entry.get("images"),
        "donors": entry.get("groups"),
    }


def further(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Scores that only volumes have, by what pages call them; missing where they have none."""
    return {said: entry[name] for name, said in FURTHER.items() if name in entry}


def _said(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns in which at least one row says something."""
    names = dict.fromkeys(key for row in rows for key in row)
    return [name for name in names if any(row.get(name) not in (None, MISSING) for row in rows)]
