"""Run folders that no training made: small random networks, for tests of what is done with finished runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.geometry import Spacing
from malpighi.models.build import ModelOptions
from malpighi.recipes.load import write_recipe
from malpighi.recipes.recipe import DataOptions, Recipe
from malpighi.sampling.intensity import Intensity, IntensityOptions
from malpighi.sampling.layouts import find_cases
from malpighi.tasks.run import Inputs
from malpighi.training.options import TrainOptions
from system.tiny import write_data

MODEL = ModelOptions(encoder="resnet10t", decoder_channels=(16, 16, 16, 8, 8), pretrained="never")


def data_of(root: Path, cases: int = 4) -> Path:
    """A small data set whose first half are kidneys and second half spleens."""
    data = write_data(root / "data", cases)
    rows = [f"images/s{n}.png,masks/s{n}.png,{'kidney' if 2 * n < cases else 'spleen'}" for n in range(cases)]
    (data / "manifest.csv").write_text("\n".join(["image,labels,organ", *rows]) + "\n")
    return data


def run_of(
    path: Path,
    data: Path,
    fold: int,
    *,
    folds: int = 2,
    spacing: float = 1.0,
    seed: int = 0,
    network: bool = False,
    classes: tuple[str, ...] = ("object",),
) -> Path:
    """A finished run. Without `network` it can be looked at, not predicted with."""
    path.mkdir(parents=True)
    recipe = Recipe(
        data=DataOptions(folds=folds, fold=fold, spacing=spacing, tile=64),
        intensity=IntensityOptions(kind="imagenet"),
        model=MODEL,
        train=TrainOptions(seed=seed, precision="float32"),
    )
    recipe = replace(recipe, predict=replace(recipe.predict, tile=64, batch=2, skip_blank=False))
    write_recipe(recipe, path / "recipe.toml")
    raw = {"data": {"folds": folds, "fold": fold, "spacing": spacing}, "train": {"seed": seed}}
    asked: dict[str, Any] = {"recipe": raw, "data": str(data), "spacing": None, "only": {}}
    files = {case.id: [] for case in find_cases(data).cases}
    (path / "plan.json").write_text(json.dumps({"asked": asked, "files": files}))
    (path / "summary.json").write_text("{}")
    inputs = Inputs(classes, 3, Spacing.pixels(2, spacing), Intensity((180.0,) * 3, (40.0,) * 3), "uint8")
    if network:
        _write_network(path, recipe, inputs, seed * 10 + fold)
    else:
        from safetensors.numpy import save_file

        save_file({"w": np.full(1, seed * 10 + fold, np.float32)}, path / "weights.safetensors", inputs.as_facts())
    return path


def _write_network(path: Path, recipe: Recipe, inputs: Inputs, seed: int) -> None:
    """Random weights, spread so that probabilities are not all alike."""
    import torch

    from malpighi.models.build import build_network
    from malpighi.training.checkpoint import save_weights

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    network = build_network(recipe.model, inputs.channels, len(inputs.outputs))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.3)
    save_weights(path, network, inputs.as_facts())
