"""Which sample is drawn: rare labels more often, and number n always the same one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from malpighi.errors import DataError
from malpighi.sampling.seeds import stream


def balanced_draw(targets: np.ndarray, balance: float, seed: int) -> Callable[[int], int]:
    """Sample number → row of `targets`, with replacement; every number is drawn by itself, so that a run can go on anywhere.

    A row's weight is (1 / count)^balance of the rarest label that it has; rows that are known to have none count as a label
    of their own. 0 draws rows as they come; with 1 and rows of one label each, all labels come equally often.

    Args:
        targets: (row, class) 0 … 1, above 1/2 a row has the label; a row of NaN alone is never drawn.

    Raises:
        DataError: no row can be drawn.
    """
    rows, weights = row_weights(targets, balance)
    if not len(rows):
        raise DataError("nothing to learn from: of no sample of the training set it is known what it shows")
    edges = np.cumsum(weights)
    return lambda number: int(rows[_place(edges, stream(seed, 1, number).random())])


def row_weights(targets: np.ndarray, balance: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows that can be drawn, and how likely each is: (n,) int64, (n,) float64 that add up to 1 (both may be empty)."""
    rows = np.flatnonzero(~np.isnan(targets).all(1)) if len(targets) else np.zeros(0, np.int64)
    has = targets[rows] > 0.5  # NaN is not
    has = np.column_stack([has, ~has.any(1)])
    counts = has.sum(0)
    each = np.where(has, (1 / np.maximum(counts, 1)) ** balance, 0.0).max(1, initial=0.0)
    return rows, each / each.sum() if len(rows) else each


def _place(edges: np.ndarray, part: float) -> int:
    """Which of the intervals that end at `edges` holds `part` of the last edge."""
    return min(int(np.searchsorted(edges, part * edges[-1], side="right")), len(edges) - 1)
