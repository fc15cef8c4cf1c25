"""Losses of what a network says beside its mask: deep supervision on tiles that hold something, and tiles as wholes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from malpighi.models.loss_voxels import known_and_wanted, mean_over
from malpighi.models.losses import UNLABELLED


def filled_only(target: Tensor) -> Tensor:
    """`target`, (batch, class, *spatial), made unlabelled in those classes of a tile that reach 0.5 nowhere in it."""
    _, wanted = known_and_wanted(_like(target), target)
    empty = wanted.flatten(2).amax(2) < 0.5
    blank = torch.nan if target.is_floating_point() else UNLABELLED
    return target.masked_fill(empty.reshape(*empty.shape, *[1] * (target.ndim - 2)), blank)


def tile_target(target: Tensor) -> tuple[Tensor, Tensor]:
    """Is it known whether a tile holds any of a class, and how surely it does: both (batch, class).

    It is known where the class is (0.5 and more) anywhere, or where the whole tile is labelled. How surely: the highest probability in it.
    """
    known, wanted = known_and_wanted(_like(target), target)
    most = wanted.flatten(2).amax(2)
    return ((most >= 0.5) | (known.flatten(2).amin(2) > 0)).to(most.dtype), most


def tile_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of logits (batch, class) that a tile holds some of the class; mean over the tiles and classes that are known."""
    known, wanted = tile_target(target)
    return mean_over(known, F.binary_cross_entropy_with_logits(logits, wanted.to(logits.dtype), reduction="none"))


def told_loss(told: Mapping[str, Tensor], facts: Mapping[str, Tensor] | None) -> Tensor:
    """Sum of what each head but "tile" says wrong: cross-entropy of attributes, squared error of "pixel_size".

    Args:
        told: `Outputs.told`.
        facts: `Batch.facts`; -1 of an attribute, NaN of a size are unknown and count nowhere.

    Raises:
        ValueError: a head has no fact to learn from.
    """
    missing = [name for name in told if name != "tile" and name not in (facts or {})]
    if missing:
        raise ValueError(
            f"the network tells {', '.join(missing)}, of which the batch has no facts (it has {', '.join(facts or {}) or 'none'}); "
            "leave it out of model.tells, or give it in the data"
        )
    return torch.stack(
        [_fact_loss(name, said.float(), (facts or {})[name]) for name, said in told.items() if name != "tile"]
    ).sum()


def _fact_loss(name: str, said: Tensor, fact: Tensor) -> Tensor:
    if name == "pixel_size":
        known = ~fact.isnan()
        each = (said[:, 0] - fact.nan_to_num(0.0)) ** 2
    else:
        known = fact >= 0
        each = F.cross_entropy(said, fact.clamp(min=0).long(), reduction="none")
    return mean_over(known.to(each.dtype), each)


def _like(target: Tensor) -> Tensor:
    """An empty tensor of the type in which a target's probabilities are looked at."""
    return target.new_empty(0, dtype=target.dtype if target.is_floating_point() else torch.float32)
