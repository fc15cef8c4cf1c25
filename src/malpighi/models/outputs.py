"""Outputs: what every network's `forward` returns."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """A network's answer for a batch.

    Attributes:
        logits: (batch, class, *spatial), at the input's resolution; one independent logit a class.
        deep: deep-supervision logits, each from features half as fine as those of the one before and brought to the shape
            of `logits`; empty where the network has none, and outside training. An auxiliary head's come last.
        image_logits: (batch, image class) of an image-level head; None where there is none.
        told: what heads say of each tile as a whole, by name: "tile" (batch, class) logits of whether a class is in it, an
            attribute's (batch, value) logits, "pixel_size" (batch, 1), in octaves coarser than the working spacing.
        features: (batch, channel, *coarse) last encoder features, for class activation maps; None where not asked for.
    """

    logits: Tensor
    deep: tuple[Tensor, ...] = ()
    image_logits: Tensor | None = None
    features: Tensor | None = None
    told: Mapping[str, Tensor] = MappingProxyType({})
