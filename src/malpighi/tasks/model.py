"""A trained run, opened to predict: its network on this machine's best device, with the recipe's options as overridden."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from malpighi.errors import RecipeError
from malpighi.images.cache import tiles
from malpighi.inference.options import PredictOptions
from malpighi.inference.predict import Forward
from malpighi.models.boxes import BoxOptions
from malpighi.objects.instances import InstanceOptions
from malpighi.objects.measure import ObjectOptions
from malpighi.tasks.image import forward_of, require_stride, tile_stride
from malpighi.tasks.instances import require_instances
from malpighi.tasks.run import TrainedRun, open_run

_AFTER = ("predict", "objects", "instances", "boxes")  # sections of a recipe that can change after training
_TRAINED = ("instances.kind", "boxes.kind", "boxes.encoder", "boxes.steps", "boxes.rate")  # values there that cannot
WEIGHTS = "weights.safetensors"
TILE_CACHE_BYTES = 64 * 2**20
"""Decoded file tiles that are kept while segmenting: each is needed by neighbouring tiles only, unlike in training."""


@dataclass(frozen=True)
class Model:
    """A trained network, ready to predict on this machine."""

    run: TrainedRun
    forward: Forward
    predict: PredictOptions
    objects: ObjectOptions
    instances: InstanceOptions
    device: str
    digest: str
    stride: tuple[int, ...]
    boxes: BoxOptions = field(default_factory=BoxOptions)


def open_model(run: Path, overrides: Sequence[str] = (), probabilities: bool = False) -> Model:
    """A run's network on the best device of this machine, with the recipe's inference options as overridden."""
    from malpighi.recipes.load import build, read_raw
    from malpighi.tasks.prepare import machine_facts
    from malpighi.training.allocator import keep_freed_pages

    keep_freed_pages(megabytes=64)
    tiles.limit = TILE_CACHE_BYTES
    opened = open_run(run)
    recipe = opened.recipe
    if overrides:
        for override in overrides:
            if override.partition(".")[0] not in _AFTER or override.startswith(_TRAINED):
                raise RecipeError(
                    f"--set {override}: only {', '.join(f'{name}.*' for name in _AFTER)} can change after training, but not what "
                    "the network gives; train again for the rest"
                )
        recipe = build(read_raw(str(opened.path / "recipe.toml"), overrides), "--set")
    device = machine_facts().device
    predict = replace(recipe.predict, probabilities=True) if probabilities else recipe.predict
    train = recipe.train
    network = opened.network()
    stride = tile_stride(network)
    require_stride(predict, stride)
    predict.limits(len(opened.inputs.classes))
    require_instances(recipe, opened.inputs.classes)
    axes = recipe.data.axes
    forward = forward_of(network, opened.inputs, predict, device, train.precision, train.channels_last, axes)
    digest = weights_digest(opened.path)
    return Model(opened, forward, predict, recipe.objects, recipe.instances, device, digest, stride, recipe.boxes)


def weights_digest(folder: Path) -> str:
    """What tells the weights in a folder from others."""
    with (folder / WEIGHTS).open("rb") as weights:
        return hashlib.file_digest(weights, "sha256").hexdigest()[:16]
