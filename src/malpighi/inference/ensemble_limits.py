"""Thresholds fitted to histograms of held-out images, by class and by value of an attribute, and what they are worth on images left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from malpighi.metrics.stability import HALF, Optimum, dice_curve, mean_curve, optimum

FEWEST = 3
"""Labelled images that a value of an attribute needs for a threshold of its own."""


@dataclass(frozen=True, eq=False)
class Limits:
    """Fitted thresholds.

    Attributes:
        optima: one a class.
        by: value → class number → its own optimum, where the value has `FEWEST` labelled images of the class or more.
    """

    optima: tuple[Optimum, ...]
    by: Mapping[str, Mapping[int, Optimum]] = field(default_factory=dict)

    def levels(self, value: str | None = None) -> np.ndarray:
        """(class,) 8-bit levels for images of `value`; where it has none of its own, the class's."""
        own = self.by.get(value, {}) if value is not None else {}
        return np.array([own.get(k, optimum).level for k, optimum in enumerate(self.optima)])

    def of(self, values: Sequence[str]) -> np.ndarray:
        """(image, class) levels of images with these values."""
        return np.stack([self.levels(value) for value in values])


def fit_limits(histograms: np.ndarray, values: Sequence[str] | None = None) -> Limits:
    """The thresholds with the highest mean Dice of an image.

    Args:
        histograms: (image, class, 256, 3), see `metrics.stability`.
        values: of the images' attribute; None: by class alone.
    """
    classes = range(histograms.shape[1])
    optima = tuple(optimum(mean_curve(histograms[:, k])) for k in classes)
    by: dict[str, dict[int, Optimum]] = {}
    known = histograms[..., :2].sum((-1, -2)) > 0
    for value in sorted(set(values or ())):
        mine = np.array([each == value for each in values or ()])
        fitted = {k: optimum(mean_curve(histograms[mine, k])) for k in classes if known[mine, k].sum() >= FEWEST}
        if fitted:
            by[value] = fitted
    return Limits(optima, by)


def dice_at(histograms: np.ndarray, levels: np.ndarray | int) -> np.ndarray:
    """(image, class) Dice at (image, class) levels, or at one level for all; NaN where the class is not labelled."""
    at = np.broadcast_to(np.asarray(levels), histograms.shape[:2])
    return np.take_along_axis(dice_curve(histograms), at[..., None] - 1, -1)[..., 0]


def mean_dice(dice: np.ndarray) -> float:
    """Mean over classes of the mean over the images where they are labelled, of (image, class); NaN where none is."""
    known = ~np.isnan(dice)
    sums, counts = np.where(known, dice, 0).sum(0), known.sum(0)
    return float((sums[counts > 0] / counts[counts > 0]).mean()) if counts.any() else float("nan")


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to combine, with what it gives on every image.

    Attributes:
        name: "mean", "convex", …
        fooled: (image, class, 256, 3) with weights fitted on all images.
        left_out: the same with weights fitted without the image's own outer fold. None: nothing but thresholds is fitted.
        fitted_on: outer fold → (image, class, 256, 3), with that fold's weights (estimated from the sample): what its thresholds
            are fitted on.
    """

    name: str
    fooled: np.ndarray
    left_out: np.ndarray | None = None
    fitted_on: Sequence[np.ndarray] = ()


@dataclass(frozen=True)
class Judged:
    """Mean Dice of an image that a candidate reaches, and by nested validation should be believed to reach.

    Attributes:
        fooled: weights and thresholds fitted and scored on the same images.
        nested: fitted on the other outer folds, scored on the one left out; NaN where there is one group alone.
        half: nested, every threshold ½.
        by: nested, thresholds by value where they can be fitted; None where none was asked for.
    """

    name: str
    fooled: float
    nested: float
    half: float
    by: float | None = None

    @property
    def best(self) -> float:
        """The nested score with the thresholds that will be used."""
        return self.nested if self.by is None else self.by


def judge(candidate: Candidate, folds: np.ndarray, values: Sequence[str] | None = None) -> Judged:
    """Score a candidate in sample and nested.

    Args:
        folds: (image,) outer fold, from 0; all 0: nothing can be left out.
        values: of the images' attribute, where thresholds are fitted by it.
    """
    everything = [str(value) for value in values] if values is not None else [""] * len(folds)
    fooled = dice_at(candidate.fooled, fit_limits(candidate.fooled, values).of(everything))
    scored = candidate.fooled if candidate.left_out is None else candidate.left_out
    plain, by = np.full(fooled.shape, np.nan), np.full(fooled.shape, np.nan)
    for fold in range(int(folds.max()) + 1 if folds.max() > 0 else 0):
        out = folds == fold
        on = (candidate.fitted_on[fold] if candidate.fitted_on else candidate.fooled)[~out]
        limits = fit_limits(on, [v for v, o in zip(everything, out, strict=True) if not o] if values is not None else None)
        plain[out] = dice_at(scored[out], limits.levels())
        by[out] = dice_at(scored[out], limits.of([v for v, o in zip(everything, out, strict=True) if o]))
    half = dice_at(scored, HALF)
    return Judged(
        candidate.name, mean_dice(fooled), mean_dice(plain), mean_dice(half), None if values is None else mean_dice(by)
    )
