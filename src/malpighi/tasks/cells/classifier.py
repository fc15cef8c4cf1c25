"""A classifier of images or of cells, read back from its run folder and asked for scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.errors import DataError
from malpighi.models.classify import ClassifierOptions
from malpighi.recipes.cells import StageOptions
from malpighi.sampling.cell_batches import Items, in_order
from malpighi.sampling.intensity import Intensity

if TYPE_CHECKING:
    from torch import Tensor, nn

    from malpighi.models.classifier import Classifier

FLIPS: Mapping[int, Any] = {1: "none", 4: "flips", 8: "d4"}
"""`StageOptions.flips` as the engine calls them."""


def network_input(intensity: Intensity, masked: bool) -> Callable[[Tensor], Tensor]:
    """Raw (batch, channel[+ 1], y, x) → float32; the last channel of what is `masked` is the mask and stays as it is."""
    import torch

    def prepare(raw: Tensor) -> Tensor:
        if not masked:
            return intensity.apply(raw)
        return torch.cat([intensity.apply(raw[:, :-1]), raw[:, -1:].float()], 1)

    return prepare


def score_rows(
    network: nn.Module,
    items: Items,
    rows: np.ndarray,
    intensity: Intensity,
    options: StageOptions,
    device: str,
    advance: Callable[..., None] = lambda *_, **__: None,
) -> np.ndarray:
    """What a classifier says of samples: (row, class) float32 probabilities, means over `options.flips` views.

    A softmax where the loss is "ce", else independent.
    """
    import torch

    from malpighi.inference.backends import autocast, supported, symmetries, turned
    from malpighi.models.layout import memory_formats

    train = options.train
    prepare, layout = network_input(intensity, options.model.masked), memory_formats(network, train.channels_last)[1]
    network = network.eval().to(device)
    found: list[np.ndarray] = []
    for images in in_order(items, rows, 2 * train.batch):  # no gradients: twice as many take less memory
        with torch.inference_mode(), autocast(device, train.precision):
            x = prepare(torch.from_numpy(supported(images)).to(device))
            views = symmetries(FLIPS[options.flips], x.shape[2:])
            total = torch.zeros(())
            for view in views:
                logits = network(turned(x, view).contiguous(memory_format=layout)).image_logits.float().cpu()
                total = total + (logits.softmax(1) if options.loss.name == "ce" else logits.sigmoid())
            found.append((total / len(views)).numpy())
        advance(len(images))
    return np.concatenate(found) if found else np.zeros((0, 0), np.float32)


def take_weights(network: nn.Module, start: Path) -> tuple[int, int]:
    """Copy the tensors of another run into `network` where names and shapes fit: how many did, of how many."""
    from safetensors.torch import load_file

    from malpighi.training.checkpoint import WEIGHTS

    there = load_file(require_weights(start) / WEIGHTS)
    own = network.state_dict()
    fit = {name: value for name, value in there.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict({**own, **fit})
    return len(fit), len(there)


def read_facts(run: Path) -> dict[str, Any]:
    """What is kept beside a classifier's weights.

    Raises:
        DataError: there are none, or they are no classifier's.
    """
    from safetensors import SafetensorError, safe_open

    from malpighi.training.checkpoint import WEIGHTS

    path = require_weights(run) / WEIGHTS
    try:
        with safe_open(path, framework="pt") as file:
            facts = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
        Intensity.from_dict(facts["intensity"])
        return {**facts, "classes": tuple(facts["classes"]), "channels": tuple(facts["channels"])}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the weights of a classifier of cells ({error}); copy the run folder again") from error


def require_weights(run: Path) -> Path:
    """The folder itself, if it holds weights.

    Raises:
        DataError: it does not.
    """
    from malpighi.training.checkpoint import WEIGHTS

    if not (run / WEIGHTS).is_file():
        raise DataError(f"{run}: has no {WEIGHTS}; run the command that began it again, it goes on where it stopped")
    return run


def load_classifier(run: Path, options: ClassifierOptions) -> tuple[Classifier, Intensity, dict[str, Any]]:
    """A run's network with its best weights, on the CPU, in evaluation mode; its intensity; and its facts.

    Raises:
        DataError: no weights, or not of such a network.
    """
    from malpighi.models.classifier import build_classifier
    from malpighi.training.checkpoint import load_weights

    facts = read_facts(run)
    network = build_classifier(replace(options, pretrained="never"), len(facts["channels"]), len(facts["classes"]))
    load_weights(run, network)
    return network.eval(), Intensity.from_dict(facts["intensity"]), facts
