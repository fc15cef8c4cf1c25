"""One classifier of images or of cells: trained into a run folder, and gone on with where that was stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.errors import RecipeError
from malpighi.images.array import ArraySource
from malpighi.recipes.cells import StageOptions
from malpighi.reports.runfolder import read_json
from malpighi.sampling.balance import balanced_draw
from malpighi.sampling.cell_batches import CellBatches, Items
from malpighi.sampling.cell_data import CellData
from malpighi.sampling.intensity import Intensity, IntensityOptions, measure_intensity
from malpighi.tasks.cells.classifier import network_input, score_rows, take_weights
from malpighi.tasks.claim import claim
from malpighi.tasks.prepare import machine_facts, write_json
from malpighi.tasks.talk import Talk, peak_memory_mb

if TYPE_CHECKING:
    from torch import nn

ASKED, SUMMARY = "asked.json", "summary.json"
MEASURED = 400
"""Images, spread evenly over the training set, that intensities are measured on."""
SURE = 1e-3
"""Of the mean error in a score: less than what tells two mean average precisions apart, enough to decide between equal ones."""

Scores = Callable[[np.ndarray], dict[str, Any]]
"""Of what a network says of the held-out rows, (row, class): {"score": the higher the better, …}."""


@dataclass(frozen=True)
class Stage:
    """What there is to learn.

    Attributes:
        what: in words, for its user.
        items: where samples are read.
        targets: (row, class) float32, NaN where nobody said.
        train: rows to learn from.
        held: rows that are scored.
        score: how.
        intensity: raw pixels → what the network sees.
        facts: kept beside the weights; "classes" and "channels" are among them.
        start: run folder of a classifier whose weights are taken where they fit.
    """

    what: str
    items: Items
    targets: np.ndarray
    train: np.ndarray
    held: np.ndarray
    score: Scores
    intensity: Intensity
    facts: Mapping[str, Any]
    start: Path | None = None


def train_stage(stage: Stage, options: StageOptions, run: Path, talk: Talk) -> dict[str, Any]:
    """Train one classifier; the same call goes on with a run that was stopped, and returns the summary of a finished one.

    Returns:
        `summary.json`: "best_score", "best_step", "stopped", "validation" (the best one's scores), …

    Raises:
        DataError: nothing to learn from.
        OutputError: `run` holds another training.
        KeyboardInterrupt: it was stopped; its state is saved.
    """
    from malpighi.training.allocator import keep_freed_pages

    claim(run, ASKED, asked := _asked(stage, options), overwrite=False)
    if (run / SUMMARY).is_file():
        return read_json(run / SUMMARY)
    write_json(run / ASKED, {"asked": asked})
    keep_freed_pages()
    result = _fit(stage, options, run, talk)
    if result.stopped == "interrupted":
        raise KeyboardInterrupt
    summary = {
        **result.as_dict(),
        "validation": _validation(run, result.best_step),
        "peak_memory_mb": peak_memory_mb(),
        "device": machine_facts().name,
        "precision": options.train.precision,
        "train_samples": len(stage.train),
        "validation_samples": len(stage.held),
        **{name: stage.facts[name] for name in ("classes", "channels")},
    }
    write_json(run / SUMMARY, summary)
    precision = summary["validation"].get("map")
    said = "no class can be ranked there" if precision is None else f"mAP {precision:.4f}"
    talk.say(f"{stage.what}: best on held-out images at step {result.best_step} of {result.steps}: {said}")
    return read_json(run / SUMMARY)


def _fit(stage: Stage, options: StageOptions, run: Path, talk: Talk) -> Any:
    """Build the network and train it; the loop's result."""
    import torch
    from lightning_fabric import Fabric

    from malpighi.models.classifier import build_classifier
    from malpighi.models.label_losses import build_label_loss, class_weights
    from malpighi.training.loop import PRECISIONS, Fit, fit

    train, model = options.train, options.model
    torch.manual_seed(train.seed)
    network = build_classifier(model, len(stage.facts["channels"]), len(stage.facts["classes"]))
    if stage.start is not None and not (run / "last.ckpt").is_file():
        taken, there = take_weights(network, stage.start)
        talk.say(f"{stage.what}: starts from {taken} of {there} tensors of {stage.start}")
    known = stage.targets[stage.train]
    weights = class_weights((known > 0.5).sum(0).tolist()) if options.loss.balanced else None
    chosen = balanced_draw(known, options.balance, train.seed)
    batches = CellBatches(
        stage.items,
        stage.targets,
        lambda number: int(stage.train[chosen(number)]),
        options.augment,
        train.batch,
        train.seed,
        train.loaders,
    )
    device = machine_facts().device

    def validate(averaged: nn.Module) -> dict[str, Any]:
        scored = score_rows(averaged, stage.items, stage.held, stage.intensity, replace(options, flips=1), device)
        return stage.score(scored)

    fabric = Fabric(accelerator=device, devices=1, precision=PRECISIONS[train.precision])  # type: ignore[arg-type]
    facts = {key: json.dumps(value) for key, value in {**stage.facts, "intensity": stage.intensity.as_dict()}.items()}
    loss = build_label_loss(options.loss, weights, model.consistency_weight)
    task = Fit(network, batches, network_input(stage.intensity, model.masked), loss, validate, facts)
    with talk.bar(f"training the {stage.what}", total=train.steps) as advance:
        return fit(task, train, options.optim, run, fabric, _Steps(stage.what, advance))


def measured_intensity(data: CellData, rows: Sequence[int], options: IntensityOptions) -> Intensity:
    """The scale of a training set's images, without what they are padded with.

    Raises:
        RecipeError: each image is asked to have its own, or the kind is for other channels.
    """
    if options.per != "dataset":
        raise RecipeError("intensity.per = 'image': cells of all images take one scale; use 'dataset'")
    some = [rows[k] for k in np.unique(np.linspace(0, len(rows) - 1, min(MEASURED, len(rows))).astype(int))]

    def sources() -> Any:
        for i in some:
            height, width = data.inside(i)
            yield ArraySource(data.image(i)[:, :height, :width], channels=data.channels, name=data.image_ids[i])

    return measure_intensity(sources(), options)


def label_scores(scores: np.ndarray, targets: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Of labels (row, class): "score", "map", "macro_f1" at 1/2, and "by_class" average precisions, None where undefined.

    "map" is the mean average precision over classes that some rows have and others have not, None where there is no such class.
    The score is this less `SURE` × the mean error of the probabilities: ranks alone say nothing of thresholds, and of networks
    that rank alike the surer is wanted. Without "map" it is 1 - that error.
    """
    from malpighi.metrics.multilabel import average_precisions, f1

    precisions = average_precisions(scores, targets)
    defined = np.isfinite(precisions)
    mean = float(precisions[defined].mean()) if defined.any() else None
    error = float(np.nanmean(np.abs(scores - targets)))
    macro = f1(scores, targets).macro
    return {
        "score": 1 - error if mean is None else mean - SURE * error,
        "map": mean,
        "macro_f1": macro if np.isfinite(macro) else None,
        "by_class": {c: float(p) if ok else None for c, p, ok in zip(classes, precisions, defined, strict=True)},
    }


def _asked(stage: Stage, options: StageOptions) -> dict[str, Any]:
    """All that a training depends on: a folder that holds another one is not gone on with."""
    digest = hashlib.sha256()
    for array in (stage.targets, stage.train, stage.held):
        digest.update(np.ascontiguousarray(array).tobytes())
    return {
        "options": {name: value for name, value in asdict(options).items() if name != "flips"},
        "facts": dict(stage.facts),
        "start": None if stage.start is None else stage.start.name,
        "labels": digest.hexdigest(),
    }


def _validation(run: Path, step: int) -> dict[str, Any]:
    """The scores of the best validation."""
    from malpighi.training.metrics_file import NAME, read_metrics

    rows = [row for row in read_metrics(run / NAME) if row["step"] == step and "validation" in row]
    return rows[-1]["validation"] if rows else {}


class _Steps:
    """Shows the loop's state on the bar: how far, loss, best score."""

    def __init__(self, what: str, advance: Callable[..., None]) -> None:
        self.what, self.advance, self.shown = what, advance, 0

    def __call__(self, step: int, loss: float, score: float) -> None:
        text = f"{self.what}  loss {loss:.3f}" + (f"  best score {score:.3f}" if score >= 0 else "")
        self.advance(step - self.shown, text=text)
        self.shown = step
