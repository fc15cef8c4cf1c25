"""`evaluate`, whole: predictions and truth, matched image by image, scored box by box at the image's full resolution."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from rich.markup import escape

from malpighi.annotations.base import UNLABELLED, Annotation
from malpighi.annotations.open import open_annotation
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.inference.manifest import MANIFEST
from malpighi.metrics.instances import THRESHOLDS, Intersections, ObjectScore, match
from malpighi.metrics.overlap import Overlap, count
from malpighi.metrics.report import Row, image_precisions, summarise
from malpighi.metrics.tolerance import Tolerance
from malpighi.sampling.cases import Case, open_case, open_labels
from malpighi.tasks.instances import numbered
from malpighi.tasks.pairs import Pair, find_truth, match_predictions
from malpighi.tasks.pictures import Scored, choose, comparison_picture, volume_pictures
from malpighi.tasks.prediction import Prediction
from malpighi.tasks.talk import Talk
from malpighi.tasks.volumes import NSD_TOLERANCE, volume_scores

BLOCK = {2: 2048, 3: 128}
"""Side of the boxes that are scored at a time, by rank."""
SHOWN = 1 << 22
"""Voxels of the small volume from which slices are chosen for pictures."""


def evaluate(
    prediction: Path,
    truth: Path,
    *,
    classes: Sequence[str] = (),
    spacing: float | Spacing | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
    objects: bool = True,
    tolerance: str | None = None,
    report: Path | None = None,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Score predictions against truth.

    Args:
        prediction: a folder that `segment` wrote (of one image or of many), or a mask, GeoJSON, … of one image, or a
            folder of such named as the images.
        truth: a data set (`find_cases`), a folder of annotations named as the predictions, or one annotation.
        classes: what unnamed objects or mask values of the truth mean; default: as the data set says.
        spacing: level-0 µm per pixel, where the files do not say.
        only: attribute → values: which cases are scored.
        objects: score objects (F1 at IoU .5) too.
        tolerance: of volumes' NSD, "2um" or "1voxel"; default `NSD_TOLERANCE`.
        report: HTML page to write.
        talk: where to report.

    Returns:
        As `metrics.report.summarise`: "dice", … and "by" class, organ, stain and donor; "missing": cases of the truth
        without a prediction. Where both sides tell objects apart also "ap50", "mean_precision", "pq" and
        "pooled_mean_precision". Where there are volumes also "surface_dice", "nsd", "cldice", "betti0_error" (see
        `volume_scores`), "nsd_tolerance".

    Raises:
        DataError: nothing matches, classes have nothing in common, or sizes differ.
        RecipeError: no such tolerance.
        SpacingError: a tolerance in µm of a volume whose voxel size is unknown.
    """
    talk = talk or Talk()
    near = NSD_TOLERANCE if tolerance is None else Tolerance.parse(tolerance)
    began = time.monotonic()
    table = find_truth(Path(truth), Path(prediction), tuple(classes), spacing, only)
    pairs, missing = match_predictions(Path(prediction), table)
    for name in missing:
        talk.say(f"[yellow]note:[/yellow] {escape(f'{name} has no prediction in {prediction} and is left out')}")
    rows, scored = score_pairs(pairs, table.classes, objects, talk, near)
    summary = {**summarise(rows), **_said(rows, near), "missing": missing, "seconds": round(time.monotonic() - began, 2)}
    if report is not None:
        from malpighi.reports.prediction import write_evaluation_report

        chosen = choose(scored)
        shown: dict[str, bytes | Markup] = {
            f"{which}: {one.case} (Dice {one.dice:.3f})": case_picture(one, table.classes) for which, one in chosen.items()
        }
        for which in list(chosen)[-1:]:  # one volume is heavy enough for a page; the worst has most to show
            views = case_views(chosen[which], table.classes)
            shown |= {f"{which}: {chosen[which].case}. {caption}": view for caption, view in views.items()}
        write_evaluation_report(report, summary, shown, "Evaluation", f"{prediction} against {truth}", table.classes)
        talk.say(f"report: {escape(str(report))}")
    return summary


def _said(rows: Sequence[Row], tolerance: Tolerance) -> dict[str, str]:
    """What only volumes need to have said."""
    return {"nsd_tolerance": str(tolerance)} if any("nsd" in row.further for row in rows) else {}


def score_pairs(
    pairs: Sequence[Pair],
    classes: tuple[str, ...],
    objects: bool = True,
    talk: Talk | None = None,
    tolerance: Tolerance = NSD_TOLERANCE,
) -> tuple[list[Row], list[Scored]]:
    """Rows of every pair, and each case with its mean Dice for choosing pictures."""
    rows: list[Row] = []
    scored: list[Scored] = []
    apart: tuple[bool, ...] = (False, False)
    with (talk or Talk()).bar("scoring", total=len(pairs)) as advance:
        for pair in pairs:
            found, told = score_pair(pair, classes, objects, tolerance)
            rows += found
            apart = tuple(a or b for a, b in zip(apart, told, strict=True))
            dice = [row.overlap.dice[0] for row in found if row.scored]
            scored.append(Scored(pair.case.id, float(np.mean(dice)) if dice else float("nan"), pair))
            advance()
    return (rows if all(apart) else [row.without_precisions() for row in rows]), scored


def score_pair(
    pair: Pair, classes: tuple[str, ...], objects: bool = True, tolerance: Tolerance = NSD_TOLERANCE
) -> tuple[list[Row], tuple[bool, bool]]:
    """One row a class that the case's truth speaks of; whether prediction and truth tell objects of this image apart.

    A label image with one object or none looks like a mask: whether a side tells objects apart is known of all its images.
    """
    truth, space = _open_truth(pair.case, classes)
    prediction = _open_prediction(pair, space, classes)
    try:
        told = (prediction.has_objects, truth.has_objects) if objects else (False, False)
        return score_image(prediction, truth, pair.case, objects, tolerance, apart=objects), told
    finally:
        prediction.close()
        truth.close()


def _open_truth(case: Case, classes: tuple[str, ...]) -> tuple[Annotation, Space]:
    opened = open_case(case, classes)
    space = opened.source.space
    opened.close()
    return open_labels(case, space, classes), space


def _open_prediction(pair: Pair, space: Space, classes: tuple[str, ...]) -> Annotation:
    path = pair.prediction
    prediction: Annotation
    if (path / MANIFEST).is_file():
        prediction = Prediction(path)
    else:
        prediction = open_annotation(path, space, classes if len(classes) == 1 else ())
    if prediction.space.shape != space.shape:
        raise DataError(f"{path}: made for an image of {prediction.space.shape}, but {pair.case.image} has {space.shape}")
    return prediction


def score_image(
    prediction: Annotation,
    truth: Annotation,
    case: Case,
    objects: bool = True,
    tolerance: Tolerance = NSD_TOLERANCE,
    apart: bool = False,
) -> list[Row]:
    """Rows of one image, box by box at level 0: memory does not depend on its size. Volumes get `volume_scores` too.

    Args:
        apart: both sides tell objects apart: `image_precisions` are given too.

    Raises:
        DataError: prediction and truth have no class in common.
    """
    layers = class_layers(prediction, truth)
    space = truth.space
    if space.rank == 3:
        tolerance.at(space.spacing)  # complains before the work, not after it
    boxes = list(Box.of_shape(space.shape).split((BLOCK[space.rank],) * space.rank))
    total = Overlap.none(len(layers))
    for box in boxes:
        true, predicted = truth.rasterise(box), prediction.rasterise(box, space.spacing)
        total = total + count(
            np.stack([predicted[p] for p, _ in layers.values()]), np.stack([true[t] for _, t in layers.values()])
        )
    rows = []
    for k, (name, (p, t)) in enumerate(layers.items()):
        found = _objects(prediction, p, truth, t, boxes) if objects and total.voxels[k] else ()
        further = image_precisions(found) if apart and found else {}
        if space.rank == 3 and total.voxels[k]:
            further |= volume_scores(_layer(prediction, p, space), _layer(truth, t, space), space, tolerance)
        score, matches = (found[0] if found else None), (found if apart else ())
        rows.append(Row(case.id, case.group, dict(case.attributes), name, total.of(k), score, matches, further=further))
    return rows


def _layer(annotation: Annotation, layer: int, space: Space) -> Callable[[Box], np.ndarray]:
    """Reads one class of an annotation at the truth's level 0."""
    return lambda box: annotation.rasterise(box, space.spacing)[layer]


def class_layers(prediction: Annotation, truth: Annotation) -> dict[str, tuple[int, int]]:
    """Class → its layer in prediction and in truth. Two single classes of different names are taken for the same."""
    shared = {n: (prediction.classes.index(n), truth.classes.index(n)) for n in truth.classes if n in prediction.classes}
    if not shared and len(truth.classes) == len(prediction.classes) == 1:
        return {truth.classes[0]: (0, 0)}
    if not shared:
        raise DataError(
            f"{prediction.name} speaks of {', '.join(prediction.classes)} and {truth.name} of {', '.join(truth.classes)}: "
            "no class in common; name the truth's with --class"
        )
    return shared


def _objects(prediction: Annotation, p: int, truth: Annotation, t: int, boxes: Sequence[Box]) -> tuple[ObjectScore, ...]:
    """Objects matched at each IoU of `THRESHOLDS`, .5 first; what nobody labelled is left out on both sides."""
    space = truth.space
    predicted, true = (numbered(each, k, space.spacing, space.shape) for each, k in ((prediction, p), (truth, t)))
    shared = Intersections()
    for box in boxes:
        labels, wanted = predicted(box), true(box)
        unknown = truth.rasterise(box)[t] == UNLABELLED
        if unknown.any():
            labels, wanted = np.where(unknown, 0, labels), np.where(unknown, 0, wanted)
        shared.add(labels, wanted)
    pairs = shared.pairs()
    return tuple(match(pairs, threshold) for threshold in THRESHOLDS)


def case_picture(scored: Scored, classes: tuple[str, ...]) -> bytes:
    """Image, truth and prediction of a scored case, as PNG: of a volume some slices, of its first class."""
    pair: Pair = scored.pair
    opened = open_case(pair.case, classes)
    prediction = _open_prediction(pair, opened.source.space, classes)
    try:
        assert opened.annotation is not None
        layers = class_layers(prediction, opened.annotation)
        return comparison_picture(opened.source, opened.annotation, prediction, layers)
    finally:
        prediction.close()
        opened.close()


def case_views(scored: Scored, classes: tuple[str, ...]) -> dict[str, bytes | Markup]:
    """Slice browser and 3-D view of a scored volume, its first class; {} for an image of two axes."""
    pair: Pair = scored.pair
    opened = open_case(pair.case, classes)
    prediction = _open_prediction(pair, opened.source.space, classes)
    try:
        assert opened.annotation is not None
        name, layers = next(iter(class_layers(prediction, opened.annotation).items()))
        return volume_pictures(opened.source, opened.annotation, prediction, [(name, *layers)], sheet=False)
    finally:
        prediction.close()
        opened.close()
