"""What the pages of cells show: sheets of cells by class, class maps over images, scores by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.inference.fuse import Rule, pool
from malpighi.metrics.multilabel import average_precisions
from malpighi.reports.cells_composite import stretch_limits
from malpighi.reports.cells_pictures import contact_sheet, map_overlays
from malpighi.reports.runfolder import read_json
from malpighi.sampling.cell_data import CellData
from malpighi.tasks.cells.run import IMAGE_RUN, RECIPE, cycle_folder

if TYPE_CHECKING:
    from malpighi.tasks.cells.cycle import Work

SHOWN_CELLS, SHOWN_IMAGES, SHOWN_MAPS = 8, 3, 7
"""Cells a class, images whose maps are shown, and maps an image."""


def cycle_page(work: Work, cycles: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `write_cycle_report`, besides the path."""
    data, out = work.data, work.out
    image = np.load(out / "image-scores.npy")
    fused = final_scores(work, best)
    held = np.isin(data.image_of, work.held)
    left_out = data.facts.get("left_out", {})
    empty = [name for i, name in enumerate(data.image_ids) if data.cells_of(i).start == data.cells_of(i).stop]
    return {
        "facts": {
            "image mAP, cells": best["fused_map"],
            "image mAP, classifier": best["image_map"],
            "images": len(data),
            "cells": data.cells,
            "labelled": best["labelled"],
            "cycles": len(cycles),
        },
        "cycles": cycles,
        "classes": data.classes,
        "subtitle": f"{len(data)} images, {len(work.held)} held out; {data.cells} cells",
        "best": best["cycle"],
        "by_class": _by_class(work, image, fused, best),
        "sheets": {"Held-out cells, by their highest score.": sheet(data, fused, np.flatnonzero(held))},
        "overlays": _overlays(work, image),
        "left_out": [{"image": name, "reason": reason} for name, reason in left_out.items()]
        + [{"image": name, "reason": "no cell was found"} for name in empty],
        "recipe": (out / RECIPE).read_text(encoding="utf-8"),
        "environment": read_json(out / "cycle.json")["environment"],
        "use": f'malpighi segment "new/*.png" -m {out} -o cells',
    }


def final_scores(work: Work, best: Mapping[str, Any]) -> np.ndarray:
    """(cell, class) scores of a cycle, joined by its rule."""
    data, out = work.data, work.out
    cell = np.load(cycle_folder(out, best["cycle"]) / "cell-scores.npy")
    image, maps = np.load(out / "image-scores.npy"), np.load(out / "map-scores.npy")
    return Rule(**best["rule"]).apply(cell, maps, image, data.image_of, data.border, data.area)


def sheet(data: CellData, scores: np.ndarray, rows: np.ndarray) -> bytes:
    """The surest cells of every class, each stretched as its image is.

    Args:
        scores: (cell, class) of all cells.
        rows: of the cells that may be shown.
    """
    label = scores[rows].argmax(1) if len(rows) else np.zeros(0, np.int64)
    top = scores[rows, label] if len(rows) else np.zeros(0)
    chosen = np.concatenate(
        [np.flatnonzero(label == k)[np.argsort(-top[label == k], kind="stable")][:SHOWN_CELLS] for k in range(scores.shape[1])]
    ).astype(np.int64)
    limits: dict[int, np.ndarray] = {}
    for j in chosen:
        i = int(data.image_of[rows[j]])
        if i not in limits:
            limits[i] = stretch_limits(data.image(i))
    return contact_sheet(
        [_masked(data, int(rows[j])) for j in chosen],
        [data.classes[label[j]] for j in chosen],
        [float(top[j]) for j in chosen],
        data.classes,
        channels=data.channels,
        limits=[limits[int(data.image_of[rows[j]])] for j in chosen],
        counts={name: int((label == k).sum()) for k, name in enumerate(data.classes)},
        columns=SHOWN_CELLS,
    )


def _masked(data: CellData, j: int) -> np.ndarray:
    return np.where(data.mask(j), data.crop(j), 0)


def _by_class(work: Work, image: np.ndarray, fused: np.ndarray, best: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a class: what it is worth on held-out images, and how many cells taught it."""
    data, held = work.data, work.held
    truth = data.targets[held]
    alone = average_precisions(image[held], truth)
    cells = average_precisions(pool(fused, data.image_of, len(data))[held], truth)
    return [
        {
            "class": name,
            "images": int(np.nansum(data.targets[:, k])),
            "labelled cells": int(best["counts"][name]),
            "image_ap": _known(alone[k]),
            "AP of images, by their surest cell": _known(cells[k]),
        }
        for k, name in enumerate(data.classes)
    ]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _overlays(work: Work, scores: np.ndarray) -> dict[str, bytes]:
    """Maps of a few held-out images, those with most labels first: of their labels, and of what else scores highest."""
    import torch

    from malpighi.inference.maps import class_maps
    from malpighi.tasks.cells.classifier import load_classifier

    data, options = work.data, work.recipe.image
    network, intensity, _ = load_classifier(work.out / IMAGE_RUN, options.model)
    order = sorted(work.held.tolist(), key=lambda i: -np.nansum(data.targets[i]))
    found = {}
    for i in order[:SHOWN_IMAGES]:
        holds = data.targets[i] == 1
        shown = sorted(range(len(data.classes)), key=lambda k: (not holds[k], -scores[i, k]))[:SHOWN_MAPS]
        images = intensity.apply(torch.from_numpy(np.array(data.image(i)))[None])
        masks = (
            torch.from_numpy((np.array(data.labels(i)) > 0).astype(np.float32))[None, None] if options.model.masked else None
        )
        maps = class_maps(network, images, work.recipe.maps, shown, masks=masks, softmax=options.loss.name == "ce")
        said = ", ".join(data.classes[k] for k in np.flatnonzero(holds)) or "none of the classes"
        found[f"{data.image_ids[i]}: labelled {said} (marked by a dot)"] = map_overlays(
            data.image(i),
            maps[0].numpy(),
            data.labels(i),
            [data.classes[k] for k in shown],
            scores[i, shown].tolist(),
            protein=data.channels.index(work.recipe.channels.protein),
            holds=holds[shown].tolist(),
        )
    return found
