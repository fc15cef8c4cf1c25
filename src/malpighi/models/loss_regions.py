"""Losses of overlapping regions: sums over the whole batch, a class at a time; mean over the classes that are labelled in it.

Batch-wise sums, so that a tile without the class pushes down false positives by their area instead of by an
all-or-nothing term. Of targets that are probabilities the overlap is Σpt, as usual; it is then largest not at p = t but at a p nearer to
0 or 1, so such losses want company from those of voxels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from malpighi.models.loss_voxels import edges, hard, known_and_wanted


def over_space(values: Tensor) -> Tensor:
    """Sum over all but the classes: (batch, class, *spatial) → (class,)."""
    return values.sum((0, *range(2, values.ndim)))


def mean_of_labelled(known: Tensor, each: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of `each`, (class,), over the classes that are labelled anywhere, `weights` each; 0 where none is."""
    labelled = (over_space(known) > 0).to(each.dtype)
    if weights is None:
        return (each * labelled).sum() / labelled.sum().clamp(min=1)
    labelled = labelled * weights
    total = labelled.sum()
    return (each * labelled).sum() / torch.where(total > 0, total, 1)


def soft_dice(logits: Tensor, target: Tensor, smooth: float = 1.0, weights: Tensor | None = None) -> Tensor:
    """1 - (2 Σpt + s) / (Σp + Σt + s): Milletari et al., V-Net (2016), with plain instead of squared sums."""
    known, wanted = known_and_wanted(logits, target)
    probability = torch.sigmoid(logits) * known
    score = (2 * over_space(probability * wanted) + smooth) / (over_space(probability) + over_space(wanted) + smooth)
    return mean_of_labelled(known, 1 - score, weights)


def jaccard(logits: Tensor, target: Tensor, smooth: float = 1.0, weights: Tensor | None = None) -> Tensor:
    """1 - (Σpt + s) / (Σp + Σt - Σpt + s): Rahman & Wang (2016)."""
    known, wanted = known_and_wanted(logits, target)
    probability = torch.sigmoid(logits) * known
    both = over_space(probability * wanted)
    score = (both + smooth) / (over_space(probability) + over_space(wanted) - both + smooth)
    return mean_of_labelled(known, 1 - score, weights)


def tversky(
    logits: Tensor,
    target: Tensor,
    prices: tuple[float, float] = (0.3, 0.7),
    smooth: float = 1.0,
    power: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """(1 - (TP + s) / (TP + α FP + β FN + s))^power: Salehi et al. (2017); with a power, Abraham & Khan (2019).

    Args:
        prices: (α, β).
        power: 1/γ of the focal Tversky loss; 1 is Tversky's.
        weights: (class,).
    """
    known, wanted = known_and_wanted(logits, target)
    probability = torch.sigmoid(logits) * known
    hit = over_space(probability * wanted)
    false_positive, false_negative = over_space(probability) - hit, over_space(wanted) - hit
    score = (hit + smooth) / (hit + prices[0] * false_positive + prices[1] * false_negative + smooth)
    rest = (1 - score).clamp(min=1e-6)  # the slope of its power is infinite at 0
    return mean_of_labelled(known, rest**power if power != 1 else 1 - score, weights)


def boundary_dou(
    logits: Tensor, target: Tensor, most: float = 0.8, smooth: float = 1e-5, weights: Tensor | None = None
) -> Tensor:
    """(Σp² + Σt² - 2Σpt) / (Σp² + Σt² - (1 + α) Σpt): Sun et al., Boundary Difference over Union (2023).

    α = 1 - 2 C/S, at most `most`, with C of the S voxels of the class on its edge: the thicker an object, the less its
    inside counts. For vessels all of whose voxels lie on the edge, α = -1 and this is 1 - Dice with squared sums.
    As in the authors' code, C counts voxels with a face neighbour outside the class; unlike there, a tile's border is no edge.
    """
    known, wanted = known_and_wanted(logits, target)
    probability, inside = torch.sigmoid(logits) * known, hard(wanted)
    on_edge = over_space(edges(known, inside) * inside)
    alpha = (1 - 2 * (on_edge + smooth) / (over_space(inside) + smooth)).clamp(max=most)
    both, squares = over_space(probability * wanted), over_space(probability**2) + over_space(wanted**2)
    return mean_of_labelled(known, (squares - 2 * both + smooth) / (squares - (1 + alpha) * both + smooth), weights)
