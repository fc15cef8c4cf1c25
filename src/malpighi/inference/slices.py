"""Networks on slices as a `Forward` on cubes: k neighbouring slices slide through the cube along each axis; the mean of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from malpighi.errors import RecipeError
from malpighi.inference.backends import (
    Intensity,
    Precision,
    autocast,
    single_logits,
    supported,
    symmetries,
    turned,
    turned_back,
)
from malpighi.inference.options import Average, Flips
from malpighi.inference.predict import Forward

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Axis = Literal["z", "y", "x"]
_PIXELS = 2**20
"""Pixels of slices a pass of the network, at most (one window at least): what bounds memory, whatever the cube's size."""


def slices_forward(
    network: torch.nn.Module,
    intensity: Intensity,
    axes: Sequence[Axis] = ("z",),
    device: str | torch.device = "cpu",
    precision: Precision = "float32",
    flips: Flips = "none",
    average: Average = "probability",
    channels_last: bool = False,
    gate: float = 0.0,
    pixels: int = _PIXELS,
) -> Forward:
    """A network on slices as a `Forward` that takes tiles of any depth, and any size.

    Along each axis the cube is turned so that this axis comes first, and every run of m neighbouring slices in it is
    predicted from the k slices around it, mirrored beyond the cube's ends: each slice up to m times. In plane the cube is
    mirrored up to a multiple of the network's stride. A voxel's value is the mean over the runs it lies in, then over
    flips and axes.

    Args:
        network: has `slices` (k, m) and `stride`, takes (batch, channel, k, y, x) and gives logits (batch, class, m, y, x);
            it is put in evaluation mode and moved to `device`.
        axes: directions in which slices are taken; the axis moves to the front, the others keep their order.
        flips: "flips" averages over mirrors in plane (4 passes), "d4" also over right-angle turns (8); each for every axis.
        average: "probability" means of probabilities, "logit" the sigmoid of the mean logit.
        gate: 0: what is told of a tile as a whole is told of slices, not of cubes.
        pixels: of slices that one pass of the network takes at most.

    Raises:
        RecipeError: the network answers for more slices than it sees, or not for a central run of them; a `gate`.
    """
    import torch

    from malpighi.models.layout import memory_formats

    if gate:
        raise RecipeError(
            f"predict.gate = {gate}: tiles of networks on slices have no class of their own; set predict.gate = 0"
        )
    k, m = network.slices
    if not 0 < m <= k or (k - m) % 2:
        raise RecipeError(f"model.slices_in {k}, slices_out {m}: the answer must be for one central slice, or for all")
    weights_format, _ = memory_formats(network, channels_last)
    network = network.eval().to(device).to(memory_format=weights_format)
    stride = tuple(int(n) for n in network.stride)[-2:]

    def forward(tiles: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), autocast(device, precision):
            x = intensity.apply(torch.from_numpy(supported(tiles)).to(device))
            cubes = [_mean_over_axes(cube) for cube in x]
            out = torch.stack(cubes)
            return (out.sigmoid_() if average == "logit" else out).cpu().numpy()

    def _mean_over_axes(cube: Tensor) -> Tensor:
        """(channel, z, y, x) → (class, z, y, x)."""
        total: Tensor | None = None
        for axis in axes:
            place = 1 + "zyx".index(axis)
            found = _along(cube.movedim(place, 1)).movedim(1, place)
            total = found if total is None else total.add_(found)
        assert total is not None
        return total.div_(len(axes)).contiguous()

    def _along(stack: Tensor) -> Tensor:
        """(channel, slice, y, x) → (class, slice, y, x): the mean over runs and flips."""
        depth, *sides = stack.shape[1:]
        runs = max(1, depth - m + 1)
        padded = _mirrored(stack, (runs, k, m), stride)
        turns = symmetries(flips, padded.shape[2:], square=False)
        total: Tensor | None = None
        for first, windows in _windows(padded, runs, k, pixels):
            for turn in turns:
                logits = single_logits(network, network(turned(windows, turn).contiguous()).logits)
                found = turned_back(logits, turn)[..., : sides[0], : sides[1]]
                found = found if average == "logit" else found.sigmoid()
                if total is None:
                    total = found.new_zeros((found.shape[1], runs + m - 1, *sides))
                for j in range(m):
                    total[:, first + j : first + j + len(found)] += found[:, :, j].transpose(0, 1)
        assert total is not None
        times = torch.from_numpy(_times(runs, m)).to(total)
        return (total / (times * len(turns))[:, None, None])[:, :depth]

    return forward


def _times(runs: int, m: int) -> np.ndarray:
    """(slice,) in how many of the `runs` runs of m slices each slice lies."""
    return np.convolve(np.ones(runs), np.ones(m))


def _mirrored(stack: Tensor, slices: tuple[int, int, int], stride: Sequence[int]) -> Tensor:
    """The stack with as many slices as the runs need, and sides that are multiples of the network's stride."""
    import torch

    runs, k, m = slices
    lead = (k - m) // 2
    spans = [(-lead, runs + m - 1 + lead), *((0, -(-n // s) * s) for n, s in zip(stack.shape[2:], stride, strict=True))]
    for axis, (start, stop) in enumerate(spans, 1):
        n = stack.shape[axis]
        if (start, stop) != (0, n):
            period = max(1, 2 * (n - 1))
            index = torch.arange(start, stop, device=stack.device).abs() % period
            stack = stack.index_select(axis, torch.minimum(index, period - index) % n)
    return stack


def _windows(stack: Tensor, runs: int, k: int, pixels: int) -> Iterator[tuple[int, Tensor]]:
    """(number of the first run, (run, channel, k, y, x)) of consecutive runs, a pass of the network each."""
    many = max(1, pixels // (stack.shape[2] * stack.shape[3]))
    for first in range(0, runs, many):
        count = min(many, runs - first)
        views = stack[:, first : first + count + k - 1].unfold(1, k, 1)  # (channel, run, y, x, k)
        yield first, views.permute(1, 0, 4, 2, 3)
