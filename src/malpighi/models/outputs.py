"""Outputs: what every network's `forward` returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """A network's answer for a batch.

    Attributes:
        logits: (batch, class, *spatial), at the input's resolution; one independent logit a class.
        deep: deep-supervision logits, each from features half as fine as those of the one before and brought to the shape
            of `logits`; empty where the network has none, and outside training.
        image_logits: (batch, image class) of an image-level head; None where there is none.
        features: (batch, channel, *coarse) last encoder features, for class activation maps; None where not asked for.
    """

    logits: Tensor
    deep: tuple[Tensor, ...] = ()
    image_logits: Tensor | None = None
    features: Tensor | None = None
