"""The networks that a recipe can name, and which of them take which parts; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Architecture = Literal[
    "unet",
    "unet++",
    "fpn",
    "manet",
    "upernet",
    "deeplabv3+",
    "segformer",
    "attention-unet",
    "attention-unet3d",
    "res-unet3d",
    "dynunet",
    "segresnet",
]


@dataclass(frozen=True)
class Decoder:
    """A decoder under which a `timm` encoder can stand, as segmentation-models-pytorch knows it.

    Attributes:
        arch: its name there.
        widths: how many numbers `ModelOptions.decoder_channels` has: one a stage, or one for all.
        what: what that number is, for messages.
        argument: what it is called there.
        fixed: what else it is given.
    """

    arch: str
    widths: int = 5
    what: str = "one number a stage, coarse to fine"
    argument: str = "decoder_channels"
    fixed: Mapping[str, object] = field(default_factory=dict)


DECODERS: dict[str, Decoder] = {
    "unet": Decoder("unet"),
    "unet++": Decoder("unetplusplus"),
    "fpn": Decoder("fpn", 1, "the pyramid's width", "decoder_pyramid_channels", {"decoder_dropout": 0.0}),
    "manet": Decoder("manet"),
    "upernet": Decoder("upernet", 1, "the width of pooled, lateral and fused features"),
    "deeplabv3+": Decoder("deeplabv3plus", 1, "the width of the dilated convolutions"),
    "segformer": Decoder("segformer", 1, "the width to which every scale is brought", "decoder_segmentation_channels"),
}
"""Of an FPN the dropout is the one that every network of this family has before its last convolution."""

STAGES = (256, 128, 64, 32, 16)
"""Widths of a U-Net's decoder, coarse to fine, where a recipe gives none."""

WIDTHS: dict[str, tuple[int, ...]] = {
    "attention-unet": (64, 128, 256, 512, 1024),
    "attention-unet3d": (16, 32, 64, 128, 256),
    "res-unet3d": (16, 32, 64, 128, 256),
    "dynunet": (32, 64, 128, 256, 320),
    "segresnet": (16, 32, 64, 128),
}
"""Networks without an encoder, and the widths of their stages: as published, but "res-unet3d", which is MONAI's usual one."""

VOLUME = frozenset(WIDTHS) - {"attention-unet"}
"""Networks in 3-D."""

POOLED = frozenset({"upernet", "deeplabv3+"})
"""Networks that pool a whole tile into one place and normalise that over the batch."""

PARTS: dict[str, tuple[tuple[str, ...], str]] = {
    "stem": (("unet",), "false"),
    "attention": (("unet", "unet++"), '"none"'),
    "bottleneck": (("unet",), '"none"'),
    "upsampling": (("unet",), '"nearest"'),
    "join": (("unet",), '"none"'),
    "deep": (("unet",), "0"),
    "auxiliary": (tuple(DECODERS), "false"),
    "tile_class": (tuple(DECODERS), "false"),
    "tells": (tuple(DECODERS), "[]"),
}
"""Option → architectures that have the part, and how a recipe says that it has none."""
