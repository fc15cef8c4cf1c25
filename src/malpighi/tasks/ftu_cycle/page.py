"""The page of a cycle: what it shows is read here, `reports/cycle.py` draws it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.geometry import Box
from malpighi.images.open import open_image
from malpighi.inference.folder import PROBABILITIES
from malpighi.reports.cycle import write_pseudo_report
from malpighi.reports.display import display_rgb
from malpighi.reports.runfolder import read_json
from malpighi.sampling.cases import Case, Labels, open_labels
from malpighi.tasks.ftu_cycle.labels import LABELS
from malpighi.tasks.ftu_cycle.work import PSEUDO, Work
from malpighi.tasks.pictures import thumbnail

SHOWN, SIDE = 4, 360
"""Images of the contact sheet, and the longest side of each, in pixels."""


def write_page(work: Work, summary: Mapping[str, Any], path: Path) -> None:
    """Write the page of a finished cycle."""
    labelled = [row for row in summary["cycles"] if row["cycle"]]
    found = {row["cycle"]: read_json(_labels(work, row) / LABELS) for row in labelled}
    left = [{"image": name, "why": why} for name, why in read_json(work.out / "unlabelled.json")["left_out"].items()]
    last = found[labelled[-1]["cycle"]]["images"] if labelled else []
    left += [{"image": image["case"], "why": image["why"]} for image in last if not image["kept"]]
    write_pseudo_report(
        path,
        summary,
        sheet=_sheet(work, {row["cycle"]: _labels(work, row) for row in labelled}, found),
        classes=work.classes,
        left_out=left,
        recipe=(work.out / "filled.toml").read_text(encoding="utf-8"),
        environment=read_json(work.out / "cycle.json").get("environment", {}),
        use=f"malpighi segment NEW_IMAGES -m {shlex.quote(str(work.out))} -o OUT\nmalpighi evaluate OUT LABELS",
    )


def _labels(work: Work, row: Mapping[str, Any]) -> Path:
    """Folder of the labels that the row's network learnt from."""
    return work.out / PSEUDO / row["run"]


def _sheet(
    work: Work, folders: Mapping[int, Path], found: Mapping[int, Mapping[str, Any]]
) -> dict[str, tuple[np.ndarray, dict[int, np.ndarray]]]:
    """Image → ((y, x, 3) picture, cycle → (class, y, x) mask as it was learnt from), of images between the surest and the least sure."""
    if not folders:
        return {}
    first = [image for image in found[min(found)]["images"] if "confidence" in image]
    ranked = sorted(first, key=lambda image: -image["confidence"])
    places = sorted({round(k * (len(ranked) - 1) / max(1, SHOWN - 1)) for k in range(SHOWN)})
    cases = {case.id: case for case in work.unlabelled}
    return {ranked[k]["case"]: _pictures(work, cases[ranked[k]["case"]], folders) for k in places}


def _pictures(work: Work, case: Case, folders: Mapping[int, Path]) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    masks = {}
    with open_image(case.image, spacing=case.spacing) as source:
        spacing = source.space.spacing.times(max(1.0, max(source.shape) / SIDE))
        whole = Box.of_shape(source.space.shape_at(spacing))
        for number, folder in folders.items():
            if (folder / case.id / PROBABILITIES).exists():
                labels = Labels(folder / case.id / PROBABILITIES, work.classes, soft=work.options.soft, sure=work.options.sure)
                annotation = open_labels(Case(case.id, case.image, (labels,)), source.space, work.classes)
                masks[number] = annotation.rasterise(whole, spacing)
                annotation.close()
        return display_rgb(thumbnail(source, spacing)), masks
