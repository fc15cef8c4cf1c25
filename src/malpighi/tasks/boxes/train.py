"""Training the detector, after the segmentation network and on its tiles. Goes on where it was stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malpighi.models.boxes import BoxOptions, require_boxes_fit
from malpighi.tasks.boxes.run import FOLDER
from malpighi.tasks.prepare import machine_facts
from malpighi.tasks.talk import Talk
from malpighi.training.options import OptimOptions, TrainOptions

if TYPE_CHECKING:
    from malpighi.recipes.recipe import Recipe
    from malpighi.tasks.material import Material
    from malpighi.training.loop import FitResult

CHECKS = 4
"""How often a detector is scored on held-out tiles; the best of them is kept."""


def train_boxes(material: Material, recipe: Recipe, run: Path, talk: Talk) -> dict[str, Any] | None:
    """Train the detector of a recipe into RUN/boxes; None where it has none, and at once where it is trained already.

    It learns from the batches of the segmentation network: the boxes around the objects of their targets.

    Returns:
        As `FitResult.as_dict`: "best_score" is F1 of boxes at IoU .5 on held-out tiles.

    Raises:
        KeyboardInterrupt: it was interrupted; the same call goes on.
        RecipeError: the recipe's masks are not of classes in images, or its encoder does not do for a detector.
        DependencyError: torchvision cannot be imported.
    """
    if recipe.boxes.kind == "none":
        return None
    require_boxes_fit(recipe.boxes, recipe.task, material.inputs.spacing.rank)
    result = _fit(material, recipe, run / FOLDER, talk)
    if result.stopped == "interrupted":
        raise KeyboardInterrupt
    talk.say(f"detector: best F1 of boxes {result.best_score:.4f} at step {result.best_step}")
    return result.as_dict()


def _fit(material: Material, recipe: Recipe, folder: Path, talk: Talk) -> FitResult:
    import torch
    from lightning_fabric import Fabric

    from malpighi.models.detector import DetectorLoss, build_detector
    from malpighi.tasks.boxes.score import BoxScore
    from malpighi.training.loop import PRECISIONS, Fit, fit

    inputs, options = material.inputs, train_options(recipe.boxes, recipe.train)
    folder.mkdir(exist_ok=True)
    torch.manual_seed(options.seed)
    detector = build_detector(recipe.boxes, inputs.channels, len(inputs.classes), recipe.model.pretrained)
    device = machine_facts().device
    fabric = Fabric(accelerator=device, devices=1, precision=PRECISIONS[options.precision])  # type: ignore[arg-type]
    tile = recipe.data.sides(2)
    score = BoxScore(material.held, inputs.spacing, tile, inputs.intensity, recipe.boxes.score, device, options.seed)
    facts = {**inputs.as_facts(), "boxes": json.dumps(asdict(recipe.boxes))}
    work = Fit(detector, material.batches, inputs.intensity.apply, DetectorLoss(detector), score, facts)
    with talk.bar("training the detector", total=options.steps) as advance:
        shown = 0

        def on_step(step: int, loss: float, score: float) -> None:
            nonlocal shown
            best = f"  best F1 {score:.3f}" if score >= 0 else ""
            advance(step - shown, text=f"training the detector  loss {loss:.3f}{best}")
            shown = step

        return fit(work, options, OptimOptions(rate=recipe.boxes.rate), folder, fabric, on_step)


def train_options(boxes: BoxOptions, train: TrainOptions) -> TrainOptions:
    """How long a detector is trained and how often scored; batch, seed and precision are the network's."""
    every = max(1, boxes.steps // CHECKS)
    return replace(train, steps=boxes.steps, validate_every=every, patience=0, keep="best")
