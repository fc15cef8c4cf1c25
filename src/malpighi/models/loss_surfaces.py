"""Losses of surfaces: distance to the target's, and overlap of the cubes that a surface crosses."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from malpighi.models.loss_regions import mean_of_labelled, over_space
from malpighi.models.loss_voxels import hard, known_and_wanted, mean_over


def boundary(logits: Tensor, target: Tensor, spacing: Sequence[float] | None = None, weights: Tensor | None = None) -> Tensor:
    """Mean of probability × signed distance over labelled voxels: Kervadec et al., Boundary Loss (2019).

    Distances come from SciPy on the CPU, off the graph; `signed_distance` says what they cost.
    """
    known, wanted = known_and_wanted(logits, target)
    distance = torch.from_numpy(signed_distance(hard(wanted).cpu().numpy() > 0, spacing))
    return mean_over(known, torch.sigmoid(logits) * distance.to(logits), weights)


def signed_distance(wanted: np.ndarray, spacing: Sequence[float] | None = None) -> np.ndarray:
    """Distance to the class outside it, and 1 - distance to the rest inside it; in units of the finest axis.

    0 for an image without the class, or full of it. As in the authors' code, the inner rim of the class is 0.

    Args:
        wanted: (batch, class, *spatial) bool.
        spacing: size of a voxel by axis; None: isotropic.
    """
    from scipy.ndimage import distance_transform_edt

    sampling = None if spacing is None else np.asarray(spacing, float) / min(spacing)
    found = np.zeros(wanted.shape, np.float32)
    for index in np.ndindex(wanted.shape[:2]):
        inside = wanted[index]
        if inside.any() and not inside.all():
            outer, inner = distance_transform_edt(~inside, sampling), distance_transform_edt(inside, sampling)
            found[index] = np.where(inside, 1 - inner, outer)
    return found


def surface(
    logits: Tensor,
    target: Tensor,
    spacing: Sequence[float] | None = None,
    smooth: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """1 - mean of three Dice over the cubes of 2×2×2 voxels (squares of 2×2 where the target is a plane).

    A cube is inside with probability Πp, outside with Π(1 - p), on the surface with the rest; each is compared with the
    target's, and cubes on the surface weigh as much as the target's surface in them has area. This is the loss of the first
    place of SenNet + HOA (2023), which is scored by surface Dice at tolerance 0. A class over the whole batch; cubes with an
    unlabelled corner count nowhere.

    Args:
        spacing: size of a voxel by axis, of which the areas come; None: isotropic.
        smooth: added to numerator and denominator of each Dice.
        weights: (class,).
    """
    flat = [axis for axis in range(2, logits.ndim) if logits.shape[axis] == 1]
    if len(flat) == 1 and logits.ndim == 5:
        logits, target = logits.squeeze(flat[0]), target.squeeze(flat[0])
        spacing = [size for axis, size in enumerate(spacing, 2) if axis != flat[0]] if spacing else None
    rank = logits.ndim - 2
    known, wanted = known_and_wanted(logits, target)
    known = torch.stack(_corners(known)).amin(0)
    areas = torch.tensor(surface_areas(_ratios(spacing, rank)), dtype=logits.dtype, device=logits.device)
    code = sum(corner.long() << bit for bit, corner in enumerate(reversed(_corners(hard(wanted)))))
    area = areas[code] * known
    true_in, true_out = (code == len(areas) - 1).to(known) * known, (code == 0).to(known) * known

    inside = torch.exp(sum(_corners(F.logsigmoid(logits)))) * known
    outside = torch.exp(sum(_corners(F.logsigmoid(-logits)))) * known
    crossing = (known - inside - outside).clamp(min=0)
    score = (
        (2 * over_space(inside * true_in) + smooth) / (over_space(inside + true_in) + smooth)
        + (2 * over_space(outside * true_out) + smooth) / (over_space(outside + true_out) + smooth)
        + (2 * over_space(crossing * area) + smooth) / (over_space((crossing + 1) * area) + smooth)
    ) / 3
    return mean_of_labelled(known, 1 - score, weights)


def _corners(values: Tensor) -> list[Tensor]:
    """The corners of every cube of two voxels an axis, in C order: each (batch, class, *(side - 1))."""
    sides = values.shape[2:]
    return [
        values[(..., *(slice(first, side - 1 + first) for first, side in zip(corner, sides, strict=True)))]
        for corner in itertools.product((0, 1), repeat=len(sides))
    ]


def _ratios(spacing: Sequence[float] | None, rank: int) -> tuple[float, ...]:
    return (1.0,) * rank if spacing is None else tuple(float(size) / min(spacing) for size in spacing)


@lru_cache
def surface_areas(spacing: tuple[float, ...]) -> tuple[float, ...]:
    """Area (length, in 2-D) of the surface in a cube by its neighbourhood code: DeepMind's table, as MONAI has it.

    The corner that comes last in C order is bit 0.
    """
    with warnings.catch_warnings():  # MONAI puts its own `warnings.showwarning` in place for everybody
        from monai.metrics.utils import get_code_to_measure_table

    table, _ = get_code_to_measure_table(spacing)
    return tuple(float(area) for area in table)
