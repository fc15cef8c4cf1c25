"""A recipe's [loss] → one function: a weighted sum of named terms. A voxel whose target is `UNLABELLED` counts in none.

The terms live beside this file, which stays free of torch because recipes read it: `loss_voxels`, `loss_regions`,
`loss_surfaces`, `loss_skeletons`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from malpighi.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor

    from malpighi.models.outputs import Outputs

UNLABELLED = 255
"""As `annotations.base.UNLABELLED`; models and annotations are siblings and share the number, not the code."""

Loss = Callable[["Outputs", "Tensor"], "Tensor"]
"""Of the network's outputs and a target (batch, class, *spatial) uint8: one number."""

Term = Callable[["Tensor", "Tensor"], "Tensor"]
"""Of logits and a target of the same shape: one number, 0 where nothing is labelled."""

TERMS = {
    "bce": "binary cross-entropy",
    "edge-bce": "cross-entropy that weighs voxels beside an edge of the target by 1 + `edge_weight`",
    "focal": "focal loss (Lin et al. 2017): cross-entropy that dwells on what is wrong",
    "dice": "1 - Dice",
    "tversky": "1 - Tversky index (Salehi et al. 2017): Dice with a price each for false positives and false negatives",
    "focal-tversky": "(1 - Tversky index)^(3/4) (Abraham & Khan 2019)",
    "boundary-dou": "boundary difference over union (Sun et al. 2023)",
    "boundary": "probability × signed distance to the target (Kervadec et al. 2019); may be negative, so give it company",
    "surface": "expected overlap of 2×2×2 cubes, on the surface weighed by its area (SenNet + HOA, first place)",
    "cldice": "1 - soft centreline Dice (Shit et al. 2021)",
    "ce": "cross-entropy of classes that exclude one another (softmax with background, whose logit is 0)",
    "jaccard": "1 - Jaccard index",
    "lovasz": "Lovász hinge (Berman et al. 2018): the Jaccard index of each class, convex; on the sorted errors of all voxels",
    "lovasz-softmax": "Lovász softmax (Berman et al. 2018), of classes that exclude one another, and background",
}
"""What a loss may be summed of."""

DEEP = 0.5
"""Weight of a deep-supervision output, in units of the next finer one (nnU-Net)."""


@dataclass(frozen=True)
class LossOptions:
    """Which loss.

    Attributes:
        name: a weighted sum of `TERMS`: "bce+dice", "focal + dice + 0.01*boundary + surface".
        smooth: added to numerator and denominator of "dice", "tversky", "focal-tversky", "surface" and "cldice", in voxels;
            keeps an empty class defined.
        focal_gamma: how much "focal" dwells on what is wrong; 0 is plain cross-entropy.
        focal_alpha: weight of the class, 1 - that of the rest; -1 weighs neither.
        tversky_alpha: price of a false positive.
        tversky_beta: price of a false negative; with both 0.5, Tversky is Dice.
        edge_weight: of "edge-bce".
        skeleton_steps: of "cldice": erosions, at least the radius in voxels of the thickest vessel.
        class_weights: how much each class counts in every term, relative to the others; "ce" may be given one more, first, for
            background. Empty: all alike.
        smoothing: of "bce", "edge-bce" and "ce": targets are so much nearer to undecided (label smoothing).
        deep_weight: of each deep-supervision output, added to the loss; negative: half as much as the next finer one, and all
            weights sum to 1 (nnU-Net).
        deep_filled: deep-supervision outputs learn only from tiles that hold some of the class.
        tile_weight: of the cross-entropy of the tile's class, where the network has such a head.
        tells_weight: of each of `model.tells`: cross-entropy of an attribute, squared error of the pixel size.

    Raises:
        RecipeError: `name` is no sum of known terms, or a number is out of range.
    """

    name: str = "bce+dice"
    smooth: float = 1.0
    focal_gamma: float = 2.0
    focal_alpha: float = 0.25
    tversky_alpha: float = 0.3
    tversky_beta: float = 0.7
    edge_weight: float = 1.0
    skeleton_steps: int = 3
    class_weights: tuple[float, ...] = ()
    smoothing: float = 0.0
    deep_weight: float = -1.0
    deep_filled: bool = False
    tile_weight: float = 1.0
    tells_weight: float = 0.1

    def __post_init__(self) -> None:
        _terms(self.name)
        for field in ("focal_gamma", "tversky_alpha", "tversky_beta", "edge_weight", "skeleton_steps"):
            if getattr(self, field) < 0:
                raise RecipeError(f"loss.{field} {getattr(self, field)}: must not be negative")
        if self.smooth <= 0:
            raise RecipeError(f"loss.smooth {self.smooth}: must be positive, or a class that is absent has no score")
        if self.focal_alpha > 1:
            raise RecipeError(f"loss.focal_alpha {self.focal_alpha}: a weight of at most 1; -1 weighs neither side")

    @property
    def terms(self) -> tuple[tuple[float, str], ...]:
        """(weight, name) of each term of `name`."""
        return _terms(self.name)


def _terms(whole: str) -> tuple[tuple[float, str], ...]:
    return tuple(_term(text.strip(), whole) for text in whole.split("+"))


def _term(text: str, whole: str) -> tuple[float, str]:
    found = re.fullmatch(r"(?:(\d+\.?\d*(?:e-?\d+)?|\.\d+)\s*(?:\*\s*|\s))?([a-z]+(?:-[a-z]+)*)", text)
    if found is None:
        raise RecipeError(f'loss.name {whole!r}: cannot read {text!r}; write a sum such as "focal + dice + 0.01*boundary"')
    weight, name = found.groups()
    if name not in TERMS:
        near = difflib.get_close_matches(name, TERMS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise RecipeError(f"loss.name {whole!r}: no loss {name!r}; {hint}known: {', '.join(TERMS)}")
    return float(weight or 1), name


def build_loss(options: LossOptions, spacing: Sequence[float] | None = None) -> Loss:
    """The loss as a function of the network's outputs and a target (batch, class, *spatial) uint8 of 0, 1, 255.

    A target deeper than the logits, as networks on slices meet it, is cut to its middle. Deep-supervision outputs count
    half, a quarter, …; the weights sum to 1. Computed in float32, whatever precision the network runs in.

    Args:
        options: which terms, with which weights.
        spacing: size of a voxel by axis, for "boundary" and "surface"; only ratios matter. None: isotropic.
    """
    import torch

    chosen = [(weight, _make(name, options, spacing)) for weight, name in options.terms]

    def one(logits: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            return torch.stack([weight * term(logits, target) for weight, term in chosen]).sum()

    def loss(outputs: Outputs, target: Tensor) -> Tensor:
        target = central(target, outputs.logits.shape)
        total, weights = one(outputs.logits, target), 1.0
        for level, logits in enumerate(outputs.deep, start=1):
            total = total + DEEP**level * one(logits, target)
            weights += DEEP**level
        return total / weights

    return loss


def _make(name: str, options: LossOptions, spacing: Sequence[float] | None) -> Term:
    from malpighi.models import loss_regions, loss_skeletons, loss_surfaces, loss_voxels

    smooth, prices = options.smooth, (options.tversky_alpha, options.tversky_beta)
    made: dict[str, Callable[[], Term]] = {
        "bce": lambda: loss_voxels.cross_entropy,
        "edge-bce": lambda: partial(loss_voxels.edge_cross_entropy, edge_weight=options.edge_weight),
        "focal": lambda: partial(loss_voxels.focal, gamma=options.focal_gamma, alpha=options.focal_alpha),
        "dice": lambda: partial(loss_regions.soft_dice, smooth=smooth),
        "tversky": lambda: partial(loss_regions.tversky, prices=prices, smooth=smooth),
        "focal-tversky": lambda: partial(loss_regions.tversky, prices=prices, smooth=smooth, power=0.75),
        "boundary-dou": lambda: loss_regions.boundary_dou,
        "boundary": lambda: partial(loss_surfaces.boundary, spacing=spacing),
        "surface": lambda: partial(loss_surfaces.surface, spacing=spacing, smooth=smooth),
        "cldice": lambda: partial(loss_skeletons.cl_dice, steps=options.skeleton_steps, smooth=smooth),
    }
    return made[name]()


def central(target: Tensor, shape: Sequence[int]) -> Tensor:
    """The middle of `target` that has `shape`, along spatial axes; an odd rest leaves one more at the end.

    Raises:
        ValueError: the target is smaller than `shape`, or of another batch or class count.
    """
    if tuple(target.shape) == tuple(shape):
        return target
    spare = [int(has) - int(wants) for has, wants in zip(target.shape, shape, strict=True)]
    if min(spare) < 0 or any(spare[:2]):
        raise ValueError(f"target of shape {tuple(target.shape)} does not hold the logits' {tuple(shape)}")
    return target[tuple(slice(rest // 2, rest // 2 + int(wants)) for rest, wants in zip(spare, shape, strict=True))]
