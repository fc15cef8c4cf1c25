"""Scoring labelled cells: mean average precision at IoU .6, from run lengths.

    python benchmarks/detection.py [--images 500] [--cells 30] [--labels 3] [--side 1024] [--rounds 3]

malpighi's `Detections` on overlaps of run lengths, against pycocotools' COCOeval with one threshold (and faster-coco-eval,
where it is installed), on the same masks as each takes them. Every class is verified in every image, as COCO has it. COCO reads
precision at 101 recalls, ours is the area under every step; so matches are compared one by one, and both means are shown. What
reading HPA's CSV costs is shown apart. Times are wall seconds, medians; only ratios mean something.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from rich.console import Console
from rich.table import Table

from malpighi.annotations.coco_rle import compress, to_counts
from malpighi.annotations.hpa_table import Cell, write_hpa
from malpighi.metrics.detection import Detections
from malpighi.metrics.mask_runs import overlaps
from malpighi.tasks.cells.export import mask_runs
from malpighi.tasks.cells.labelled_tables import CellImage
from malpighi.tasks.cells.score import evaluate_cells

CLASSES = 19


def cells(side: int, count: int, seed: int, moved: int) -> np.ndarray:
    """(y, x) int32: numbered discs on a grid, of their own size, each moved by up to `moved` pixels."""
    draw, shift = np.random.default_rng(seed), np.random.default_rng(seed + 10**6)
    labels = np.zeros((side, side), np.int32)
    across = int(np.ceil(np.sqrt(count)))
    step = side // across
    for i in range(count):
        y, x = np.array([i // across, i % across]) * step + step // 2 + shift.integers(-moved, moved + 1, 2)
        cv2.circle(labels, (int(x), int(y)), int(draw.integers(step // 3, step // 2 - 1)), i + 1, -1)
    return labels


def image(side: int, count: int, labels: int, seed: int, predicted: bool) -> CellImage:
    """`labels` labels a cell; a prediction has cells that are off, half of its labels wrong, and confidences that say so a bit."""
    draw = np.random.default_rng(seed)
    right = np.array([draw.choice(CLASSES, labels, replace=False) for _ in range(count)])
    drawn = cells(side, count, seed, side // 40 if predicted else 0)
    found = mask_runs(drawn)
    mask = np.repeat(np.arange(count), labels)
    label, confidence = right.ravel().astype(np.int64), np.ones(count * labels)
    if predicted:
        wrong = draw.random(label.shape) < 0.5
        label = np.where(wrong, (label + 1 + draw.integers(0, CLASSES - 1, label.shape)) % CLASSES, label)
        confidence = draw.random(label.shape) + 0.3 * ~wrong
        first = np.unique(np.stack([mask, label]), axis=1, return_index=True)[1]  # a label once a cell
        mask, label, confidence = mask[first], label[first], confidence[first]
    masks = tuple(found[n] for n in range(1, count + 1))
    return CellImage(f"image {seed}", drawn.shape, label, confidence, mask, masks, tuple(range(CLASSES)))


def ours(pairs: list[tuple[CellImage, CellImage]]) -> Detections:
    detections = Detections(CLASSES)
    for i, (guess, true) in enumerate(pairs):
        detections.add(str(i), guess.labelled, true.labelled, overlaps(guess.runs, true.runs), true.verified)
    return detections


def as_coco(pairs: list[tuple[CellImage, CellImage]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Truth and results as COCO has them, masks compressed."""
    truth: dict[str, Any] = {"info": {}, "images": [], "annotations": [], "categories": [{"id": c + 1} for c in range(CLASSES)]}
    results = []
    for number, (guess, true) in enumerate(pairs, 1):
        truth["images"].append({"id": number, "height": true.shape[0], "width": true.shape[1]})
        for side in (guess, true):
            masks = [{"size": list(m.shape), "counts": compress(to_counts(m))} for m in side.masks]
            for label, mask, score in zip(side.label.tolist(), side.mask.tolist(), side.confidence.tolist(), strict=True):
                one = {"image_id": number, "category_id": label + 1, "segmentation": masks[mask]}
                if side is guess:
                    results.append({**one, "score": score})
                else:
                    box = {
                        "area": side.masks[mask].area,
                        "bbox": [float(v) for v in coco_mask.toBbox(masks[mask])],
                        "iscrowd": 0,
                    }
                    truth["annotations"].append({**one, "id": len(truth["annotations"]) + 1, **box})
    return truth, results


def theirs(truth: dict[str, Any], results: list[dict[str, Any]], data_class: Any, eval_class: Any, most: int) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        data = data_class()
        data.dataset = truth
        data.createIndex()
        evaluation = eval_class(data, data.loadRes([dict(one) for one in results]), "segm")  # it writes into them
        evaluation.params.iouThrs = np.array([0.6])
        evaluation.params.maxDets = [most]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def same_matches(detections: Detections, evaluation: Any) -> tuple[int, int]:
    """Detections whose rank and verdict both agree on, and all of them."""
    agreed = total = 0
    for c in range(CLASSES):
        parts = [e for e in evaluation.evalImgs if e and e["category_id"] == c + 1]
        score = np.concatenate([e["dtScores"] for e in parts])
        right = np.concatenate([e["dtMatches"][0] > 0 for e in parts])[np.argsort(-score)]
        curve = detections.curve(c, verified=False)
        mine = np.diff(np.round(curve.recall * curve.true).astype(int), prepend=0) > 0
        agreed += int((mine == right).sum())
        total += len(right)
    return agreed, total


def timed(call: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        value = call()
        times.append(time.perf_counter() - began)
    return statistics.median(times), value


def from_files(pairs: list[tuple[CellImage, CellImage]], rounds: int) -> tuple[float, dict[str, Any]]:
    """`evaluate` of two CSVs, reading them included."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.csv" for name in ("guess", "truth")]
        for which, path in enumerate(paths):
            sides = [(f"image{i}", pair[which]) for i, pair in enumerate(pairs)]
            columns = ((name, side, zip(side.label, side.confidence, side.mask, strict=True)) for name, side in sides)
            write_hpa(path, ((n, s.shape, [Cell(int(a), float(b), s.masks[m]) for a, b, m in rows]) for n, s, rows in columns))
        return timed(lambda: evaluate_cells(*paths), rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 500), ("cells", 30), ("labels", 3), ("side", 1024), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    pairs = [
        tuple(image(asked.side, asked.cells, asked.labels, seed, predicted) for predicted in (True, False))
        for seed in range(asked.images)
    ]
    for pair in pairs:
        _ = [side.runs for side in pair]
    truth, results = as_coco(pairs)
    table = Table("what", "seconds", "mAP at IoU .6", "matches as ours")
    seconds, detections = timed(lambda: (d := ours(pairs), d.mean())[0], asked.rounds)
    table.add_row("malpighi", f"{seconds:.2f}", f"{detections.mean(verified=False):.4f}", "")
    for package, data_name, eval_name in (("pycocotools", "COCO", "COCOeval"), ("faster_coco_eval", "COCO", "COCOeval_faster")):
        try:
            classes = [_find(package, name) for name in (data_name, eval_name)]
        except ImportError:
            table.add_row(package, "not installed", "", "")
            continue
        seconds, evaluation = timed(lambda c=classes: theirs(truth, results, *c, asked.cells * CLASSES), asked.rounds)
        mean = evaluation.eval["precision"][0, :, :, 0, 0].mean()
        agreed = "{} of {}".format(*same_matches(detections, evaluation)) if package == "pycocotools" else ""
        table.add_row(package, f"{seconds:.2f}", f"{mean:.4f} (101 points)", agreed)
    seconds, result = from_files(pairs, 1)
    table.add_row("malpighi evaluate, two CSVs", f"{seconds:.2f}", f"{result['map_all_classes']:.4f}", "")
    Console().print(f"{asked.images} images of {asked.side}², {asked.cells} cells, {asked.labels} labels a cell", table)


def _find(package: str, name: str) -> Any:
    if package == "pycocotools":
        return getattr(importlib.import_module(f"{package}.{name.lower()}"), name)
    return getattr(importlib.import_module(package), name)


if __name__ == "__main__":
    main()
