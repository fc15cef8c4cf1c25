"""Figures that show numbers: learning curves, scores with their intervals, distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from malpighi.reports.colors import INK, MUTED, RGB, class_colors, hex_color
from malpighi.reports.words import value_text

_PLAIN: RGB = (176, 92, 148)  # a line that stands for no class


def learning_curves(
    rows: Sequence[Mapping[str, Any]],
    best_step: int | None = None,
    score: str = "Validation Dice on whole held-out images.",
) -> dict[str, Figure]:
    """Training loss (raw and smoothed), validation score (by class where there are any), learning rate.

    Args:
        rows: lines of `metrics.jsonl`, each step once: training lines with `step`, `loss`, `lr`; validation lines with
            `step` and `validation`.
        best_step: step whose weights were kept; marked.
        score: what `dice` of validation lines is.

    Returns:
        caption → figure, only for what the rows hold.
    """
    train = [row for row in rows if row.get("loss") is not None]
    checks = [row for row in rows if row.get("validation")]
    figures = {}
    if train:
        figures["Training loss: every step, and smoothed."] = _loss(train, checks)
    if checks:
        figures[score] = _dice(checks, best_step)
    if len({row.get("lr") for row in train} - {None}) > 1:
        figures["Learning rate."] = _rate(train)
    return figures


def score_bars(
    groups: Mapping[str, Mapping[str, tuple[float | None, float | None, float | None]]],
    label: str = "Dice",
    colors: Mapping[str, RGB] | None = None,
) -> Figure:
    """Scores as points with their intervals, one line each, grouped.

    Args:
        groups: "class", "organ", "stain", … → name → (score, low, high); the interval may be None. A group called "" has no
            heading.
        label: name of the score.
        colors: name → (r, g, b); names without one are drawn plainly.
    """
    lines = sum(len(group) for group in groups.values())
    figure = Figure(figsize=(7.2, 0.27 * (lines + sum(map(bool, groups))) + 0.65), layout="constrained")
    axes = _quiet(figure.add_subplot(), grid="x")
    y, lowest = 0.0, 1.0
    ticks: list[float] = []
    names: list[str] = []
    headings: list[float] = []
    for group, scores in groups.items():
        if group:
            ticks.append(y)
            names.append(group)
            headings.append(y)
            y += 1
        for name, (score, low, high) in scores.items():
            color = hex_color((colors or {}).get(name, _PLAIN))
            if low is not None and high is not None and not np.isnan([low, high]).any():
                axes.plot([low, high], [y, y], color=color, lw=2.2, alpha=0.45, solid_capstyle="round")
                lowest = min(lowest, low)
            if score is not None and not np.isnan(score):
                axes.plot(score, y, "o", color=color, ms=6)
                axes.annotate(value_text(float(score)), (1, y), xycoords=("axes fraction", "data"), xytext=(8, 0),
                              textcoords="offset points", fontsize=9, color=INK, va="center")  # fmt: skip
                lowest = min(lowest, score)
            ticks.append(y)
            names.append(name)
            y += 1
    for tick, text in zip(ticks, axes.set_yticks(ticks, names, color=INK), strict=True):
        text.label1.set_fontweight("bold" if tick in headings else "normal")
    axes.set_ylim(y - 0.4, -0.6)
    axes.set_xlim(max(0.0, np.floor((lowest - 0.02) * 10) / 10), 1.0)
    axes.set_xlabel(label, color=MUTED, fontsize=9)
    return figure


def histogram(
    values: np.ndarray | Sequence[float] | Mapping[str, np.ndarray],
    unit: str = "",
    colors: Mapping[str, RGB] | None = None,
    bins: int = 32,
) -> Figure:
    """The distribution of a quantity, with its median; by class where a mapping is given.

    Positive values that span more than a factor of 50 between their 1st and 99th percentile are drawn on a logarithmic axis.

    Args:
        values: numbers, or name → numbers. NaN is left out.
        unit: written under the axis, with the quantity if wanted: "area, µm²".
        colors: name → (r, g, b).
        bins: number of bars.
    """
    held = values if isinstance(values, Mapping) else {"": np.asarray(values, float)}
    held = {name: (a := np.asarray(v, float).ravel())[np.isfinite(a)] for name, v in held.items()}
    held = {name: v for name, v in held.items() if len(v)}
    if colors is None:
        colors = class_colors([name for name in held if name])
    figure, axes = _axes()
    if not held:
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", color=MUTED)
        return figure
    everything = np.concatenate(list(held.values()))
    edges = _edges(everything, bins)
    if edges[0] > 0 and edges[-1] / edges[0] > 50:
        axes.set_xscale("log")
    for name, v in held.items():
        color = hex_color(colors.get(name, _PLAIN))
        label = f"{name} " if name else ""
        axes.hist(v, list(edges), color=color, alpha=0.28, lw=0)
        axes.hist(v, list(edges), color=color, histtype="step", lw=1.2)
        axes.axvline(
            float(np.median(v)), color=color, lw=1.2, ls=(0, (3, 2)), label=f"{label}median {value_text(float(np.median(v)))}"
        )
    axes.set_xlabel(unit, color=MUTED, fontsize=9)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    _key(axes)
    return figure


def smoothed(values: np.ndarray, span: float) -> np.ndarray:
    """Exponential moving average over about `span` steps, without the usual pull towards 0 at the start."""
    decay, total, weight = 1 - 1 / max(span, 1.0), 0.0, 0.0
    out = np.empty(len(values))
    for i, value in enumerate(values):
        if np.isfinite(value):
            total, weight = decay * total + (1 - decay) * value, decay * weight + (1 - decay)
        out[i] = total / weight if weight else np.nan
    return out


def _loss(train: Sequence[Mapping[str, Any]], checks: Sequence[Mapping[str, Any]]) -> Figure:
    figure, axes = _axes()
    steps = np.array([row["step"] for row in train])
    loss = np.array([row["loss"] for row in train], float)
    thin = max(1, len(steps) // 2000)  # more points than pixels only make the page heavy
    axes.plot(steps[::thin], loss[::thin], color=MUTED, lw=0.7, alpha=0.55)
    axes.plot(steps[::thin], smoothed(loss, len(loss) / 30)[::thin], color=hex_color(_PLAIN), lw=1.8, label="training")
    held = [(row["step"], row["validation"]["loss"]) for row in checks if row["validation"].get("loss") is not None]
    if held:
        axes.plot(*zip(*held, strict=True), color=INK, lw=1.4, marker="o", ms=3, label="validation")
    finite = loss[np.isfinite(loss)]
    if len(finite):
        top = np.percentile(finite, 99.5)  # one spike must not flatten the rest
        axes.set_ylim(min(0, finite.min()), top * 1.08 if top > 0 else None)
    _steps(axes)
    _key(axes, always=bool(held))
    return figure


def _dice(checks: Sequence[Mapping[str, Any]], best_step: int | None) -> Figure:
    figure, axes = _axes()
    classes = list(dict.fromkeys(name for row in checks for name in row["validation"].get("by_class") or {}))
    for name, color in class_colors(classes).items():
        points = [(row["step"], (row["validation"].get("by_class") or {}).get(name)) for row in checks]
        points = [(step, dice) for step, dice in points if dice is not None]
        axes.plot(*zip(*points, strict=True), color=hex_color(color), lw=1.6, marker="o", ms=3, label=name)
    overall = [(row["step"], row["validation"].get("dice")) for row in checks if row["validation"].get("dice") is not None]
    if overall and len(classes) != 1:
        axes.plot(*zip(*overall, strict=True), color=INK, lw=2, marker="o", ms=3, label="mean")
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines] or [np.zeros(1)])
    low = np.nanmin(drawn, initial=1.0)
    if best_step is not None:
        axes.axvline(best_step, color=MUTED, lw=1, ls=(0, (2, 2)), label="kept")
    axes.set_ylim(0 if low < 0.6 else 0.5, 1)
    _steps(axes)
    _key(axes)
    return figure


def _rate(train: Sequence[Mapping[str, Any]]) -> Figure:
    figure, axes = _axes()
    rows = [(row["step"], row["lr"]) for row in train if row.get("lr") is not None]
    axes.plot(*zip(*rows, strict=True), color=hex_color(_PLAIN), lw=1.8)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    axes.yaxis.get_offset_text().set(color=MUTED, fontsize=8)
    axes.set_ylim(bottom=0)
    _steps(axes)
    return figure


def _edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Edges of the bars: from the smallest to the largest value, logarithmic where the values span decades."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.linspace(low - 0.5, high + 0.5, bins + 1)
    first, last = np.percentile(values, (1, 99))
    if low > 0 and last / first > 50:
        return np.geomspace(low, high, bins + 1)
    return np.linspace(low, high, bins + 1)


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.5, 2.9), layout="constrained")
    return figure, _quiet(figure.add_subplot())


def _quiet(axes: Axes, grid: str = "y") -> Axes:
    """Grid on one axis, no frame, grey ticks without marks."""
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)
    axes.tick_params(length=0, labelsize=9, labelcolor=MUTED)
    axes.grid(axis=grid, color=MUTED, alpha=0.25, lw=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    return axes


def _steps(axes: Axes) -> None:
    axes.set_xlabel("step", color=MUTED, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _key(axes: Axes, always: bool = False) -> None:
    """The legend above the plot, where something needs telling apart."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 4 if sum(len(label) + 6 for label in labels) < 60 else 2
    if len(handles) > 1 or always or (handles and labels[0] != "training"):
        axes.legend(
            handles, labels, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=columns, frameon=False,
            fontsize=9, labelcolor=INK, handlelength=1.2, columnspacing=1.4, borderaxespad=0.2,
        )  # fmt: skip
