"""The page of a cycle of pseudo-labels: what they brought, how they changed, what they look like.

What is shown comes as plain values and arrays; nothing here reads a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.reports.colors import class_colors
from malpighi.reports.html import Report
from malpighi.reports.words import duration_text, value_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pictures = Mapping[str, tuple[np.ndarray, Mapping[int, np.ndarray]]]
"""Image → ((y, x, 3) uint8, cycle → (class, y, x) mask: 1 inside, 0 outside, 255 unlabelled)."""


def write_pseudo_report(
    path: Path | str,
    summary: Mapping[str, Any],
    *,
    classes: Sequence[str],
    sheet: Pictures | None = None,
    left_out: Sequence[Mapping[str, Any]] = (),
    recipe: str = "",
    environment: Mapping[str, Any] | None = None,
    use: str = "",
) -> Path:
    """Write the page of `cycle --task ftu`.

    Args:
        path: the HTML file.
        summary: as `summary.json` holds it: "score", "baseline", "best_cycle", "stopped", "cycles", …
        classes: the run's, in its order: each keeps its colour.
        sheet: images to show with their labels, cycle by cycle.
        left_out: one mapping an image that taught nothing: "image", "why".
        recipe: text of the recipe as filled in.
        environment: what is needed to repeat the run.
        use: commands that use the run.

    Raises:
        OutputError: the page cannot be written.
    """
    rows = summary["cycles"]
    page = Report(Path(summary["run"]).name, "Pseudo-labels, cycle by cycle", kind="cycle report")
    page.facts(
        {
            "held-out Dice": summary["score"],
            "without pseudo-labels": summary["baseline"],
            "gain": f"{summary['score'] - summary['baseline']:+.4f}",
            "best cycle": summary["best_cycle"],
            "labelled by people": summary["labelled_images"],
            "of them held out": summary["held_out_images"],
            "to be labelled": summary["unlabelled_images"],
            "time": duration_text(summary["seconds"]),
        }
    )
    if summary["best_cycle"] == 0:
        page.warning("Pseudo-labels did not help here: the network that is kept learnt from what people labelled alone.")
    _scores(page, rows, summary)
    if sheet:
        intro = "Of the images that were labelled, from the surest to the least sure; outlined is what the network of each cycle learnt from."
        page.section("Pseudo-labels", intro).figure(contact_sheet(sheet, classes))
    if left_out:
        page.section("Left out", "Images that taught nothing in the last cycle, and why.")
        page.table(left_out, fold=f"Images ({len(left_out)})" if len(left_out) > 12 else "")
    page.section("How it was made").code(recipe, fold="Recipe as filled in")
    if environment:
        page.facts(environment.get("versions", {}), fold="Versions")
        page.facts({k: v for k, v in environment.items() if k != "versions"})
    if use:
        page.section("How to use it").code(use)
    return page.write(path)


def _scores(page: Report, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> None:
    """What each cycle is worth on held-out images, beside the first, which had no pseudo-labels."""
    page.section(
        "Cycles",
        f"Mean Dice of held-out images, of which none taught a network or a label. The cycles ended with: {summary['stopped']}. "
        "The best cycle is chosen by this score, which is a little kind to it: score anew on images that took no part.",
    )
    page.figure(score_figure(rows, summary["best_cycle"]))
    page.table([row for each in rows for row in _table_rows(each, rows[0]["score"])])
    page.text(
        "Agreement compares the labels of a cycle with those of the cycle before, on all images that both labelled: mean Dice of the "
        "masks, mean difference of the probabilities, share of voxels that changed sides."
    )


def _table_rows(row: Mapping[str, Any], baseline: float) -> list[dict[str, Any]]:
    """A row of the table for each network of a cycle."""
    out = []
    for each in row.get("networks") or [row]:
        agreed = each["agreement"] or {}
        out.append(
            {
                "cycle": row["cycle"],
                **({"reduction": each["reduction"]} if "reduction" in each else {}),
                "Dice": each["score"],
                "against the first": f"{each['score'] - baseline:+.4f}" if row["cycle"] else None,
                "images labelled": each["pseudo_images"],
                "share of voxels": each["labelled_share"] if row["cycle"] else None,
                "confidence": each["confidence"],
                "agreement (Dice)": agreed.get("dice"),
                "mean |Δp|": agreed.get("difference"),
                "changed sides": agreed.get("changed"),
            }
        )
    return out


def score_figure(rows: Sequence[Mapping[str, Any]], best: int) -> Figure:
    """Held-out Dice by cycle, with the first as the line to be above."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from malpighi.reports.colors import INK, MUTED, hex_color

    color = hex_color(next(iter(class_colors(["score"]).values())))
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.add_subplot()
    cycles, scores = [row["cycle"] for row in rows], [row["score"] for row in rows]
    axes.axhline(scores[0], color=MUTED, lw=1, ls=(0, (3, 3)), label="without pseudo-labels")
    axes.plot(cycles, scores, color=color, lw=1.6, marker="o", ms=5, label="held-out Dice")
    for number, score in zip(cycles, scores, strict=True):
        axes.annotate(value_text(score), (number, score), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=9,
                      color=INK, fontweight="bold" if number == best else "normal")  # fmt: skip
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)
    axes.tick_params(length=0, labelsize=9, labelcolor=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.08, y=0.35)
    axes.set_xlabel("cycle", color=MUTED, fontsize=9)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def contact_sheet(sheet: Pictures, classes: Sequence[str]) -> Figure:
    """A row an image: the image, then the labels of each cycle over it; unlabelled parts are hatched.

    Args:
        sheet: at least one image; a cycle that did not label it leaves its place empty.
        classes: of the masks' layers.
    """
    from matplotlib.figure import Figure

    from malpighi.reports.colors import MUTED
    from malpighi.reports.pictures import hatch, overlay

    numbers = sorted({number for _, masks in sheet.values() for number in masks})
    palette = list(class_colors(classes).values())
    columns = 1 + len(numbers)
    shapes = [rgb.shape for rgb, _ in sheet.values()]
    wide = 9.0 / columns
    heights = [wide * shape[0] / shape[1] for shape in shapes]
    figure = Figure(figsize=(9.0, sum(heights) + 0.3 * len(sheet)), layout="constrained")
    grid = figure.subplots(len(sheet), columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, (name, (rgb, masks)) in zip(grid, sheet.items(), strict=True):
        axes[0].imshow(rgb)
        axes[0].set_title(name, loc="left", fontsize=8, color=MUTED)
        for panel, number in zip(axes[1:], numbers, strict=True):
            if number in masks:
                drawn = overlay(rgb, masks[number] == 1, palette, fill=0.12, dim=0.0)
                panel.imshow(hatch(drawn, (masks[number] == 255).all(axis=0)))
                panel.set_title(f"cycle {number}", loc="left", fontsize=8, color=MUTED)
        for panel in axes:
            panel.axis("off")
    return figure
