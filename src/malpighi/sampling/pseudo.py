"""Pseudo-labels: a dense mask from a sparse annotation and a prediction, as much of it as is said to be missing.

Where annotators say which share of the vessels they drew (65 % of one kidney, 85 % of another), a threshold follows: the
one at which what is annotated is that share of what is annotated or predicted. It needs no tuning and no dense truth
(third place of "SenNet + HOA: Hacking the Human Vasculature in 3D", 2024).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from malpighi.errors import DataError

TOLERANCE = 0.02
"""How far the rate reached may be from the one asked for."""


@dataclass(frozen=True, slots=True)
class RateMatch:
    """The threshold found, and what it gives.

    Attributes:
        level: voxels with at least this stored probability are predicted; 1 to `top` + 1 (nothing is predicted).
        top: stored value of probability 1: 255 or 65535.
        annotated: voxels annotated; all of them stay.
        added: voxels predicted and not annotated.
        asked: annotation rate that was asked for.
    """

    level: int
    top: int
    annotated: int
    added: int
    asked: float

    @property
    def threshold(self) -> float:
        """`level` as a probability."""
        return self.level / self.top

    @property
    def dense(self) -> int:
        """Voxels of the dense mask."""
        return self.annotated + self.added

    @property
    def rate(self) -> float:
        """Annotated / dense, as reached."""
        return self.annotated / self.dense


def match_rate(
    parts: Iterable[tuple[np.ndarray, np.ndarray]], rate: float, name: str = "pseudo-labels", tolerance: float = TOLERANCE
) -> RateMatch:
    """Find the threshold at which the annotated voxels are the share `rate` of those annotated or predicted.

    Streamed: only a histogram is kept. The rate grows with the threshold in steps; the nearest step is taken.

    Args:
        parts: (probability, annotated) of one part of the image after the other, each voxel once: uint8 or uint16 whose
            largest value stands for 1, and bool.
        rate: share of the true voxels that the annotation holds, more than 0 and at most 1.
        name: what errors call it.
        tolerance: a rate reached that is further from `rate` is an error.

    Raises:
        DataError: nothing is annotated, or no threshold gives the rate; says which rates can be had.
    """
    if not 0 < rate <= 1:
        raise DataError(f"{name}: annotation rate {rate:g}; it is a share, more than 0 and at most 1 (65 % is 0.65)")
    annotated, counts = _histogram(parts, name)
    if not annotated:
        raise DataError(f"{name}: nothing is annotated, so no share of it can be; check the labels and --class")
    top = len(counts) - 1
    added = np.append(np.cumsum(counts[::-1])[::-1], 0)[1:]  # by level 1 … top + 1
    rates = annotated / (annotated + added)
    best = int(np.argmin(np.abs(rates - rate)))
    if abs(rates[best] - rate) > tolerance:
        raise DataError(f"{name}: an annotation rate of {rate:.1%} cannot be met: {_possible(rates, rate)}")
    return RateMatch(best + 1, top, annotated, int(added[best]), rate)


def _histogram(parts: Iterable[tuple[np.ndarray, np.ndarray]], name: str) -> tuple[int, np.ndarray]:
    """Voxels annotated; how many of the others have each stored probability."""
    annotated, counts = 0, np.zeros(0, np.int64)
    for probability, known in parts:
        if probability.dtype not in (np.uint8, np.uint16):
            raise DataError(
                f"{name}: probabilities of {probability.dtype}; they are stored as uint8 or uint16, 0 to 255 or 65535"
            )
        if not counts.size:
            counts = np.zeros(int(np.iinfo(probability.dtype).max) + 1, np.int64)
        annotated += int(known.sum())
        counts += np.bincount(probability[~known].ravel(), minlength=len(counts))
    return annotated, counts


def _possible(rates: np.ndarray, rate: float) -> str:
    if rate < rates[0]:
        return (
            f"every voxel with any probability gives {rates[0]:.1%}, and it cannot be less; "
            "predict with a network that finds more, or check the rate"
        )
    below, above = rates[rates < rate].max(), rates[rates > rate].min()
    return f"one step of the probability leads from {below:.1%} to {above:.1%}; ask for one of these, or predict anew"
