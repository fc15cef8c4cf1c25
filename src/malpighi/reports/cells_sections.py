"""The sections of the pages of cells, one function each; a section of which nothing is known is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from malpighi.reports.cells_plots import labels_by_cycle, maps_by_cycle
from malpighi.reports.colors import class_colors
from malpighi.reports.html import Report
from malpighi.reports.plots import histogram, score_bars
from malpighi.reports.words import MISSING, share_text

_STAGES = {
    "image_map": "image classifier",
    "maps_map": "class maps in cells",
    "cell_map": "cell classifier",
    "fused_map": "fused",
}
LISTED = 500
"""Rows of a long table that a page shows."""


def best_cycle(cycles: Sequence[Mapping[str, Any]]) -> int | None:
    """The number of the cycle whose fused scores rank held-out images best."""
    scored = [row for row in cycles if row.get("fused_map") is not None]
    return max(scored, key=lambda row: row["fused_map"]).get("cycle") if scored else None


def add_cycles(page: Report, cycles: Sequence[Mapping[str, Any]], best: int | None) -> None:
    """A row a cycle, and lines over them."""
    if not cycles:
        return
    page.section(
        "Cycles",
        "Cells are labelled, a classifier of cells learns from them, and what it says labels the cells of the next cycle. "
        "Agreement: of the cells labelled in both, those that kept their label. mAP: of held-out images, by the image classifier, "
        "its maps in cells, the cell classifier, and all fused; a stage that scores cells gives an image its surest cell's score.",
    )
    rows = []
    for row in cycles:
        number, changed = row.get("cycle"), _changed(row)
        shown = {
            "cycle": f"{number}\u00a0(kept)" if number == best else str(number),
            "labelled": row.get("labelled"),
            "gained": changed.get("gained"),
            "lost": changed.get("lost"),
            "agreement": _share(changed.get("same")),
        }
        shown |= {f"mAP {name.removesuffix('_map')}": row.get(name) for name in _STAGES}
        rows.append(shown | {"mAP truth": row.get("truth_map")})
    page.table(rows, _said(rows))
    figure = maps_by_cycle(cycles, {**_STAGES, "truth_map": "cells, truth known"})
    if figure is not None:
        page.figure(figure, "mAP by cycle.")


def _changed(row: Mapping[str, Any]) -> dict[str, Any]:
    """What changed since the cycle before, whether it stands in the row itself or under "agreement"."""
    agreement = row.get("agreement")
    held = dict(agreement) if isinstance(agreement, Mapping) else {"same": agreement}
    return held | {name: row[name] for name in ("gained", "lost") if row.get(name) is not None}


def _share(share: float | None) -> str | None:
    return None if share is None else share_text(share)


def add_labels(page: Report, cycles: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    """Cells labelled by class and cycle."""
    counted = [row for row in cycles if row.get("counts")]
    if not counted:
        return
    colors = class_colors(classes)
    page.section("Labels", "Cells that were given each label, cycle by cycle.")
    page.figure(labels_by_cycle(counted, classes))
    rows = [{"class": name} | {f"cycle {row['cycle']}": row["counts"].get(name, 0) for row in counted} for name in classes]
    page.table(rows, colors=colors)
    for row in counted:
        changed = _changed(row).get("by_class") or {}
        rows = [
            {"class": name}
            | {key: each.get(key) for key in ("both", "gained", "lost")}
            | {"agreement": _share(each.get("same"))}
            for name, each in changed.items()
        ]
        if rows:
            page.table(rows, colors=colors, fold=f"Cycle {row['cycle']} beside the one before, by class")
    none = [name for name in classes if not counted[-1]["counts"].get(name)]
    if none:
        page.text(f"No cell has the label {', '.join(none)} in the last cycle: what is said of it comes from images alone.")


def add_scores(page: Report, by_class: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    """Average precision by class."""
    if not by_class:
        return
    colors = class_colors(classes)
    page.section("Scores by class", "Average precision on held-out images. A class that none of them shows cannot be scored.")
    drawn = {}
    for key, said in (("image_ap", "of images"), ("cell_ap", "of cells, truth known")):
        points = {str(row["class"]): (row[key], None, None) for row in by_class if row.get(key) is not None}
        if points:
            drawn[said] = points
    if drawn:
        page.figure(score_bars(drawn, "average precision", colors), "")
    names = {"image_ap": "AP of images", "cell_ap": "AP of cells"}
    rows = [{names.get(key, key.replace("_", " ")): value for key, value in row.items()} for row in by_class]
    page.table(rows, _said(rows), colors=colors)


def add_rule(
    page: Report, cycles: Sequence[Mapping[str, Any]], best: int | None, sentences: Sequence[str], classes: Sequence[str]
) -> None:
    """How scores are joined, with thresholds and what was compared."""
    row = next((row for row in cycles if row.get("cycle") == best), {})
    values, tried = row.get("rule") or {}, row.get("tried") or ()
    if not (values or tried or sentences):
        return
    page.section("How scores are joined", "The scores of a cell: its own, that of the maps in it, and that of its image.")
    for sentence in sentences:
        page.text(sentence)
    thresholds = values.get("thresholds") or ()
    shown = {str(name).replace("_", " "): value for name, value in values.items() if name != "thresholds"}
    if isinstance(negative := shown.get("negative"), int) and 0 <= negative < len(classes):
        shown["negative"] = classes[negative]
    page.facts(shown)
    if thresholds:
        pairs = thresholds.items() if isinstance(thresholds, Mapping) else zip(classes, thresholds, strict=False)
        page.table(
            [{"class": name, "threshold": value} for name, value in pairs],
            caption="From which score a cell counts as having the label.",
            colors=class_colors(classes),
        )
    if tried:
        rows = [{"what": k, "mAP": v} for k, v in tried.items()] if isinstance(tried, Mapping) else list(tried)
        page.table(rows, fold=f"What was compared on held-out images ({len(rows)})")


def add_pictures(page: Report, title: str, intro: str, images: Mapping[str, bytes] | None) -> None:
    """A section of pictures, one below another."""
    if images:
        page.section(title, intro)
        for caption, image in images.items():
            page.figure(image, caption)


def add_left_out(page: Report, rows: Sequence[Mapping[str, Any]]) -> None:
    """Images of which nothing was learnt."""
    if not rows:
        return
    page.section("Left out", f"{len(rows)} images from which nothing could be learnt of cells, and why.")
    page.table(rows[:LISTED], fold=f"Images ({len(rows)})" if len(rows) > 12 else "")


def add_provenance(page: Report, recipe: str, environment: Mapping[str, Any]) -> None:
    """Environment and recipe, folded."""
    if not recipe and not environment:
        return
    page.section("Provenance", "What is needed to repeat this run.")
    plain = {name.replace("_", " "): value for name, value in environment.items() if not isinstance(value, Mapping)}
    page.facts(plain)
    for name, value in environment.items():
        if isinstance(value, Mapping):
            page.facts(value, fold=f"{name.replace('_', ' ').capitalize()} ({len(value)})")
    if recipe:
        page.code(recipe.strip(), fold="The resolved recipe")


def add_by_class(
    page: Report, cells: Sequence[Mapping[str, Any]], classes: Sequence[str], image_scores: Mapping[str, float]
) -> None:
    """How many cells are of each class; those of none in a row of their own."""
    said = [str(cell.get("class") or "") for cell in cells]
    names = [name for name in classes if name in said or name in image_scores] + sorted(set(said) - {"", *classes})
    rows: list[dict[str, Any]] = []
    for name in [*names, ""]:
        scores = [cell["score"] for cell, own in zip(cells, said, strict=True) if own == name and cell.get("score") is not None]
        rows.append(
            {
                "class": name or "none",
                "cells": said.count(name),
                "share": share_text(said.count(name) / len(cells)),
                "median score": float(np.median(scores)) if scores and name else None,
                "score of the image": image_scores.get(name),
            }
        )
    if not rows[-1]["cells"]:
        rows.pop()
    page.section("Classes").table(rows, _said(rows), colors=class_colors(classes))


def add_distributions(page: Report, cells: Sequence[Mapping[str, Any]]) -> None:
    """Areas and scores of cells."""
    figures = {}
    for key, said in (("area", "area of a cell, level-0 px"), ("score", "score of a cell's class")):
        values = [cell[key] for cell in cells if cell.get(key) is not None]
        if len(values) > 1:
            figures[f"{said[0].upper()}{said[1:]}."] = histogram(np.array(values, float), said)
    if figures:
        page.section("Sizes and scores").figures(figures)


def _said(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns in which at least one row says something."""
    names = dict.fromkeys(key for row in rows for key in row)
    return [name for name in names if any(row.get(name) not in (None, MISSING) for row in rows)]
