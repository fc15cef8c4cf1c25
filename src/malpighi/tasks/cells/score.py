"""`evaluate` of labelled cells: mean average precision by HPA's rule, scores of images, and of masks whatever their labels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.annotations.hpa import HPA_2021
from malpighi.errors import DataError
from malpighi.metrics.detection import IOU, Detections
from malpighi.metrics.instances import THRESHOLDS, Pairs, match
from malpighi.metrics.mask_runs import overlaps
from malpighi.metrics.multilabel import average_precisions, mean_ap
from malpighi.metrics.report import APART, image_precisions
from malpighi.tasks.cells.labelled_tables import CellImage, CellTable, open_cell_table
from malpighi.tasks.talk import Talk


def evaluate_cells(
    prediction: Path,
    truth: Path,
    *,
    classes: Sequence[str] = (),
    iou: float = IOU,
    report: Path | None = None,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Score labelled cells.

    Every image of the truth counts: where the prediction has no row, all its cells are missed.

    Args:
        prediction, truth: HPA's CSV, COCO JSON, or a folder of `segment` that holds submission.csv; the two may differ.
        classes: what class numbers mean where neither `classes.json` beside a CSV nor the other side says it; default: the
            19 of HPA 2021.
        iou: from which on a mask is found.
        report: HTML page to write.
        talk: where to report.

    Returns:
        "map": mean over classes of the average precision at `iou`, detections of classes that nobody verified in an image
        dropped there (Open Images, HPA 2021); "map_all_classes": the same where the truth lists all that is there, so that
        they are wrong. "image_map": of images, each scored by its surest cell. "ap50", "mean_precision", "pq": of the masks,
        mean over images. "by_class": rows of "class", "ap", "ap_all_classes", "image_ap", "true" and "predicted" (cells),
        "f1" and "confidence", from which on it is best. "images", "cells", "iou", "missing": ids without a prediction,
        "seconds".

    Raises:
        DataError: a file is none of these, they share no image, or sizes or classes differ; names the row.
    """
    talk, began = talk or Talk(), time.monotonic()
    guess, true = open_cell_table(Path(prediction)), open_cell_table(Path(truth))
    names = _Names.of(guess, true, tuple(classes))
    missing = sorted(set(true.ids) - set(guess.ids))
    if len(missing) == len(true.ids):
        raise DataError(
            f"{guess.path} and {true.path} share no image: {_some(guess.ids)} against {_some(true.ids)}; give both the same ids"
        )
    if missing:
        talk.say(
            f"[yellow]note:[/yellow] {len(missing)} images have no prediction, such as {missing[0]}: their cells are missed"
        )
    beyond = set(guess.ids) - set(true.ids)
    if beyond:
        talk.say(f"[yellow]note:[/yellow] {len(beyond)} predicted images are not in the truth, such as {min(beyond)}: left out")
    tally = _Tally(Detections(len(names.of_true), iou))
    have = set(guess.ids)
    with talk.bar("scoring cells", total=len(true.ids)) as advance:
        for image in true.ids:
            wanted = true.read(image, len(names.of_true))
            found = names.renumbered(guess.read(image, len(names.of_guess))) if image in have else _nothing(wanted)
            tally.add(image, found, wanted)
            advance()
    result = {**tally.scores(names.of_true), "missing": missing, "seconds": round(time.monotonic() - began, 2)}
    if report is not None:
        from malpighi.reports.detections import write_detection_report

        curves = {name: tally.detections.curve(c) for c, name in enumerate(names.of_true)}
        write_detection_report(Path(report), result, curves, f"{prediction} against {truth}")
        talk.say(f"report: {report}")
    return result


@dataclass(frozen=True)
class _Names:
    """Class names of both sides; `renumbered` brings a prediction to the truth's numbers.

    Attributes:
        of_guess, of_true: what each side's class numbers mean.
    """

    of_guess: tuple[str, ...]
    of_true: tuple[str, ...]

    @classmethod
    def of(cls, guess: CellTable, true: CellTable, given: tuple[str, ...]) -> _Names:
        unnamed = given or true.names or guess.names or HPA_2021
        return cls(guess.names or unnamed, true.names or unnamed)

    def renumbered(self, cells: CellImage) -> CellImage:
        if self.of_guess == self.of_true:
            return cells
        place = {name: i for i, name in enumerate(self.of_true)}
        unknown = [self.of_guess[c] for c in np.unique(cells.label) if self.of_guess[c] not in place]
        if unknown:
            raise DataError(
                f"{cells.place}: class {unknown[0]!r} is unknown to the truth, which has {', '.join(self.of_true)}; name classes alike"
            )
        return replace(cells, label=np.array([place[self.of_guess[c]] for c in cells.label], np.int64))


@dataclass
class _Tally:
    """What is kept of the images scored so far."""

    detections: Detections
    precisions: list[dict[str, float]] = field(default_factory=list)
    surest: list[np.ndarray] = field(default_factory=list)
    present: list[np.ndarray] = field(default_factory=list)
    predicted: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    cells: int = 0

    def add(self, image: str, found: CellImage, wanted: CellImage) -> None:
        if found.shape != wanted.shape:
            (h, w), (y, x) = found.shape, wanted.shape
            raise DataError(f"{found.place}: {w} × {h} pixels, the truth has {x} × {y}; predict at the image's full resolution")
        classes = self.detections.classes
        pairs = overlaps(found.runs, wanted.runs)
        self.detections.add(image, found.labelled, wanted.labelled, pairs, wanted.verified)
        apart = one_to_one(pairs)
        self.precisions.append(image_precisions([match(apart, t) for t in THRESHOLDS]))
        surest = np.full(classes, -np.inf)
        np.maximum.at(surest, found.label, found.confidence)
        self.surest.append(surest)
        self.present.append(np.isin(np.arange(classes), wanted.label))
        counts = np.bincount(found.label, minlength=classes)
        self.predicted = counts if not len(self.predicted) else self.predicted + counts
        self.cells += len(wanted.masks)

    def scores(self, names: tuple[str, ...]) -> dict[str, Any]:
        detections = self.detections
        ap, everywhere = detections.average_precisions(), detections.average_precisions(verified=False)
        surest, present = np.array(self.surest), np.array(self.present, np.float64)
        image_ap = average_precisions(surest, present)
        rows = []
        for c, name in enumerate(names):
            f1, confidence = detections.curve(c).best_f1
            scores = {"ap": ap[c], "ap_all_classes": everywhere[c], "image_ap": image_ap[c], "f1": f1, "confidence": confidence}
            counts = {"true": int(detections.true[c]), "predicted": int(self.predicted[c])}
            rows.append({"class": name, **{key: _known(value) for key, value in scores.items()}, **counts})
        return {
            "map": _known(detections.mean()),
            "map_all_classes": _known(detections.mean(verified=False)),
            "image_map": _known(mean_ap(surest, present)),
            **{key: float(np.mean([row[key] for row in self.precisions])) for key in self.precisions[0]},
            "by_class": rows,
            "images": len(self.precisions),
            "cells": self.cells,
            "iou": detections.iou,
        }


def one_to_one(pairs: Pairs) -> Pairs:
    """`pairs` where above IoU .5 no mask occurs twice, as masks that overlap on one side could; the highest IoU stays."""
    iou = pairs.iou
    good = np.flatnonzero(iou > 0.5)
    p, t = pairs.p[good], pairs.t[good]
    if len(np.unique(p)) == len(p) and len(np.unique(t)) == len(t):
        return pairs
    kept = np.ones(len(iou), bool)
    taken: tuple[set[int], set[int]] = (set(), set())
    for i in good[np.argsort(-iou[good], kind="stable")].tolist():
        a, b = int(pairs.p[i]), int(pairs.t[i])
        kept[i] = a not in taken[0] and b not in taken[1]
        if kept[i]:
            taken[0].add(a)
            taken[1].add(b)
    return replace(pairs, p=pairs.p[kept], t=pairs.t[kept], shared=pairs.shared[kept])


def _nothing(wanted: CellImage) -> CellImage:
    none = np.zeros(0, np.int64)
    return CellImage(wanted.place, wanted.shape, none, np.zeros(0), none, ())


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) or "(none)"


def text_table(result: dict[str, Any]) -> str:
    """`evaluate_cells` as aligned plain text: a line a class that is there or predicted, then the means."""

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    iou = f"{result['iou']:g}"
    lines: list[tuple[str, ...]] = [("", f"AP at {iou}", "strict", "image AP", "F1", "from", "cells", "predicted")]
    scores = ("ap", "ap_all_classes", "image_ap", "f1", "confidence")
    for row in result["by_class"]:
        if row["true"] or row["predicted"]:
            counts = (str(row["true"]), str(row["predicted"]))
            lines.append((row["class"], *(number(row[key]) for key in scores), *counts))
    lines.append(
        ("mean", *(number(result[key]) for key in ("map", "map_all_classes", "image_map")), "", "", str(result["cells"]), "")
    )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in lines
    ]
    masks = ", ".join(f"{name} {number(result[key])}" for key, name in APART.items())
    missing = f"; {len(result['missing'])} without a prediction" if result["missing"] else ""
    return "\n".join([*text, f"masks: {masks}", f"images: {result['images']}{missing}"])
