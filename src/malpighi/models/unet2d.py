"""Two-dimensional encoder–decoder networks: a timm encoder under a decoder of segmentation-models-pytorch."""

from __future__ import annotations

from timm.layers import LayerNorm2d
from torch import Tensor, nn

from malpighi.models.network import Network
from malpighi.models.outputs import Outputs


class EncoderDecoder(Network):
    """A segmentation network of segmentation-models-pytorch behind the one contract; rank 2.

    Every side of the input must be a multiple of the encoder's coarsest stride.
    """

    def __init__(self, body: nn.Module, in_channels: int, classes: int, stride: int, dropout: float = 0.0) -> None:
        super().__init__(in_channels, classes, (stride, stride))
        self.body = body
        self.dropout = nn.Dropout2d(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Outputs:
        """Logits for `x`, (batch, in_channels, y, x), at the same resolution.

        Raises:
            ValueError: a shape that does not fit; see `check`.
        """
        self.check(x)
        features = self.body.encoder(x)
        decoded = self.dropout(self.body.decoder(features))
        return Outputs(logits=self.body.segmentation_head(decoded))


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


def with_stem(body: nn.Module, in_channels: int, decoder_channels: tuple[int, ...]) -> nn.Module:
    """`body`, a U-Net, with a stem of the width of its last stage, and a new decoder that takes the stem's features."""
    from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

    body.encoder = StemEncoder(body.encoder, in_channels, decoder_channels[-1])
    body.decoder = UnetDecoder(body.encoder.out_channels, decoder_channels, n_blocks=len(decoder_channels))
    return body
