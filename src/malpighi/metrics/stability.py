"""Dice at every threshold at once, from a histogram of 8-bit probabilities, and how far a threshold may be moved.

A histogram is (…, 256, 3): voxels of an image by probability (255 stands for 1) and by what is true: 0, 1, or nobody said. Level k is
"8-bit probability k or more", which is probability (k - ½) / 255 or more; levels run from 1 to 255, so that a curve is (…, 255) with
level k at position k - 1. Histograms may hold weighted counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malpighi.errors import DataError

LEVELS = 256
SLACK = 0.005
"""Dice that a threshold within the stable range may lose."""
HALF = 128
"""The level of probability ½."""


def histogram(levels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(256, 3) int64 voxels by level and truth.

    Args:
        levels: uint8 probabilities of any shape, 255 stands for 1.
        truth: same shape; uint8 0, 1, or anything else where nobody said.
    """
    if levels.shape != truth.shape:
        raise DataError(f"probabilities have shape {levels.shape}, truth {truth.shape}; both must show the same voxels")
    cell = levels.ravel().astype(np.intp) * 3 + np.minimum(truth.ravel(), 2)
    return np.bincount(cell, minlength=LEVELS * 3).reshape(LEVELS, 3)


def dice_curve(histograms: np.ndarray) -> np.ndarray:
    """(…, 255) Dice at every level; 1 where neither side has a voxel (HuBMAP's rule), NaN where nothing is labelled."""
    above = histograms[..., :2][..., ::-1, :].cumsum(-2)[..., ::-1, :].astype(np.float64)  # (…, level, truth)
    true, given = above[..., 1:, 1], above[..., 1:, :].sum(-1)
    size = given + above[..., :1, 1]
    dice = np.divide(2 * true, size, out=np.ones_like(size), where=size > 0)
    dice[above[..., 0, :].sum(-1) == 0] = np.nan
    return dice


def mean_curve(histograms: np.ndarray) -> np.ndarray:
    """(255,) mean over images of `dice_curve`, of (image, 256, 3); all NaN where no image is labelled."""
    curves = dice_curve(histograms)
    known = ~np.isnan(curves[:, 0])
    return curves[known].mean(0) if known.any() else np.full(LEVELS - 1, np.nan)


def probability(level: int | float) -> float:
    """The probability from which on a voxel is of `level` or above when it is rounded to 8 bits."""
    return (float(level) - 0.5) / (LEVELS - 1)


@dataclass(frozen=True)
class Optimum:
    """The best level of a curve.

    Attributes:
        level: 1 … 255; of equally good neighbours the one in their middle.
        dice: there; NaN where nothing was labelled, and the level is then that of ½.
        low, high: levels around it between which Dice stays within the slack of the best.
    """

    level: int
    dice: float
    low: int
    high: int

    @property
    def threshold(self) -> float:
        """The level as a probability."""
        return probability(self.level)

    @property
    def range(self) -> tuple[float, float]:
        """The stable range as probabilities. A wide one says that the threshold hardly matters, a narrow one that it is delicate."""
        return probability(self.low), probability(self.high)


def optimum(curve: np.ndarray, slack: float = SLACK) -> Optimum:
    """The best threshold of a (255,) curve and its stable range.

    Raises:
        DataError: `slack` is negative.
    """
    if slack < 0:
        raise DataError(f"slack {slack}: Dice that may be lost, 0 or more")
    if np.isnan(curve).any():
        return Optimum(HALF, float("nan"), 1, LEVELS - 1)
    best = int(curve.argmax())
    first, last = _around(curve >= curve[best] - 1e-12, best)
    low, high = _around(curve >= curve[best] - slack, best)
    return Optimum((first + last) // 2 + 1, float(curve[best]), low + 1, high + 1)


def _around(fine: np.ndarray, at: int) -> tuple[int, int]:
    """First and last position of the run of True that holds `at`."""
    bad = np.flatnonzero(~fine)
    return int(max(bad[bad < at], default=-1)) + 1, int(min(bad[bad > at], default=len(fine))) - 1


def at_share(histograms: np.ndarray, share: float) -> np.ndarray:
    """(image,) Dice where of each image the `share` per cent most probable voxels are taken, as `predict.top` does.

    Args:
        histograms: (image, 256, 3); voxels that nobody labelled count for the share, not for the score.
        share: per cent of an image's voxels.
    """
    above = histograms.sum(-1)[:, ::-1].cumsum(-1)[:, ::-1]
    wanted = np.round(above[:, 0] * share / 100)
    level = np.maximum((above >= wanted[:, None]).sum(-1) - 1, 1)  # the highest level with so many voxels or more
    return np.take_along_axis(dice_curve(histograms), level[:, None] - 1, -1)[:, 0]


def best_share(histograms: np.ndarray, shares: np.ndarray | None = None) -> tuple[float, float]:
    """The share of voxels, in per cent, with the highest mean Dice of an image, and that Dice; NaN where nothing is labelled."""
    shares = np.geomspace(0.1, 80, 60) if shares is None else shares
    known = histograms[..., :2].sum((1, 2)) > 0
    if not known.any():
        return float("nan"), float("nan")
    means = [float(at_share(histograms[known], share).mean()) for share in shares]
    best = int(np.argmax(means))
    return float(shares[best]), means[best]
