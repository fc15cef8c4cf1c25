"""The page of `measure --vessels`: what the vessel graph is like, in numbers, distributions and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from malpighi.errors import DataError
from malpighi.reports.colors import MUTED
from malpighi.reports.html import Report
from malpighi.reports.plots import histogram
from malpighi.reports.runfolder import read_json
from malpighi.reports.words import duration_text, memory_text

_GENERATIONS = 6
"""Generations told apart in plots; later ones are drawn together."""
_DRAWN = 200_000
"""Points of centre lines that a picture holds at most."""
Table = dict[str, np.ndarray]


def write_vessel_report(folder: Path, report: str = "report.html") -> Path:
    """Write the page of a folder that `measure --vessels` made, from its tables and `summary.json`.

    Raises:
        DataError: the folder holds no such result.
        OutputError: the page cannot be written.
    """
    folder = Path(folder)
    told = read_json(folder / "summary.json")
    if not told:
        raise DataError(f"{folder}: no summary.json; give a folder that `malpighi measure --vessels` made")
    branches, points = _read(folder / "branches.parquet"), _read(folder / "points.parquet")
    unit = "um" if told["spacing"]["unit"] == "µm" else "px"
    sign = told["spacing"]["unit"]
    page = Report(f"Vessels of {Path(told['mask']).name}", _size(told), kind="vessel report")
    page.facts(_headline(told, unit, sign))
    if unit == "px":
        page.warning("The mask carries no voxel size: all lengths are in voxels, not in micrometres.")
    if len(points.get("branch", ())):
        page.section("Centre lines", "Seen along each axis; coloured by the vessel's radius, the thickest on top.")
        page.figures(projections(points, unit, sign))
    page.section("Branches", "By generation: how many junctions lie between a branch and the root of its piece.")
    page.table(generation_rows(branches, unit, sign))
    if len(branches["id"]):
        page.figures(_histograms(branches, unit, sign))
    _distances(page, told, sign)
    _objects(page, folder / "objects.parquet", unit, sign)
    page.section("How it was made").facts({"mask": told["mask"], "time": duration_text(told.get("seconds")),
                                           "peak memory": memory_text(told.get("peak_memory_mb"))})  # fmt: skip
    page.text(
        "Tables: `nodes.parquet`, `branches.parquet`, `points.parquet`, `density.parquet`; "
        "the graph for networkx and Gephi: `graph.graphml`."
    )
    return page.write(folder / report)


def generation_rows(branches: Table, unit: str, sign: str) -> list[dict[str, Any]]:
    """A row for each generation: branches, total length, median length, radius and tortuosity."""
    rows = []
    for generation in np.unique(branches["generation"]).tolist():
        mine = branches["generation"] == generation
        bent = branches["tortuosity"][mine]
        rows.append(
            {
                "generation": generation,
                "branches": int(mine.sum()),
                f"total length, {sign}": float(branches[f"length_{unit}"][mine].sum()),
                f"median length, {sign}": float(np.median(branches[f"length_{unit}"][mine])),
                f"median radius, {sign}": float(np.median(branches[f"mean_radius_{unit}"][mine])),
                "median tortuosity": float(np.nanmedian(bent)) if np.isfinite(bent).any() else None,
            }
        )
    return rows


def projections(points: Table, unit: str, sign: str) -> dict[str, Figure]:
    """The centre lines as points, seen along every axis: caption → figure."""
    axes = [axis for axis in "zyx" if f"{axis}_{unit}" in points]
    views = [(a, b) for i, a in enumerate(axes) for b in axes[i + 1 :]]
    radius = points[f"radius_{unit}"]
    step = -(-len(radius) // _DRAWN)
    order = np.argsort(radius, kind="stable")[::step]
    figures = {}
    for down, across in views:
        gone = next((axis for axis in axes if axis not in (down, across)), "")
        figures[f"Seen along {gone}." if gone else "The network."] = _projection(points, down, across, order, unit, sign)
    return figures


def _projection(points: Table, down: str, across: str, order: np.ndarray, unit: str, sign: str) -> Figure:
    from matplotlib.colors import LogNorm

    x, y = points[f"{across}_{unit}"][order], points[f"{down}_{unit}"][order]
    radius = points[f"radius_{unit}"][order]
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    low, high = float(radius.min()), float(radius.max())
    norm = LogNorm(low, high) if low > 0 and high > 1.5 * low else None
    size = np.clip(1.5 + 6 * radius / max(high, 1e-9), 1.5, 7.5)
    drawn = axes.scatter(x, y, c=radius, s=size, cmap="viridis", norm=norm, lw=0, rasterized=True)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=8, labelcolor=MUTED)
    axes.set_xlabel(f"{across}, {sign}", color=MUTED, fontsize=9)
    axes.set_ylabel(f"{down}, {sign}", color=MUTED, fontsize=9)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.7, aspect=30)
    for axis in (bar.ax.yaxis.set_major_formatter, bar.ax.yaxis.set_minor_formatter):
        axis(lambda value, _: f"{value:g}")  # 6, not 6 × 10⁰
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, which="both", labelsize=8, labelcolor=MUTED)
    bar.set_label(f"radius, {sign}", color=MUTED, fontsize=9)
    return figure


def _histograms(branches: Table, unit: str, sign: str) -> dict[str, Figure]:
    generation = np.minimum(branches["generation"], _GENERATIONS)
    names = {g: f"{g}+" if g == _GENERATIONS else str(g) for g in np.unique(generation).tolist()}
    figures = {}
    for column, words in (
        (f"mean_radius_{unit}", f"radius, {sign}"),
        (f"length_{unit}", f"length, {sign}"),
        ("tortuosity", "tortuosity"),
    ):
        values = {f"gen. {name}": branches[column][generation == g] for g, name in names.items()}
        figures[f"{words.split(',')[0].capitalize()} of branches, all."] = histogram(branches[column], words)
        if len(names) > 1:
            figures[f"{words.split(',')[0].capitalize()} by generation: median, quartiles, 5th and 95th percentile."] = _boxes(
                values, words
            )
    return figures


def _boxes(values: Mapping[str, np.ndarray], words: str) -> Figure:
    figure = Figure(figsize=(4.5, 2.9), layout="constrained")
    axes = figure.add_subplot()
    held = {name: v[np.isfinite(v)] for name, v in values.items()}
    held = {name: v for name, v in held.items() if len(v)}
    for place, v in enumerate(held.values()):
        low, first, middle, third, high = np.percentile(v, (5, 25, 50, 75, 95))
        axes.plot([place, place], [low, high], color="#b05c94", lw=1.2, alpha=0.6)
        axes.plot([place, place], [first, third], color="#b05c94", lw=7, alpha=0.5, solid_capstyle="butt")
        axes.plot(place, middle, "o", color="#b05c94", ms=5)
    axes.set_xticks(range(len(held)), list(held))
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)
    axes.tick_params(length=0, labelsize=8, labelcolor=MUTED)
    axes.grid(axis="y", color=MUTED, alpha=0.25, lw=0.7)
    axes.set_ylabel(words, color=MUTED, fontsize=9)
    return figure


def _headline(told: Mapping[str, Any], unit: str, sign: str) -> dict[str, Any]:
    density = next((name for name in told if name.startswith("length_density")), None)
    facts = {
        "branches": told["branches"],
        "pieces": told["components"],
        "loops": told["loops"],
        f"total length, {sign}": told[f"total_length_{unit}"],
        f"mean radius, {sign}": told[f"mean_radius_{unit}"],
        "vessel fraction": told["vessel_fraction"],
    }
    if density is not None and unit == "um":
        facts["length density, mm/mm" + ("³" if density.endswith("3") else "²")] = told[density]
    return facts


def _distances(page: Report, told: Mapping[str, Any], sign: str) -> None:
    distances = told.get("distance_to_vessel")
    if not distances or not distances["voxels"]:
        return
    page.section(
        "Distance to the nearest vessel", "Of every voxel outside the vessels (inside the tissue mask where one is given)."
    )
    names = {"mean": "mean", "p5": "5 %", "p50": "median", "p95": "95 %", "p99": "99 %", "max": "largest"}
    page.facts({f"{text}, {sign}": distances[key] for key, text in names.items()})
    edges, counts = np.array(distances["edges"]), np.array(distances["histogram"])
    figure = Figure(figsize=(4.5, 2.9), layout="constrained")
    axes = figure.add_subplot()
    axes.stairs(counts / counts.sum(), edges, fill=True, color="#b05c94", alpha=0.4)
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)
    axes.tick_params(length=0, labelsize=8, labelcolor=MUTED)
    axes.set_xlabel(f"distance, {sign}", color=MUTED, fontsize=9)
    page.figures({"Share of voxels by distance.": figure})


def _objects(page: Report, path: Path, unit: str, sign: str) -> None:
    if not path.is_file():
        return
    table = _read(path)
    page.section("Objects", "From the centre of each object to the nearest vessel voxel.")
    page.facts({"objects": len(table["id"]), f"median distance, {sign}": float(np.median(table[f"distance_{unit}"]))})
    page.figures({"Distance of objects to the nearest vessel.": histogram(table[f"distance_{unit}"], f"distance, {sign}")})


def _read(path: Path) -> Table:
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet table ({error}); run `malpighi measure` again") from error
    return {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}


def _size(told: Mapping[str, Any]) -> str:
    values = " × ".join(f"{v:g}" for v in told["spacing"]["values"])
    return f"{' × '.join(map(str, told['shape']))} voxels of {values} {told['spacing']['unit']}."
