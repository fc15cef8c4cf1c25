"""Plots of a cycle of cells: labels given and scores reached, cycle by cycle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from malpighi.reports.colors import INK, MUTED, class_colors, hex_color
from malpighi.reports.words import value_text

_LINES = {"image_map": MUTED, "maps_map": "#0072b2", "cell_map": "#b05c94", "fused_map": INK, "truth_map": "#009e73"}


def labels_by_cycle(cycles: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> Figure:
    """Labelled cells as a bar a cycle, stacked by class in the classes' colours.

    Args:
        cycles: mappings with "cycle" and "counts" (class → cells).
        classes: order and colours.
    """
    figure = Figure(figsize=(7.2, 0.45 * len(cycles) + 0.7 + 0.2 * -(-len(classes) // 4)), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)
    axes.tick_params(length=0, labelsize=9, labelcolor=MUTED)
    axes.grid(axis="x", color=MUTED, alpha=0.25, lw=0.7)
    axes.set_axisbelow(True)
    places = list(range(len(cycles)))
    left = [0.0] * len(cycles)
    for name, color in class_colors(classes).items():
        counts = [float(row["counts"].get(name, 0)) for row in cycles]
        if any(counts):
            axes.barh(places, counts, left=left, height=0.62, color=hex_color(color), label=name)
            left = [a + b for a, b in zip(left, counts, strict=True)]
    for place, total in zip(places, left, strict=True):
        axes.annotate(value_text(round(total)), (total, place), xytext=(5, 0), textcoords="offset points", fontsize=9,
                      color=INK, va="center")  # fmt: skip
    axes.set_yticks(places, [f"cycle {row['cycle']}" for row in cycles], color=INK)
    axes.set_ylim(len(cycles) - 0.5, -0.5)
    axes.set_xlim(0, max([*left, 1.0]) * 1.1)
    axes.set_xlabel("cells labelled", color=MUTED, fontsize=9)
    if any(left):
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=4, frameon=False, fontsize=9, labelcolor=INK,
                    handlelength=1, handleheight=1)  # fmt: skip
    return figure


def maps_by_cycle(cycles: Sequence[Mapping[str, Any]], stages: Mapping[str, str]) -> Figure | None:
    """A line a stage over the cycles; None where there is nothing to join with a line.

    Args:
        cycles: mappings with "cycle" and the keys of `stages`, each a score within 0 … 1 or absent.
        stages: key → name in the legend.
    """
    if len(cycles) < 2:
        return None
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)
    axes.tick_params(length=0, labelsize=9, labelcolor=MUTED)
    axes.grid(axis="y", color=MUTED, alpha=0.25, lw=0.7)
    for key, said in stages.items():
        points = [(row["cycle"], row[key]) for row in cycles if row.get(key) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=_LINES.get(key, INK), lw=1.8, marker="o", ms=4, label=said)
    if not axes.lines:
        return None
    axes.set_xticks([row["cycle"] for row in cycles])
    axes.set_xlabel("cycle", color=MUTED, fontsize=9)
    axes.set_ylabel("mAP", color=MUTED, fontsize=9)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, frameon=False, fontsize=9, labelcolor=INK)
    return figure
