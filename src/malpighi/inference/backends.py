"""Backends: a trained network as the `Forward` that `predict` calls, with intensity, device, precision and flips inside."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from malpighi.errors import RecipeError
from malpighi.inference.options import Average, Flips
from malpighi.inference.predict import Forward

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from malpighi.models.outputs import Outputs

Precision = Literal["float32", "bfloat16", "float16"]


class Intensity(Protocol):
    """Voxels as the image holds them → what the network was trained on."""

    def apply(self, batch: Tensor) -> Tensor:
        """(batch, channel, *spatial) of any dtype → the same shape, float32."""
        ...


def torch_forward(
    network: torch.nn.Module,
    intensity: Intensity,
    device: str | torch.device = "cpu",
    precision: Precision = "float32",
    flips: Flips = "none",
    channels_last: bool = False,
    average: Average = "probability",
    gate: float = 0.0,
) -> Forward:
    """A network as a `Forward`: voxels as read go to the device as they are, 8 bits where the image has 8 bits.

    Args:
        network: returns `Outputs`; it is put in evaluation mode and moved to `device`.
        precision: "float32", or autocast to "bfloat16" or "float16".
        flips: mean of the probabilities over mirrored (and turned) copies of the batch.
        channels_last: memory order that convolutions of some devices prefer.
        average: "probability" means the probabilities over flips, "logit" takes the sigmoid of the mean logit.
        gate: a class that the network's tile-class head (`Outputs.told["tile"]`) gives less than this, in the mean over flips, has
            probability 0 in the whole tile; 0: the head is not asked.

    Raises:
        RecipeError: "d4" and a tile whose last two sides differ; `gate` and a network without that head.
    """
    import torch

    from malpighi.models.layout import memory_formats

    weights_format, input_format = memory_formats(network, channels_last)
    network = network.eval().to(device).to(memory_format=weights_format)

    def forward(tiles: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), autocast(device, precision):
            batch = torch.from_numpy(supported(tiles)).to(device)
            x = intensity.apply(batch).contiguous(memory_format=input_format)
            total: Tensor | None = None
            held: Tensor | None = None  # (batch, class) summed probability that the tile holds any of it
            turns = symmetries(flips, x.shape[2:])
            for turn in turns:
                outputs = network(turned(x, turn))
                logits = single_logits(network, outputs.logits)
                found = logits.clone() if average == "logit" else torch.sigmoid(logits)
                found = turned_back(found, turn)
                total = found if total is None else total.add_(found)
                if gate:
                    told = _told_of_tile(outputs, gate)
                    held = told if held is None else held.add_(told)
            assert total is not None
            total.div_(len(turns))
            total = total.sigmoid_() if average == "logit" else total
            if held is not None:
                total *= (held / len(turns) >= gate).reshape(*held.shape, *[1] * (total.ndim - 2))
            return total.contiguous().cpu().numpy()

    return forward


def single_logits(network: torch.nn.Module, logits: Tensor) -> Tensor:
    """A network's logits, float32, such that the sigmoid of each is its class's probability, also where classes exclude one another."""
    from malpighi.models.exclusive import independent

    logits = logits.float()
    return independent(logits) if getattr(network, "exclusive", False) else logits


def _told_of_tile(outputs: Outputs, gate: float) -> Tensor:
    """(batch, class) float32 probability that a tile holds any of a class."""
    if "tile" not in outputs.told:
        raise RecipeError(
            f"predict.gate = {gate}: the network does not say which classes a tile holds; train it with model.tile_class = true, "
            "or set predict.gate = 0"
        )
    return outputs.told["tile"].float().sigmoid()


Turn = tuple[tuple[int, ...], bool]
"""Axes (from the end) to mirror, and whether the last two axes are exchanged first."""


def symmetries(flips: Flips, tile: Sequence[int], square: bool = True) -> list[Turn]:
    """What a tile is turned by: none; all mirrorings of its axes; or those also with the last two axes exchanged.

    Raises:
        RecipeError: the last two axes would be exchanged, must be `square`, and differ.
    """
    if flips == "none":
        return [((), False)]
    axes = range(-len(tile), 0)
    mirrors = [found for n in range(len(tile) + 1) for found in itertools.combinations(axes, n)]
    if flips == "flips":
        return [(mirror, False) for mirror in mirrors]
    if square and tile[-1] != tile[-2]:
        raise RecipeError(
            f"flips 'd4' turn the tile, whose last two sides {tuple(tile[-2:])} differ; use 'flips' or a square tile"
        )
    return [(mirror, exchanged) for exchanged in (False, True) for mirror in mirrors]


def turned(x: Tensor, turn: Turn) -> Tensor:
    """`x`, of any number of leading axes, turned."""
    mirror, exchanged = turn
    x = x.transpose(-1, -2) if exchanged else x
    return x.flip(mirror) if mirror else x


def turned_back(x: Tensor, turn: Turn) -> Tensor:
    """The reverse of `turned`."""
    mirror, exchanged = turn
    x = x.flip(mirror) if mirror else x
    return x.transpose(-1, -2) if exchanged else x


def autocast(device: str | torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Where a network computes in `precision`."""
    import torch

    if precision == "float32":
        return nullcontext()
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=getattr(torch, precision))


def supported(tiles: np.ndarray) -> np.ndarray:
    """The voxels in a type that torch computes with: unsigned 16 and 32 bits it only stores."""
    wider = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}
    tiles = tiles.astype(wider.get(tiles.dtype.name, tiles.dtype), copy=False)
    return tiles if tiles.dtype.isnative else tiles.astype(tiles.dtype.newbyteorder("="))
