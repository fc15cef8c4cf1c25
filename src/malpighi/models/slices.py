"""SliceNetwork: a two-dimensional network on k neighbouring slices of a volume."""

from __future__ import annotations

from torch import Tensor

from malpighi.models.network import Network
from malpighi.models.outputs import Outputs


class SliceNetwork(Network):
    """A 2-D network as a 3-D one with thin tiles: k slices in, the m central ones out; rank 3.

    Channel × slice become channels of the 2-D network, channel by channel: channel c of slice s is its channel c·k + s,
    `repeat` times over. Its outputs are class × slice in the same order.

    Attributes:
        slices: (k, m): slices in, and how many of them, the central ones, come out: 1 or k.
        repeat: how often each slice is given, as equal channels.
    """

    def __init__(self, plane: Network, in_channels: int, classes: int, slices: tuple[int, int], repeat: int = 1) -> None:
        super().__init__(in_channels, classes, (1, *plane.stride))
        self.plane = plane
        self.slices = slices
        self.repeat = repeat
        self.exclusive = plane.exclusive

    def forward(self, x: Tensor) -> Outputs:
        """Logits (batch, class, m, y, x) of `x`, (batch, in_channels, k, y, x).

        Raises:
            ValueError: a shape that does not fit; the message names the one that would do.
        """
        self.check(x)
        slices_in, slices_out = self.slices
        if x.shape[2] != slices_in:
            raise ValueError(
                f"input of {x.shape[2]} slices: this network takes {slices_in}; {(slices_in, *x.shape[3:])} would do"
            )
        flat = x.flatten(1, 2)
        outputs = self.plane(flat.repeat_interleave(self.repeat, 1) if self.repeat > 1 else flat)
        return Outputs(
            logits=outputs.logits.unflatten(1, (self.classes, slices_out)),
            deep=tuple(deep.unflatten(1, (self.classes, slices_out)) for deep in outputs.deep),
            told=outputs.told,
        )
