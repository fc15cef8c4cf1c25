"""Weights of an ensemble's columns: a convex fit of the log-loss, and an evolutionary search of Dice itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from malpighi.inference.ensemble_combine import even
from malpighi.inference.ensemble_sample import Sample
from malpighi.metrics.stability import mean_curve

PARENTS, CHILDREN, GENERATIONS = 4, 12, 20
NOTHING = 1e-3
"""A weight below this is none: EM never quite reaches 0, and a column of weight 0 need not predict."""


def convex_weights(samples: Sequence[Sample], steps: int = 1000, tolerance: float = 1e-7) -> np.ndarray:
    """(column,) weights, not negative and of sum 1, whose mean probability has the least log-loss.

    The probability that a mixture gives to what is true is Σ w_j q_j with q_j = p_j or 1 - p_j: maximum likelihood of a mixture's
    weights, which EM climbs monotonically, w_j ← w_j · mean(q_j / Σ w_k q_k) (Dempster, Laird & Rubin 1977). The loss is convex in w,
    so there is one optimum. Images count alike, whatever their size, and so do classes.

    Args:
        samples: one a class, of the same columns; without a voxel in any of them the weights are even.
        tolerance: ends when the log-loss falls by less.
    """
    weights = even(samples[0].levels.shape[1])
    samples = [sample for sample in samples if len(sample.truth)]
    if not samples:
        return weights
    right, share = _likelihoods(samples)
    before = np.inf
    for _ in range(steps):
        mixed = right @ weights
        loss = -float(share @ np.log(mixed))
        if before - loss < tolerance:
            break
        before = loss
        weights = weights * ((share / mixed) @ right)
        weights /= weights.sum()
    weights[weights < NOTHING] = 0
    return weights / weights.sum()


def _likelihoods(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """(voxel, column) probability of what is true, never 0, and (voxel,) share of the loss that a voxel has; of sum 1."""
    right, share = [], []
    for sample in samples:
        p = (sample.levels.astype(np.float64) + 0.5) / 256  # 8 bits do not tell 0 from .001: nobody is quite sure
        right.append(np.where(sample.truth[:, None] == 1, p, 1 - p))
        whole = np.bincount(sample.image, sample.weight, sample.images)
        share.append(sample.weight / whole[sample.image] / (whole > 0).sum() / len(samples))
    return np.concatenate(right), np.concatenate(share)


class Judge:
    """Mean Dice of an image that weights reach on samples, each class at its best threshold.

    Given weights, all thresholds are scored by one histogram: the threshold needs no place among what is searched.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = [sample for sample in samples if len(sample.truth)]
        self._levels = [sample.levels.astype(np.float32) for sample in self.samples]
        self.columns = samples[0].levels.shape[1]

    def __call__(self, weights: np.ndarray) -> float:
        """Mean over classes."""
        return float(np.mean([mean_curve(each).max() for each in self.histograms(weights)])) if self.samples else float("nan")

    def histograms(self, weights: np.ndarray) -> list[np.ndarray]:
        """(image, 256, 3) a class that has voxels."""
        mixed = (np.rint(levels @ weights.astype(np.float32)).astype(np.int64) for levels in self._levels)
        return [sample.histograms(levels) for sample, levels in zip(self.samples, mixed, strict=True)]


def evolved_weights(
    samples: Sequence[Sample],
    starts: Sequence[np.ndarray] = (),
    seed: int = 0,
    generations: int = GENERATIONS,
) -> np.ndarray:
    """(column,) weights, not negative and of sum 1, with the highest mean Dice at their best thresholds: a (μ + λ) search.

    Each generation makes children of a parent (half of the time of the middle of two) by a normal step of size σ, cut at 0; the best of
    parents and children go on, so the result is never worse on the samples than what it starts from. σ grows and shrinks by the
    rule of a fifth (Rechenberg 1973).

    Args:
        samples: one a class, of the same columns.
        starts: weights to begin with, besides the plain mean and each column alone.
        seed: of the steps.
    """
    judge, random = Judge(samples), np.random.default_rng(seed)
    columns = judge.columns
    if columns == 1 or not judge.samples:
        return even(columns)
    first = [even(columns), *starts, *np.eye(columns)]
    ranked = sorted(((judge(w), -n, w) for n, w in enumerate(first)), key=lambda each: each[:2], reverse=True)[:PARENTS]
    size, number = 0.25, len(first)
    for _ in range(generations):
        best = ranked[0][0]
        children = []
        for _ in range(CHILDREN):
            one, other = (ranked[i][2] for i in random.integers(len(ranked), size=2))
            middle = (one + other) / 2 if random.random() < 0.5 else one
            child = np.maximum(middle + size * random.normal(size=columns), 0)
            if child.sum() > 0:
                number += 1
                children.append((judge(child / child.sum()), -number, child / child.sum()))
        better = sum(score > best for score, *_ in children)
        ranked = sorted([*ranked, *children], key=lambda each: each[:2], reverse=True)[:PARENTS]
        size = min(0.5, max(0.01, size * (1.5 if better > CHILDREN / 5 else 0.8)))
    return ranked[0][2]
