"""Network: what every network promises, whatever it is made of."""

from __future__ import annotations

from torch import Tensor, nn

AXES = {2: "y, x", 3: "z, y, x"}


class Network(nn.Module):
    """Base of all networks; `forward` of (batch, in_channels, *spatial) returns `Outputs`.

    Attributes:
        in_channels: input channels.
        classes: output logits, one a class.
        rank: spatial axes of the input, 2 or 3.
        stride: by axis; every side of the input must be a multiple of its own.
        exclusive: classes exclude one another: see `independent`, which makes of the logits ones that stand alone.
    """

    exclusive: bool = False

    def __init__(self, in_channels: int, classes: int, stride: tuple[int, ...]) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.classes = classes
        self.rank = len(stride)
        self.stride = stride

    def check(self, x: Tensor) -> None:
        """Stop at an input that the network cannot take.

        Raises:
            ValueError: wrong number of axes or channels, or a side that is no multiple of `stride`; the message names the
                shape that would do.
        """
        if x.ndim != self.rank + 2 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"input of shape {tuple(x.shape)}: this network takes (batch, {self.in_channels}, {AXES[self.rank]})"
            )
        sides = tuple(int(side) for side in x.shape[2:])
        if any(side % step for side, step in zip(sides, self.stride, strict=True)):
            fitting = tuple(-(-side // step) * step for side, step in zip(sides, self.stride, strict=True))
            raise ValueError(f"input sides {sides} are no multiples of {self.stride}; {fitting} would do")
