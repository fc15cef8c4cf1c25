"""A recipe's [model] → network. This file names the parts; the networks live beside it and are imported when built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from malpighi.errors import RecipeError
from malpighi.models.architectures import DECODERS, VOLUME, WIDTHS, Architecture
from malpighi.models.contradictions import contradiction

if TYPE_CHECKING:
    from malpighi.models.network import Network

Pretrained = Literal["preferred", "required", "never"]


@dataclass(frozen=True)
class ModelOptions:
    """Which network.

    Three families: an encoder of `timm` under a decoder ("unet" … "segformer"), 2-D; "attention-unet", 2-D, of own
    `widths`; and networks in 3-D of own `widths` ("attention-unet3d", "res-unet3d", "dynunet", "segresnet"). A 2-D network
    works on slices of a volume where `slices_in` says how many.

    Attributes:
        architecture: one of the above.
        encoder: any `timm` model that gives feature maps ("resnet18", "convnext_tiny", …).
        pretrained: "preferred" warns and goes on with random weights where none can be had; "required" stops; "never".
            For other than 3 input channels `timm` repeats the published RGB weights of the first layer and scales them, so
            that k equal channels give what one gives (exactly where k is a multiple of 3).
        decoder_channels: width of the decoder: of "unet", "unet++" and "manet" five numbers, one a stage, coarse to fine; of "fpn",
            "upernet", "deeplabv3+" and "segformer" one. Empty: the architecture's own.
        stem: of "unet": convolutions beside the encoder give the decoder full-resolution features (and those at half, where
            the encoder has none, as ConvNeXt). For objects a few voxels wide.
        widths: of networks without an encoder: channels of each stage, fine to coarse; each is at half the resolution of
            the one before. Empty: the architecture's own (`WIDTHS`).
        flat: of 3-D networks: so many of the first halvings leave z as it is; for voxels that are longer along z.
        dropout: share of features dropped before the last convolution, while training; of networks without an encoder, in every
            stage. The dilated convolutions of "deeplabv3+" and "aspp" have a half of their own.
        drop_path: of encoders with residual blocks: chance with which one of them is left out while training, growing from 0 at the first to
            this at the last (stochastic depth, Huang et al. 2016).
        slices_in: 0: the network sees the image as it is; k: it is 2-D and sees k neighbouring slices of a volume as channels.
        slices_out: how many of those slices, the central ones, it segments: 1, or all k.
        repeat: each slice is given so many times, as equal channels.
        attention: of "unet" and "unet++": attention in every decoder block: "scse" (Roy et al. 2018; on what a block takes and what
            it gives) or "cbam" (Woo et al. 2018; on what it gives), of a sixteenth of the channels.
        bottleneck: "aspp": dilated convolutions side by side (1 … 4, Chen et al. 2017) between encoder and decoder of "unet".
        upsampling: of "unet": "nearest", or "pixelshuffle" (Shi et al. 2016, with ICNR weights) learnt stage by stage.
        join: of "unet": what the last convolution sees: "none", the last stage alone; "hypercolumn", every stage brought to 64
            channels and full resolution, side by side (Hariharan et al. 2015); "pyramid", every stage through two convolutions
            of its own first.
        deep: deep-supervision heads, on so many of the stages of a "unet" before its last.
        auxiliary: a fully convolutional head on the encoder's features at a sixteenth (Zhao et al. 2017), for training alone; it is
            the last of `Outputs.deep`.
        tile_class: a head that says, class by class, whether the tile holds any of it: `Outputs.told["tile"]`.
        tells: what else is told of the whole tile, to teach the encoder: "organ" or any attribute of cases, and "pixel_size".
        exclusive: classes exclude one another: softmax over background, whose logit is 0, and classes. With one class this is the
            sigmoid.
    """

    architecture: Architecture = "unet"
    encoder: str = "resnet18"
    pretrained: Pretrained = "preferred"
    decoder_channels: tuple[int, ...] = ()
    stem: bool = False
    widths: tuple[int, ...] = ()
    flat: int = 0
    dropout: float = 0.0
    slices_in: int = 0
    slices_out: int = 1
    repeat: int = 1
    attention: Literal["none", "scse", "cbam"] = "none"
    bottleneck: Literal["none", "aspp"] = "none"
    upsampling: Literal["nearest", "pixelshuffle"] = "nearest"
    join: Literal["none", "hypercolumn", "pyramid"] = "none"
    deep: int = 0
    auxiliary: bool = False
    tile_class: bool = False
    tells: tuple[str, ...] = ()
    exclusive: bool = False
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        if wrong := contradiction(self):
            raise RecipeError(wrong)

    @property
    def rank(self) -> int:
        """Spatial axes of the images that the network takes: 3 of networks in 3-D and on slices of a volume, else 2."""
        return 3 if self.slices_in or self.architecture in VOLUME else 2


NO_VALUES: Mapping[str, Sequence[str]] = MappingProxyType({})


def build_network(
    options: ModelOptions, in_channels: int, classes: int, values: Mapping[str, Sequence[str]] = NO_VALUES
) -> Network:
    """The network of `options` with `classes` output logits.

    Args:
        options: which network.
        in_channels: channels of the image, not counting slices.
        classes: output logits.
        values: of each attribute that the network tells, its values in order; "pixel_size" needs none.

    Raises:
        RecipeError: no such encoder, or one without the feature maps that the decoder takes; an attribute without values.
        DependencyError: `pretrained = "required"` and the weights cannot be had.
    """
    if not options.slices_in:
        return _whole(options, in_channels, classes, classes, values)
    from malpighi.models.slices import SliceNetwork

    slices = (options.slices_in, options.slices_out)
    channels, logits = in_channels * options.slices_in * options.repeat, classes * options.slices_out
    return SliceNetwork(_whole(options, channels, classes, logits, values), in_channels, classes, slices, options.repeat)


def _whole(options: ModelOptions, in_channels: int, classes: int, logits: int, values: Mapping[str, Sequence[str]]) -> Network:
    """The network that slides through no slices: of `logits` output channels, which are classes, or classes × slices."""
    name = options.architecture
    network: Network
    if name in DECODERS:
        from malpighi.models.unet2d import encoder_decoder

        network = encoder_decoder(options, in_channels, classes, logits, values)
    else:
        from malpighi.models.volume import volume_network

        rank = 3 if name in VOLUME else 2
        widths = options.widths or WIDTHS[name]
        network = volume_network(name, in_channels, logits, widths, rank, options.flat, options.dropout)
    network.exclusive = options.exclusive
    return network
