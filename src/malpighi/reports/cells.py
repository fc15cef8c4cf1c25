"""The pages of single cells: a cycle of labelling and learning, and the cells that a model found in one image.

What is shown comes as plain values and picture bytes (`reports/cells_pictures.py` makes those); nothing here reads a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from malpighi.reports.cells_sections import (
    LISTED,
    add_by_class,
    add_cycles,
    add_distributions,
    add_labels,
    add_left_out,
    add_pictures,
    add_provenance,
    add_rule,
    add_scores,
    best_cycle,
)
from malpighi.reports.colors import class_colors
from malpighi.reports.html import Report


def write_cycle_report(
    path: Path | str,
    facts: Mapping[str, Any],
    cycles: Sequence[Mapping[str, Any]],
    *,
    classes: Sequence[str],
    title: str = "Cells from image labels",
    subtitle: str = "",
    best: int | None = None,
    by_class: Sequence[Mapping[str, Any]] = (),
    sheets: Mapping[str, bytes] | None = None,
    overlays: Mapping[str, bytes] | None = None,
    left_out: Sequence[Mapping[str, Any]] = (),
    warnings: Sequence[str] = (),
    rule: Sequence[str] = (),
    recipe: str = "",
    environment: Mapping[str, Any] | None = None,
    use: str = "",
) -> Path:
    """Write the page of `cycle --task cells`.

    Args:
        path: the HTML file.
        facts: name → value of the strip at the top, as it is to be read: {"cell mAP": .61, "image mAP": .83, "cells": 4210, …}.
            None is left out.
        cycles: one mapping a cycle, in order. Read, each where it is there: "cycle" (number, from 1), "labelled" (cells),
            "gained" and "lost" (labels that came and went since the cycle before), "agreement" (share of cells labelled in both
            cycles that kept their label, or the mapping that `sampling.pseudo_table.agreement` makes), "counts" (class → cells labelled), "image_map", "maps_map", "cell_map", "fused_map"
            (held-out mAP of images by that stage's scores), "truth_map" (mAP of cells where their truth is known), "rule"
            (name → value of the fusing rule; "thresholds" one a class), "tried" (rows of what was compared to choose it; mappings, or name → score).
        classes: the run's, in its order: each keeps its colour.
        title: the heading.
        subtitle: the line below it.
        best: number of the cycle that was kept; default the one with the highest "fused_map".
        by_class: one mapping a class: "class" and any columns, shown in the order met; "image_ap" and "cell_ap" (None where a
            class cannot be scored) are drawn too.
        sheets: caption → PNG of `contact_sheet`.
        overlays: caption → PNG of `map_overlays`.
        left_out: one mapping an image that was left out or has no cell: "image", "reason".
        warnings: sentences that must not be overlooked; they stand at the top.
        rule: sentences that say how scores are joined and why so.
        recipe: text of the resolved recipe.
        environment: name → value (or a mapping of such) of what is needed to repeat the run.
        use: commands that use the run.

    Raises:
        OutputError: the page cannot be written.
    """
    held = [dict(row) for row in cycles]
    kept = best if best is not None else best_cycle(held)
    page = Report(title, subtitle, kind="cell cycle report")
    page.facts({name: value for name, value in facts.items() if value is not None})
    for sentence in warnings:
        page.warning(sentence)
    add_cycles(page, held, kept)
    add_labels(page, held, classes)
    add_scores(page, by_class, classes)
    add_rule(page, held, kept, rule, classes)
    add_pictures(page, "Cells by class", "The surest cells of every class, the highest score first.", sheets)
    intro = "Where the image classifier sees each label: its map as heat over the protein channel, with the outlines of cells."
    add_pictures(page, "Maps", intro, overlays)
    add_left_out(page, left_out)
    add_provenance(page, recipe, environment or {})
    if use:
        page.section("How to use it").code(use)
    return page.write(path)


def write_cells_report(
    path: Path | str,
    facts: Mapping[str, Any],
    cells: Sequence[Mapping[str, Any]],
    *,
    classes: Sequence[str],
    title: str = "Cells",
    subtitle: str = "",
    overview: bytes | Mapping[str, bytes] | None = None,
    sheets: Mapping[str, bytes] | None = None,
    image_scores: Mapping[str, float] | None = None,
    warnings: Sequence[str] = (),
    provenance: Mapping[str, Any] | None = None,
    use: str = "",
) -> Path:
    """Write the page of the cells of one image, or of a few.

    Args:
        path: the HTML file.
        facts: name → value of the strip at the top; None is left out.
        cells: one mapping a cell; "class" (the one that scores highest, "" for none), "score", "area" and "border" are counted
            and drawn where they are there, all columns are listed in the order met (the first 500 cells).
        classes: the run's, in its order.
        title: the heading.
        subtitle: the line below it.
        overview: PNG of `outlined`, or caption → PNG.
        sheets: caption → PNG of `contact_sheet`.
        image_scores: class → score of the whole image.
        warnings: sentences that must not be overlooked.
        provenance: name → value: model, versions, options.
        use: commands that go on from here.

    Raises:
        OutputError: the page cannot be written.
    """
    colors = class_colors(classes)
    page = Report(title, subtitle, kind="cells report")
    page.facts({name: value for name, value in facts.items() if value is not None})
    for sentence in warnings:
        page.warning(sentence)
    shown = {"": overview} if isinstance(overview, bytes) else overview
    add_pictures(page, "Overview", "Every cell outlined in the colour of its class.", shown)
    if not cells:
        page.warning(
            "No cell was found in this image. See that the channels are named in the recipe's order and are not empty."
        )
    else:
        add_by_class(page, cells, classes, image_scores or {})
    add_pictures(page, "Cells by class", "The surest cells of every class, the highest score first.", sheets)
    if cells:
        add_distributions(page, cells)
        more = f"; the first {LISTED} of {len(cells)}, the rest is in cells.parquet" if len(cells) > LISTED else ""
        page.section("Every cell", f"One row a cell{more}.")
        page.table(cells[:LISTED], colors=colors, fold=f"Table ({min(len(cells), LISTED)})")
    if provenance:
        page.section("How it was made").facts(provenance)
    if use:
        page.section("How to go on").code(use)
    return page.write(path)
