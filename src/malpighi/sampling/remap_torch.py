"""Apply warps to a batch of tensors by `grid_sample`, on any device, in 2-D and 3-D."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from malpighi.sampling.warp import Warp, crop_start, spline_weights, spread


def warp_batch(images: Tensor, targets: Tensor, warps: list[Warp], out: tuple[int, ...], outside: str) -> tuple[Tensor, Tensor]:
    """Warp images (B, C, *in) linearly and targets (B, K, *in) by nearest neighbour to (B, …, *out), dtypes kept."""
    new = images.new_empty((*images.shape[:2], *out))
    labels = targets.new_empty((*targets.shape[:2], *out))
    bent = [i for i, warp in enumerate(warps) if not warp.exact]
    for i, warp in enumerate(warps):
        if warp.exact:
            new[i], labels[i] = warp.turned(images[i], out), warp.turned(targets[i], out)
    if bent:
        size = tuple(images.shape[2:])
        # item by item, so that the bits of a map do not depend on the batch's size
        where = torch.stack([_positions(warps[i], size, out, images.device) for i in bent])
        grid = _normalised(where, size)
        new[bent] = _sample(images[bent], grid, "bilinear").to(new.dtype)
        sampled = _sample(targets[bent], grid, "nearest").to(labels.dtype)
        if outside == "unlabelled":
            last = torch.tensor([n - 0.5 for n in size], device=where.device)
            beyond = ((where < -0.5) | (where > last)).any(-1)
            sampled = torch.where(beyond[:, None], torch.full_like(sampled, 255), sampled)
        labels[bent] = sampled
    return new, labels


def _positions(warp: Warp, size: tuple[int, ...], out: tuple[int, ...], device: torch.device) -> Tensor:
    """(*out, rank) input voxel index of every output voxel, float32."""
    weights = [torch.from_numpy(spline_weights(n).copy()).to(device) for n in out]
    controls = torch.from_numpy(warp.controls(crop_start(size, out), out)).to(device)
    return torch.stack([spread(axis, weights, torch.tensordot) for axis in controls], -1)


def _normalised(where: Tensor, size: tuple[int, ...]) -> Tensor:
    """Voxel indices → grid_sample's coordinates: -1 and 1 are the centres of the border voxels; last axis first."""
    half = torch.tensor([max(n - 1, 1) / 2 for n in size], device=where.device)
    return (where / half - 1).flip(-1)


def _sample(tensor: Tensor, grid: Tensor, mode: str) -> Tensor:
    values = grid_sample(tensor.float(), grid, mode=mode, padding_mode="reflection", align_corners=True)
    return values if tensor.is_floating_point() else values.round()
