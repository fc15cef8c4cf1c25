"""A recipe's [model] → network. This file names the parts; the networks live beside it and are imported when built."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from malpighi.errors import RecipeError
from malpighi.models.encoders import check_encoder, with_weights

if TYPE_CHECKING:
    from malpighi.models.network import Network
    from malpighi.models.unet2d import EncoderDecoder

Pretrained = Literal["preferred", "required", "never"]
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
        decoder_channels: width of the decoder, coarse to fine (U-Net: one number a stage); empty: the architecture's own.
        stem: of "unet": convolutions beside the encoder give the decoder full-resolution features (and those at half, where
            the encoder has none, as ConvNeXt). For objects a few voxels wide.
        widths: of networks without an encoder: channels of each stage, fine to coarse; each is at half the resolution of
            the one before. Empty: the architecture's own (`WIDTHS`).
        flat: of 3-D networks: so many of the first halvings leave z as it is; for voxels that are longer along z.
        dropout: share of features dropped while training.
        slices_in: 0: the network sees the image as it is; k: it is 2-D and sees k neighbouring slices of a volume as channels.
        slices_out: how many of those slices, the central ones, it segments: 1, or all k.
        repeat: each slice is given so many times, as equal channels.
        attention: of "unet" and "unet++": attention in every decoder block: "scse" (Roy et al. 2018) or "cbam" (Woo et al. 2018).
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

    def __post_init__(self) -> None:
        for wrong in (_wrong_slices(self), _wrong_encoder(self), _wrong_widths(self)):
            if wrong:
                raise RecipeError(wrong)

    @property
    def rank(self) -> int:
        """Spatial axes of the images that the network takes: 3 of networks in 3-D and on slices of a volume, else 2."""
        return 3 if self.slices_in or self.architecture in VOLUME else 2


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


def _wrong_slices(options: ModelOptions) -> str:
    k, m = options.slices_in, options.slices_out
    if k < 0 or (k and k % 2 == 0 and m == 1):
        return f"model.slices_in {k}: give an odd number, so that one slice is central, or 0 for none"
    if m not in (1, max(1, k)):
        return f"model.slices_out {m}: with model.slices_in = {k} it is 1{f' or {k}' if k > 1 else ''}"
    if k and options.architecture in VOLUME:
        return f'model.slices_in {k}: "{options.architecture}" is 3-D by itself; set model.slices_in = 0, or choose "unet"'
    if options.repeat < 1 or (options.repeat > 1 and not k):
        return f"model.repeat {options.repeat}: it repeats slices of a volume; set model.slices_in = 1, or model.repeat = 1"
    return ""


def _wrong_encoder(options: ModelOptions) -> str:
    name = options.architecture
    if options.stem and name != "unet":
        return f'model.stem: "{name}" takes no stem; set model.architecture = "unet", or model.stem = false'
    if name in WIDTHS and options.decoder_channels:
        return f'model.decoder_channels {options.decoder_channels}: "{name}" has no encoder; give model.widths instead'
    if name in WIDTHS and options.pretrained == "required":
        return f'model.pretrained = "required": "{name}" has no published weights; set it to "never"'
    return ""


def _wrong_widths(options: ModelOptions) -> str:
    name, widths = options.architecture, options.widths
    if widths and name not in WIDTHS:
        return f'model.widths {widths}: "{name}" has an encoder; give model.encoder and model.decoder_channels instead'
    if widths and (len(widths) < 3 or min(widths) < 1):
        return f"model.widths {widths}: give at least three positive numbers, fine to coarse"
    if name == "segresnet" and any(b != 2 * a for a, b in itertools.pairwise(widths)):
        return f"model.widths {widths}: of segresnet each is twice the one before, such as {WIDTHS[name]}"
    allowed = len(widths or WIDTHS[name]) - 1 if name in VOLUME - {"segresnet"} else 0
    if not 0 <= options.flat <= allowed:
        return f'model.flat {options.flat}: of this "{name}" it lies between 0 and {allowed}'
    return ""


def _unet(options: ModelOptions) -> dict[str, object]:
    extra: dict[str, object] = {"decoder_channels": options.decoder_channels} if options.decoder_channels else {}
    return {"arch": "unet", **extra}


def _unet_plus_plus(options: ModelOptions) -> dict[str, object]:
    return {**_unet(options), "arch": "unetplusplus"}


def _fpn(options: ModelOptions) -> dict[str, object]:
    if len(options.decoder_channels) > 1:
        raise RecipeError(f"model.decoder_channels {options.decoder_channels}: fpn takes one number, the pyramid's width")
    extra: dict[str, object] = {"decoder_pyramid_channels": options.decoder_channels[0]} if options.decoder_channels else {}
    return {"arch": "fpn", "decoder_dropout": options.dropout, **extra}


DECODERS: dict[str, Callable[[ModelOptions], dict[str, object]]] = {"unet": _unet, "unet++": _unet_plus_plus, "fpn": _fpn}
"""Decoders under which a `timm` encoder can stand, as segmentation-models-pytorch names and parametrises them."""

DECODER_CHANNELS = (256, 128, 64, 32, 16)


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
        RecipeError: no such encoder, or one without feature maps.
        DependencyError: `pretrained = "required"` and the weights cannot be had.
    """
    if not options.slices_in:
        network = _whole(options, in_channels, classes)
        network.exclusive = options.exclusive
        return network
    from malpighi.models.slices import SliceNetwork

    slices = (options.slices_in, options.slices_out)
    plane = _whole(options, in_channels * options.slices_in * options.repeat, classes * options.slices_out)
    plane.exclusive = options.exclusive
    return SliceNetwork(plane, in_channels, classes, slices, options.repeat)


def _whole(options: ModelOptions, in_channels: int, classes: int) -> Network:
    name = options.architecture
    if name in DECODERS:
        return _encoder_decoder(options, in_channels, classes)
    from malpighi.models.volume import volume_network

    rank = 3 if name in VOLUME else 2
    return volume_network(name, in_channels, classes, options.widths or WIDTHS[name], rank, options.flat, options.dropout)


def _encoder_decoder(options: ModelOptions, in_channels: int, classes: int) -> EncoderDecoder:
    import segmentation_models_pytorch as smp

    from malpighi.models.unet2d import EncoderDecoder, with_stem

    arguments = DECODERS[options.architecture](options)
    common = {"encoder_name": f"tu-{options.encoder}", "in_channels": in_channels, "classes": classes, **arguments}
    check_encoder(options.encoder)
    body = None
    if options.pretrained != "never":
        body = with_weights(lambda: smp.create_model(encoder_weights=True, **common), options.encoder, options.pretrained)
    if body is None:
        try:
            body = smp.create_model(encoder_weights=None, **common)
        except ValueError as error:
            raise RecipeError(
                f"model: {options.architecture} of {options.encoder} cannot be built ({str(error).rstrip('.')}); choose an encoder "
                "with feature maps at five scales, such as resnet18, and as many decoder_channels"
            ) from error
    stride = int(body.encoder.output_stride)
    if options.stem:
        body = with_stem(body, in_channels, options.decoder_channels or DECODER_CHANNELS)
    return EncoderDecoder(body, in_channels=in_channels, classes=classes, stride=stride, dropout=options.dropout)
