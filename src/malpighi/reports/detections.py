"""The page of scored cells: average precision by class, and the curves it is the area under."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from malpighi.metrics.detection import Curve
from malpighi.reports.colors import INK, MUTED, class_colors, hex_color
from malpighi.reports.html import Report
from malpighi.reports.words import duration_text

CURVES = 10
"""Classes a figure shows: those with the most true cells; more cannot be told apart."""


def write_detection_report(path: Path, result: Mapping[str, Any], curves: Mapping[str, Curve], subtitle: str) -> Path:
    """Write the page of `evaluate_cells`.

    Args:
        path: of the page.
        result: what `evaluate_cells` returns.
        curves: class → precision and recall.
        subtitle: what was scored against what.

    Raises:
        OutputError: the page cannot be written.
    """
    iou = f"{result['iou']:g}"
    page = Report("Cells, scored", subtitle, kind="evaluation report")
    page.facts(
        {
            f"mAP at IoU {iou}": result["map"],
            "image mAP": result["image_map"],
            "AP50 of masks": result["ap50"],
            "images": result["images"],
            "cells": result["cells"],
            "time": duration_text(result["seconds"]),
        }
    )
    if result["missing"]:
        page.warning(f"{len(result['missing'])} images have no prediction; all their cells count as missed.")
    page.section(
        "Classes",
        f"AP: a cell counts as found where a mask with its label has IoU {iou} or more with it; detections of classes that nobody "
        "verified in an image are left out there (Open Images, HPA 2021). Strict: they are wrong. Image AP: each image scored by "
        "its surest cell. F1 is the best that one confidence gives, and that is 'from'.",
    )
    colors = class_colors([row["class"] for row in result["by_class"]])
    page.table([_row(row) for row in result["by_class"]], colors=colors)
    shown = sorted((name for name, curve in curves.items() if curve.true), key=lambda name: -curves[name].true)[:CURVES]
    if shown:
        page.section("Precision and recall", "From the surest detection down. Classes with the most true cells.")
        page.figure(curve_figure({name: curves[name] for name in shown}, colors))
    page.section("Masks", "Whatever their labels; means over images.")
    page.facts({"AP50": result["ap50"], "mean precision .50 … .95": result["mean_precision"], "PQ": result["pq"]})
    return page.write(path)


def curve_figure(curves: Mapping[str, Curve], colors: Mapping[str, tuple[int, int, int]]) -> Figure:
    """Precision over recall of classes, as steps; the key says each one's average precision."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in curves.items():
        label = f"{name} ({curve.average_precision:.2f})"
        axes.plot(
            [0, *curve.recall], [1, *curve.precision], drawstyle="steps-pre", lw=1.5, color=hex_color(colors[name]), label=label
        )
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("recall", color=MUTED, fontsize=9)
    axes.set_ylabel("precision", color=MUTED, fontsize=9)
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)
    axes.tick_params(length=0, labelsize=9, labelcolor=MUTED)
    axes.grid(color=MUTED, alpha=0.25, lw=0.7)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9, labelcolor=INK, handlelength=1.2)
    return figure


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "class": row["class"],
        "AP": row["ap"],
        "strict": row["ap_all_classes"],
        "image AP": row["image_ap"],
        "F1": row["f1"],
        "from": row["confidence"],
        "cells": row["true"],
        "predicted": row["predicted"],
    }
