"""Networks of own widths, in two and three dimensions: MONAI's, behind the one contract.

The attention U-Nets are MONAI's too. Their gates are those of Oktay et al. (2018) but for one thing, which most
implementations share: the gating signal is upsampled to the skip before the gate instead of the gate after it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from malpighi.models.network import Network
from malpighi.models.outputs import Outputs

with warnings.catch_warnings():  # MONAI puts its own `warnings.showwarning` in place for everybody
    from monai.networks.nets.attentionunet import AttentionUnet
    from monai.networks.nets.dynunet import DynUNet
    from monai.networks.nets.segresnet import SegResNet
    from monai.networks.nets.unet import UNet

Steps = tuple[tuple[int, ...], ...]  # MONAI says Sequence[int], and takes these
"""Stride of each stage below the first, by axis."""


class MonaiNetwork(Network):
    """A network of MONAI; rank 2 or 3."""

    def __init__(self, body: nn.Module, in_channels: int, classes: int, stride: tuple[int, ...]) -> None:
        super().__init__(in_channels, classes, stride)
        self.body = body

    def forward(self, x: Tensor) -> Outputs:
        """Logits of `x`, (batch, in_channels, *spatial), at the same resolution; while training, of DynUNet, deep ones too.

        Raises:
            ValueError: a shape that does not fit; the message names the one that would do.
        """
        self.check(x)
        if tuple(x.shape[2:]) == self.stride:
            fitting = (*self.stride[:-1], 2 * self.stride[-1])
            raise ValueError(
                f"input sides {self.stride} leave one voxel at the coarsest stage, too few to normalise; {fitting} would do"
            )
        found = self.body(x)
        if found.ndim == x.ndim:
            return Outputs(logits=found)
        self.body.heads[:] = [found.new_zeros(1)] * len(self.body.heads)  # they hold the graph, which no copy can be made of
        logits, *deep = found.unbind(1)
        return Outputs(logits=logits, deep=tuple(deep))


def volume_network(
    architecture: str, in_channels: int, classes: int, widths: Sequence[int], rank: int, flat: int = 0, dropout: float = 0.0
) -> MonaiNetwork:
    """A network with one stage a width, each at half the resolution of the one before.

    Args:
        architecture: a key of `BODIES`.
        in_channels: input channels.
        classes: output logits.
        widths: channels of each stage, fine to coarse.
        rank: 2 or 3.
        flat: so many of the first halvings leave z as it is, for volumes whose voxels are longer along z.
        dropout: share of features dropped while training.
    """
    steps = tuple((1 if stage < flat else 2, 2, 2)[-rank:] for stage in range(len(widths) - 1))
    body = BODIES[architecture](rank, in_channels, classes, tuple(widths), steps, dropout)
    stride = tuple(math.prod(step[axis] for step in steps) for axis in range(rank))
    return MonaiNetwork(body, in_channels, classes, stride)


def _attention_unet(
    rank: int, in_channels: int, classes: int, widths: tuple[int, ...], steps: Steps, dropout: float
) -> nn.Module:
    """Additive gates on the skips, after Oktay et al., Attention U-Net (2018): x · σ(ψ(relu(W_x x + W_g g)))."""
    return AttentionUnet(rank, in_channels, classes, widths, steps, dropout=dropout)  # type: ignore[arg-type]


def _residual_unet(
    rank: int, in_channels: int, classes: int, widths: tuple[int, ...], steps: Steps, dropout: float
) -> nn.Module:
    """Residual units and instance norm, after Kerfoot et al., Left-Ventricle Quantification Using Residual U-Net (2018)."""
    return UNet(rank, in_channels, classes, widths, steps, num_res_units=2, dropout=dropout)  # type: ignore[arg-type]


def _dynunet(rank: int, in_channels: int, classes: int, widths: tuple[int, ...], steps: Steps, dropout: float) -> nn.Module:
    """nnU-Net's network (Isensee et al. 2021): flat kernels where the stride is flat, up to two deep-supervision heads."""
    kernels = [tuple(3 if size == 2 else 1 for size in step) for step in steps]
    body = DynUNet(
        rank,
        in_channels,
        classes,
        kernel_size=[kernels[0], *kernels],
        strides=[(1,) * rank, *steps],
        upsample_kernel_size=steps,
        filters=widths,
        dropout=dropout or None,
        deep_supervision=True,
        deep_supr_num=min(2, len(widths) - 2),
        res_block=True,
    )
    for second in ("input_block", "downsamples", "bottleneck", "upsamples", "deep_supervision_heads"):
        delattr(body, second)  # `skip_layers` holds them all; weights of two names cannot be written as safetensors
    return body


def _segresnet(rank: int, in_channels: int, classes: int, widths: tuple[int, ...], steps: Steps, dropout: float) -> nn.Module:
    """Myronenko's (2018) without its autoencoder: more residual blocks down than up."""
    return SegResNet(
        rank,
        widths[0],
        in_channels,
        classes,
        dropout_prob=dropout or None,
        norm=("GROUP", {"num_groups": math.gcd(8, widths[0])}),
        blocks_down=(1, *(2,) * (len(widths) - 2), 4),
        blocks_up=(1,) * (len(widths) - 1),
    )


Body = Callable[[int, int, int, tuple[int, ...], Steps, float], nn.Module]
BODIES: dict[str, Body] = {
    "attention-unet": _attention_unet,
    "attention-unet3d": _attention_unet,
    "res-unet3d": _residual_unet,
    "dynunet": _dynunet,
    "segresnet": _segresnet,
}
