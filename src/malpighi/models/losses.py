"""A recipe's [loss] → one function: a weighted sum of named terms. A voxel whose target is `UNLABELLED` counts in none.

The terms live beside this file, which stays free of torch because recipes read it: `loss_voxels`, `loss_regions`,
`loss_surfaces`, `loss_skeletons`, `loss_lovasz`, `loss_exclusive`; what heads say beside the mask is judged in `loss_heads`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from malpighi.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor

    from malpighi.models.outputs import Outputs

UNLABELLED = 255
"""As `annotations.base.UNLABELLED`; models and annotations are siblings and share the number, not the code."""

Loss = Callable[..., "Tensor"]
"""Of the network's `Outputs`, a target (batch, class, *spatial) and, where the batch has any, its facts: one number."""

Term = Callable[..., "Tensor"]
"""Of logits, a target of the same shape, and `weights=` of the classes, (class,) or None: one number, 0 where nothing is labelled."""

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

EXCLUSIVE = frozenset({"ce", "lovasz-softmax"})
"""Terms of classes that exclude one another: they take the logits as they are, and need `model.exclusive`."""

ACTS_ON: Mapping[str, frozenset[str]] = {
    "focal_gamma": frozenset({"focal"}),
    "focal_alpha": frozenset({"focal"}),
    "tversky_alpha": frozenset({"tversky", "focal-tversky"}),
    "tversky_beta": frozenset({"tversky", "focal-tversky"}),
    "edge_weight": frozenset({"edge-bce"}),
    "skeleton_steps": frozenset({"cldice"}),
    "lovasz_by_tile": frozenset({"lovasz"}),
    "smoothing": frozenset({"bce", "edge-bce", "ce"}),
}
"""Options of `LossOptions` that are of some terms only; with none of these they would do nothing."""

DEEP = 0.5
"""Weight of a deep-supervision output, in units of the next finer one (nnU-Net)."""


@dataclass(frozen=True)
class LossOptions:
    """Which loss.

    Attributes:
        name: a weighted sum of `TERMS`: "bce+dice", "focal + dice + 0.01*boundary + surface".
        smooth: added to numerator and denominator of "dice", "jaccard", "tversky", "focal-tversky", "surface" and "cldice", in
            voxels; keeps an empty class defined.
        focal_gamma: how much "focal" dwells on what is wrong; 0 is plain cross-entropy.
        focal_alpha: weight of the class, 1 - that of the rest; -1 weighs neither.
        tversky_alpha: price of a false positive.
        tversky_beta: price of a false negative; with both 0.5, Tversky is Dice.
        edge_weight: of "edge-bce".
        lovasz_by_tile: of "lovasz": every tile has a Jaccard index of its own, as its authors' code has it unless told; else there
            is one of all tiles of the batch together.
        skeleton_steps: of "cldice": erosions, at least the radius in voxels of the thickest vessel.
        class_weights: how much each class counts in every term, relative to the others; with `model.exclusive` there may be one
            more, first, for background, which otherwise has 1. Empty: all alike.
        smoothing: of "bce", "edge-bce" and "ce": share of the undecided answer that is mixed into the target (label smoothing,
            Szegedy et al. 2016): 1/2, or of n classes and background 1 / (1 + n) each.
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
    lovasz_by_tile: bool = False
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
        for field in ("tile_weight", "tells_weight"):
            if getattr(self, field) < 0:
                raise RecipeError(f"loss.{field} {getattr(self, field)}: must not be negative")
        if not 0 <= self.smoothing < 1:
            raise RecipeError(f"loss.smoothing {self.smoothing}: a share, 0 or more and less than 1")
        names = {name for _, name in self.terms}
        for field, terms in ACTS_ON.items():
            value, usual = getattr(self, field), getattr(LossOptions, field)
            if value != usual and not terms & names:
                raise RecipeError(
                    f"loss.{field} {value}: acts on {', '.join(sorted(terms))} alone; add one to loss.name, or leave it at {usual}"
                )
        if self.class_weights and (min(self.class_weights) < 0 or not any(self.class_weights)):
            raise RecipeError(
                f"loss.class_weights {list(self.class_weights)}: none may be negative, and one must be more than 0"
            )

    @property
    def terms(self) -> tuple[tuple[float, str], ...]:
        """(weight, name) of each term of `name`."""
        return _terms(self.name)

    def require_classes(self, classes: int, exclusive: bool) -> None:
        """Stop at `class_weights` of another number of classes.

        Raises:
            RecipeError: there are more or fewer.
        """
        if self.class_weights and len(self.class_weights) not in ((classes, classes + 1) if exclusive else (classes,)):
            more = f", or {classes + 1} with background first" if exclusive else ""
            raise RecipeError(
                f"loss.class_weights {list(self.class_weights)}: the classes are {classes}; give {classes} numbers{more}"
            )


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


def build_loss(options: LossOptions, spacing: Sequence[float] | None = None, exclusive: bool = False) -> Loss:
    """The loss as a function of the network's outputs, a target (batch, class, *spatial), and facts of the tiles.

    Targets are uint8 of 0, 1 and 255, or float in 0 … 1, NaN unlabelled. A target deeper than the logits, as networks on slices meet
    it, is cut to its middle. Deep-supervision outputs count half, a quarter, … and all weights sum to 1, or each
    `options.deep_weight`, added. Computed in float32, whatever precision the network runs in.

    Args:
        options: which terms, with which weights.
        spacing: size of a voxel by axis, for "boundary" and "surface"; only ratios matter. None: isotropic.
        exclusive: the logits are of classes that exclude one another: all terms but "ce" and "lovasz-softmax" get those that
            `independent` makes of them.

    Raises:
        RecipeError: a term of exclusive classes, for others; when called: `class_weights` of another number of classes.
        ValueError: when called: a target smaller than the logits, or a head without a fact.
    """
    import torch

    from malpighi.models.exclusive import independent
    from malpighi.models.loss_heads import filled_only, tile_loss, told_loss
    from malpighi.models.loss_terms import make_term

    chosen = [(weight, name in EXCLUSIVE, make_term(name, options, spacing)) for weight, name in options.terms]
    if not exclusive and any(raw for _, raw, _ in chosen):
        raise RecipeError(f"loss.name {options.name!r}: {' and '.join(sorted(EXCLUSIVE))} need model.exclusive = true")

    def one(logits: Tensor, target: Tensor) -> Tensor:
        options.require_classes(logits.shape[1], exclusive)
        logits = logits.float()
        apart = independent(logits) if exclusive and not all(raw for _, raw, _ in chosen) else logits
        all_weights = logits.new_tensor(options.class_weights) if options.class_weights else None
        weights = None if all_weights is None else all_weights[-logits.shape[1] :]  # without background's
        return torch.stack(
            [
                weight * (term(logits, target, weights=all_weights) if raw else term(apart, target, weights=weights))
                for weight, raw, term in chosen
            ]
        ).sum()

    def of_mask(outputs: Outputs, target: Tensor) -> Tensor:
        total = one(outputs.logits, target)
        if not outputs.deep:
            return total
        if options.deep_filled:
            target = filled_only(target)
        shares = [options.deep_weight if options.deep_weight >= 0 else DEEP**level for level in range(1, len(outputs.deep) + 1)]
        for share, logits in zip(shares, outputs.deep, strict=True):
            total = total + share * one(logits, target)
        return total if options.deep_weight >= 0 else total / (1 + sum(shares))

    def loss(outputs: Outputs, target: Tensor, facts: Mapping[str, Tensor] | None = None) -> Tensor:
        target = central(target, outputs.logits.shape)
        with torch.autocast(outputs.logits.device.type, enabled=False):
            total = of_mask(outputs, target)
            if "tile" in outputs.told:
                total = total + options.tile_weight * tile_loss(outputs.told["tile"].float(), target)
            if outputs.told.keys() - {"tile"}:
                total = total + options.tells_weight * told_loss(outputs.told, facts)
        return total

    return loss


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
