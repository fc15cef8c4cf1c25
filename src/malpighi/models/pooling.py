"""Maps → scores: of an image, of what a mask leaves of it, and of each of its cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def pool_maps(maps: Tensor, masks: Tensor | None, how: str) -> Tensor:
    """One value a class of an image's maps, in float32.

    Args:
        maps: (batch, class, y, x).
        masks: (batch, 1, *sides) in 0 … 1 at any resolution, brought to the maps' by area; a place counts by how far it
            lies in the mask. Where a mask is empty, and where there is none, every place counts alike.
        how: "average"; "average+max", half and half, the maximum over places of which anything lies in the mask; "lse",
            log of the mean of exp: between both, and everywhere differentiable (Pinheiro & Collobert 2015, r = 1).

    Returns:
        (batch, class).
    """
    weights = torch.ones_like(maps[:, :1], dtype=torch.float32) if masks is None else _shares(masks, maps)
    maps = maps.float()
    if how == "lse":
        inside = torch.where(weights > 0, maps + weights.log(), -math.inf)
        return inside.flatten(2).logsumexp(2) - weights.flatten(2).sum(2).log()
    average = (maps * weights).sum((2, 3)) / weights.sum((2, 3))
    if how == "average":
        return average
    return (average + maps.masked_fill(weights <= 0, -math.inf).amax((2, 3))) / 2


def _shares(masks: Tensor, maps: Tensor) -> Tensor:
    """How far each place of the maps lies in the mask, (batch, 1, y, x) float32; 1 everywhere where a mask is empty."""
    shares = functional.interpolate(masks.float(), maps.shape[2:], mode="area")
    empty = shares.amax((1, 2, 3), keepdim=True) <= 0
    return torch.where(empty, torch.ones_like(shares), shares)


TOP = 0.1
"""Share of a cell's pixels of which "top" takes the mean."""


def pool_cells(maps: Tensor, labels: Tensor, count: int, how: str) -> Tensor:
    """One value a cell and class of an image's maps, whatever order the pixels are in.

    Args:
        maps: (class, y, x), at the labels' resolution.
        labels: (y, x) integers on the same device: cell 1 … `count`, and 0 outside; higher ones are left out.
        count: cells asked for.
        how: "mean", "max", or "top": the mean of the highest tenth, at least of one pixel.

    Returns:
        (count, class) float32; row n is cell n + 1, and 0 where it has no pixel.

    Raises:
        ValueError: the maps and the labels are of different sides.
    """
    if maps.shape[1:] != labels.shape:
        raise ValueError(f"maps of {tuple(maps.shape[1:])} and labels of {tuple(labels.shape)}: both have the same sides")
    numbers = labels.flatten().long()
    order = numbers.argsort(stable=True)
    sizes = torch.bincount(numbers, minlength=count + 1).tolist()
    pooled = torch.zeros(count, len(maps), device=maps.device)
    flat = maps.flatten(1).float()
    for cell, pixels in enumerate(order.split(sizes)[1 : count + 1]):
        if len(pixels):
            pooled[cell] = _pooled(flat[:, pixels], how)
    return pooled


def _pooled(values: Tensor, how: str) -> Tensor:
    if how == "mean":
        return values.mean(1)
    if how == "max":
        return values.amax(1)
    return values.topk(max(1, round(TOP * values.shape[1])), dim=1).values.mean(1)
