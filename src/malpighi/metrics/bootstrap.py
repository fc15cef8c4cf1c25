"""Confidence intervals by resampling donors, not pixels: pixels of one donor are no independent witnesses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from malpighi.errors import RecipeError

FEWEST = 3
"""Fewer groups than this give no interval."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are made: percentiles of `resamples` draws of as many groups as there are, with replacement."""

    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 1 or not 0 < self.confidence < 1:
            raise RecipeError(f"bootstrap of {self.resamples} resamples at {self.confidence}: give ≥ 1, and 0 < confidence < 1")

    def sums(self, groups: Sequence[str], values: np.ndarray) -> np.ndarray | None:
        """Sums of `values` (row, quantity) over resampled groups: (resample, quantity); None for fewer than 3 groups.

        Every score that is made of sums follows from them, so that all intervals of a table share their draws.
        """
        names, member = np.unique(np.asarray(groups), return_inverse=True)
        if len(names) < FEWEST:
            return None
        totals = np.zeros((len(names), values.shape[1]))
        np.add.at(totals, member, values)
        rng = np.random.default_rng(self.seed)
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=self.resamples)
        return drawn @ totals

    def interval(self, sums: np.ndarray | None, score: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float] | None:
        """Interval of `score`, which makes (resample,) values of (resample, quantity) sums; undefined draws are left out."""
        if sums is None:
            return None
        values = score(sums)
        values = values[np.isfinite(values)]
        if not len(values):
            return None
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(values, [tail, 1 - tail])
        return float(low), float(high)
