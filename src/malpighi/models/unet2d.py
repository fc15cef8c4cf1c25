"""Two-dimensional encoder–decoder networks: a timm encoder under a decoder of segmentation-models-pytorch."""

from __future__ import annotations

from torch import Tensor, nn

from malpighi.models.outputs import Outputs


class EncoderDecoder(nn.Module):
    """A segmentation network behind the one contract.

    Attributes:
        in_channels: input channels.
        classes: output logits, one a class, independent of each other.
        rank: spatial axes, 2.
        stride: by axis; every side of the input must be a multiple of its own.
    """

    rank = 2

    def __init__(self, body: nn.Module, in_channels: int, classes: int, stride: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = body
        self.in_channels = in_channels
        self.classes = classes
        self.stride = (stride, stride)
        self.dropout = nn.Dropout2d(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Outputs:
        """Logits for `x`, (batch, in_channels, y, x), at the same resolution.

        Raises:
            ValueError: wrong number of channels or a side that is no multiple of `stride`; the message names the shape
                that would do.
        """
        self._check(x)
        features = self.body.encoder(x)
        decoded = self.dropout(self.body.decoder(features))
        return Outputs(logits=self.body.segmentation_head(decoded))

    def _check(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"input of shape {tuple(x.shape)}: this network takes (batch, {self.in_channels}, y, x)")
        sides = x.shape[2:]
        if any(side % step for side, step in zip(sides, self.stride, strict=True)):
            fitting = tuple(-(-int(side) // step) * step for side, step in zip(sides, self.stride, strict=True))
            raise ValueError(f"input sides {tuple(sides)} are no multiples of {self.stride}; {fitting} would do")
