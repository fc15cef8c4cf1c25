"""Two-dimensional encoder–decoder networks: a timm encoder under a decoder of segmentation-models-pytorch, and parts round it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.base import SegmentationHead
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from malpighi.models.architectures import DECODERS, STAGES
from malpighi.models.decoder_parts import JOINS, LastStage, Stages, put_attention, unet_stages
from malpighi.models.encoders import build_with_encoder
from malpighi.models.heads import DeepHeads, FcnHead, TileHeads, told_sizes
from malpighi.models.network import Network
from malpighi.models.outputs import Outputs

if TYPE_CHECKING:
    from malpighi.models.build import ModelOptions


class EncoderDecoder(Network):
    """A segmentation network of segmentation-models-pytorch behind the one contract; rank 2.

    Every side of the input must be a multiple of the encoder's coarsest stride.

    Attributes:
        body: its encoder, decoder and segmentation head.
        join: the decoder's stages, coarse to fine → what the segmentation head sees.
        deep: heads of the stages before the last, from the finer to the coarser, for training; None: none.
        auxiliary: head of the encoder's features at a sixteenth, for training; None: none.
        told: heads of the encoder's coarsest features, of the tile as a whole; None: none.
    """

    def __init__(self, body: nn.Module, in_channels: int, classes: int, stride: int, dropout: float = 0.0) -> None:
        super().__init__(in_channels, classes, (stride, stride))
        self.body = body
        self.dropout = nn.Dropout2d(dropout) if dropout else nn.Identity()
        self.join: nn.Module = LastStage()
        self.deep: DeepHeads | None = None
        self.auxiliary: FcnHead | None = None
        self.told: TileHeads | None = None

    def forward(self, x: Tensor) -> Outputs:
        """Logits for `x`, (batch, in_channels, y, x), at the same resolution, and what the other heads give.

        Raises:
            ValueError: a shape that does not fit; see `check`.
        """
        self.check(x)
        features = self.body.encoder(x)
        decoded = self.body.decoder(features)
        stages = decoded if isinstance(decoded, list) else [decoded]
        logits = self.body.segmentation_head(self.dropout(self.join(stages)))
        told = self.told(features[-1]) if self.told is not None else {}
        return Outputs(logits, self._deep(features, stages, logits.shape[2:]) if self.training else (), told=told)

    def _deep(self, features: Sequence[Tensor], stages: Sequence[Tensor], size: Sequence[int]) -> tuple[Tensor, ...]:
        deep: tuple[Tensor, ...] = ()
        if self.deep is not None:
            before = stages[-2::-1]
            deep = self.deep(before[: len(self.deep.heads)], size)
        return deep if self.auxiliary is None else (*deep, self.auxiliary(features[-2], size))


def encoder_decoder(
    options: ModelOptions, in_channels: int, classes: int, logits: int, values: Mapping[str, Sequence[str]]
) -> EncoderDecoder:
    """The network of an architecture of `DECODERS`, with the parts that `options` name.

    Args:
        options: which network.
        in_channels: input channels.
        classes: that heads of the tile as a whole tell.
        logits: output channels; classes, or classes × slices.
        values: see `build_network`.

    Raises:
        RecipeError: no such encoder, or one that does not fit; an attribute without values.
        DependencyError: "required" weights that cannot be had.
    """
    told = told_sizes(options.tile_class, options.tells, classes, values)
    decoder = DECODERS[options.architecture]
    widths = options.decoder_channels or STAGES
    given = {decoder.argument: widths if decoder.widths > 1 else widths[0]} if options.decoder_channels else {}
    common: dict[str, Any] = {"in_channels": in_channels, "classes": logits, **decoder.fixed, **given}
    if options.drop_path:
        common["drop_path_rate"] = options.drop_path

    def make(weights: bool | None, **own: object) -> Any:
        return smp.create_model(
            arch=decoder.arch,
            encoder_name=f"tu-{options.encoder}",
            encoder_weights=weights,
            **common,
            **own,
        )

    body = build_with_encoder(make, options.encoder, options.pretrained, in_channels, options.architecture)
    network = EncoderDecoder(body, in_channels, logits, int(body.encoder.output_stride), options.dropout)
    if options.architecture == "unet":
        _unet(network, options, widths)
    if options.attention != "none":
        put_attention(options.attention, body.decoder.blocks, last_takes_skip=options.stem)
    channels = body.encoder.out_channels
    network.auxiliary = FcnHead(channels[-2], logits) if options.auxiliary else None
    network.told = TileHeads(channels[-1], told) if told else None
    return network


def _unet(network: EncoderDecoder, options: ModelOptions, widths: Sequence[int]) -> None:
    """Put into a plain U-Net the parts that only a U-Net takes."""
    body = network.body
    if options.stem:
        body.encoder = StemEncoder(body.encoder, network.in_channels, widths[-1])
    if options.stem or options.bottleneck != "none" or options.upsampling != "nearest":
        body.decoder = unet_stages(body.encoder.out_channels, widths, options.bottleneck, options.upsampling)
    else:
        body.decoder = Stages(body.decoder.blocks, nn.Identity(), [nn.Identity() for _ in widths])
    if options.join != "none":
        network.join = joined = JOINS[options.join](widths)
        body.segmentation_head = SegmentationHead(joined.out_channels, network.classes)
    if options.deep:
        network.deep = DeepHeads(widths[-2::-1][: options.deep], network.classes)


class StemEncoder(nn.Module):
    """An encoder with a convolution stem beside it, which gives the decoder the scales that the encoder lacks.

    The winners of SenNet + HOA put a stem beside ConvNeXt, whose first features lie at a quarter of the resolution, to
    fill the half. This one gives full resolution also, so that vessels one voxel wide reach the decoder's last stage.

    Attributes:
        out_channels: by feature map: input, stem at full resolution, half, quarter, … A U-Net's decoder drops the first,
            and takes the others from coarse to fine; the stem's, one more than it usually has, is the skip of its last stage.
    """

    def __init__(self, encoder: nn.Module, in_channels: int, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        first, half, *coarse = encoder.out_channels
        self.whole = nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), LayerNorm2d(width), nn.GELU())
        self.middle = nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1), LayerNorm2d(2 * width)) if half == 0 else None
        self.out_channels = [first, width, half or 2 * width, *coarse]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps of (batch, in_channels, y, x), fine to coarse, of `out_channels`."""
        same, half, *coarse = self.encoder(x)
        full = self.whole(x)
        return [same, full, half if self.middle is None else self.middle(full), *coarse]
