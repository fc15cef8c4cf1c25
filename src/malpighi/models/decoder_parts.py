"""Parts of a U-Net's decoder: attention, bottleneck, upsampling, and what its stages are joined to.

The blocks are those of segmentation-models-pytorch, under the names they have there; parts sit in the places that they leave.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoderBlock
from torch import Tensor, nn
from torch.nn import functional

from malpighi.models.attention import Cbam, Scse


class Stages(nn.Module):
    """A U-Net's decoder that gives the features of every stage."""

    def __init__(self, blocks: Sequence[nn.Module], center: nn.Module, ups: Sequence[nn.Module]) -> None:
        super().__init__()
        self.center = center
        self.ups = nn.ModuleList(ups)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features of each stage, coarse to fine.

        Args:
            features: of the encoder, fine to coarse; the first, the image, only says its size.
        """
        _, *skips, x = features
        x = self.center(x)
        stages = []
        for i, (up, block) in enumerate(zip(self.ups, self.blocks, strict=True)):
            skip = skips[-1 - i] if i < len(skips) else None
            height, width = features[-2 - i].shape[2:]
            x = block(up(x), height, width, skip)  # it brings to this size what `up` has not
            stages.append(x)
        return stages


def unet_stages(channels: Sequence[int], widths: Sequence[int], bottleneck: str, upsampling: str) -> Stages:
    """A new decoder of `widths`, coarse to fine, for an encoder of `channels`, fine to coarse, the image's first."""
    center = Aspp(channels[-1]) if bottleneck == "aspp" else nn.Identity()
    inputs = [center.out_channels if isinstance(center, Aspp) else channels[-1], *widths[:-1]]
    ups: list[nn.Module] = [nn.Identity() for _ in inputs]
    if upsampling == "pixelshuffle":
        shuffles = [PixelShuffle(width) for width in inputs]
        ups, inputs = [*shuffles], [shuffle.out_channels for shuffle in shuffles]
    skips = [*channels[-2:0:-1], 0]
    blocks = [UnetDecoderBlock(*each) for each in zip(inputs, skips, widths, strict=False)]  # beside a stem the 0 is over
    return Stages(blocks, center, ups)


def put_attention(kind: str, blocks: nn.ModuleList | nn.ModuleDict, last_takes_skip: bool) -> None:
    """Attention in a decoder's blocks of segmentation-models-pytorch, "scse" or "cbam".

    "scse" is on what a block takes, where it takes a skip, and on what it gives, as there; "cbam" on what it gives, as in the
    network that won Hacking the Kidney.
    """
    every = [*(blocks.values() if isinstance(blocks, nn.ModuleDict) else blocks)]
    for block in every:
        if block.conv1 is None:  # of U-Net++ without features at this resolution
            continue
        if kind == "scse" and (last_takes_skip or block is not every[-1]):
            block.attention1 = Scse(block.conv1[0].in_channels)
        width = block.conv2[0].out_channels
        block.attention2 = Scse(width) if kind == "scse" else Cbam(width)


class Aspp(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al. 2017) for the coarsest features, as the third of Hacking the Kidney had it.

    Beside a 1 × 1 convolution and the maximum over all places, 3 × 3 convolutions, in four groups, whose taps lie 1, 2, 3 and 4
    apart. The maximum has no normalisation, which one tile a batch would not allow.
    """

    def __init__(self, channels: int, dilations: Sequence[int] = (1, 2, 3, 4), dropout: float = 0.5) -> None:
        super().__init__()
        self.out_channels = min(512, channels)
        width = max(4, self.out_channels // 2)
        self.point = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        groups = math.gcd(4, channels, width)
        dilated = [nn.Conv2d(channels, width, 3, padding=step, dilation=step, groups=groups, bias=False) for step in dilations]
        self.dilated = nn.ModuleList(nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU()) for conv in dilated)
        self.whole = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Conv2d(channels, width, 1), nn.ReLU())
        beside = (2 + len(dilations)) * width
        self.join = nn.Sequential(
            nn.Conv2d(beside, self.out_channels, 1, bias=False), nn.BatchNorm2d(self.out_channels), nn.ReLU()
        )
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, out_channels, y, x) of `x`, (batch, channels, y, x)."""
        beside = [self.point(x), *(branch(x) for branch in self.dilated), self.whole(x).expand(-1, -1, *x.shape[2:])]
        return self.dropout(self.join(torch.cat(beside, 1)))


class PixelShuffle(nn.Module):
    """Twice the resolution by sub-pixel convolution (Shi et al. 2016), to half the channels.

    The four convolutions of a pixel's quarters begin alike (ICNR, Aitken et al. 2017), so that at first this is nearest
    neighbour of one convolution, without checkerboards.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = max(1, channels // 2)
        self.spread = nn.Conv2d(channels, 4 * self.out_channels, 1)
        first = torch.empty(self.out_channels, channels, 1, 1, device=self.spread.weight.device)
        nn.init.kaiming_normal_(first)
        self.spread.weight.data.copy_(first.repeat_interleave(4, 0))
        nn.init.zeros_(self.spread.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, out_channels, 2y, 2x) of `x`, (batch, channels, y, x)."""
        return functional.pixel_shuffle(self.spread(x).relu(), 2)


class LastStage(nn.Module):
    """What a network without a join gives its last convolution."""

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """The features of the last stage."""
        return stages[-1]


class Joined(nn.Module):
    """Every stage through layers of its own, brought to the size of the last one and put side by side.

    Attributes:
        out_channels: of all together.
    """

    def __init__(self, layers: Sequence[nn.Module], out_channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.out_channels = out_channels

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """(batch, out_channels, y, x) of stages that are coarse to fine."""
        size = stages[-1].shape[2:]
        own = [layer(stage) for layer, stage in zip(self.layers, stages, strict=True)]
        return torch.cat([functional.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in own], 1)


def hypercolumn(widths: Sequence[int], width: int = 64) -> Joined:
    """Hypercolumns (Hariharan et al. 2015): every stage by a 1 × 1 convolution to `width` channels, where it has not as many."""
    layers = [nn.Identity() if own == width else nn.Conv2d(own, width, 1) for own in widths]
    return Joined(layers, width * len(layers))


def pyramid(widths: Sequence[int], width: int = 16) -> Joined:
    """After the FPN head of the third of Hacking the Kidney: every stage through two 3 × 3 convolutions to `width` channels.

    Theirs took the bottleneck's features so too, and the last stage as it is.
    """
    layers = [
        nn.Sequential(
            nn.Conv2d(own, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(2 * width),
            nn.Conv2d(2 * width, width, 3, padding=1),
        )
        for own in widths
    ]
    return Joined(layers, width * len(layers))


JOINS = {"hypercolumn": hypercolumn, "pyramid": pyramid}
"""`ModelOptions.join` → what is made of the widths of the stages."""
