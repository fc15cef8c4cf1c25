"""Scores of classifiers whose images (or cells) have any number of labels.

Everywhere `scores` is (item, class), higher where the label is likelier, and `targets` (item, class) is 1, 0, or NaN where
nobody said; such an item is left out for that class alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malpighi.errors import DataError


def average_precisions(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(class,) Σ (R_n - R_n-1) P_n over distinct scores, as scikit-learn's `average_precision_score`; nothing is interpolated.

    Equal scores are one step, so that their order says nothing. NaN where a class has no positive or no negative.
    """
    return np.array([_average_precision(*column) if _has_both(*column) else np.nan for column in _columns(scores, targets)])


def mean_ap(scores: np.ndarray, targets: np.ndarray) -> float:
    """Mean of `average_precisions` over the classes that have one; NaN where none has."""
    return _mean(average_precisions(scores, targets))


def best_thresholds(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(class,) the threshold with the highest F1: a label is given where score >= threshold.

    It lies in the middle between two scores: every threshold between them does the same. Of equally good ones the highest
    is taken. NaN where a class has no positive or no negative.
    """
    return np.array([_best_threshold(*column) if _has_both(*column) else np.nan for column in _columns(scores, targets)])


@dataclass(frozen=True, eq=False)
class F1:
    """2 TP / (2 TP + FP + FN).

    Attributes:
        by_class: (class,) NaN where a label is neither there nor given.
        macro: mean over classes that have one.
        micro: of the counts of all classes.
    """

    by_class: np.ndarray
    macro: float
    micro: float


def f1(scores: np.ndarray, targets: np.ndarray, thresholds: np.ndarray | float = 0.5) -> F1:
    """F1 where a label is given from its threshold on.

    Args:
        scores, targets: (item, class).
        thresholds: (class,), or one for all; where NaN the label is never given.
    """
    columns = _columns(scores, targets)
    limits = np.broadcast_to(np.asarray(thresholds, np.float64), (len(columns),))
    counts = np.array([_counts(s, t, limit) for (s, t), limit in zip(columns, limits, strict=True)]).reshape(-1, 2)
    whole = counts[:, 1]
    by_class = np.divide(counts[:, 0], whole, out=np.full(len(columns), np.nan), where=whole > 0)
    micro = float(counts[:, 0].sum() / whole.sum()) if whole.sum() else float("nan")
    return F1(by_class, _mean(by_class), micro)


def _counts(scores: np.ndarray, positive: np.ndarray, limit: float) -> tuple[int, int]:
    """2 TP, and 2 TP + FP + FN."""
    given = scores >= limit
    return 2 * int((given & positive).sum()), int(given.sum()) + int(positive.sum())


def _columns(scores: np.ndarray, targets: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """By class, the scores and whether the label is there, of the items where somebody said."""
    scores, targets = np.asarray(scores, np.float64), np.asarray(targets, np.float64)
    if scores.ndim != 2 or scores.shape != targets.shape:
        raise DataError(f"scores have shape {scores.shape}, targets {targets.shape}; both are (item, class)")
    said = ~np.isnan(targets)
    if not np.isin(targets[said], (0, 1)).all():
        raise DataError("targets are 1, 0, or NaN where nobody said")
    if np.isnan(scores[said]).any():
        item, label = (int(i[0]) for i in np.nonzero(np.isnan(scores) & said))
        raise DataError(f"the score of item {item} for class {label} is NaN; score every item, or set its target to NaN")
    return [(scores[m, c], targets[m, c] > 0) for c, m in enumerate(said.T)]


def _has_both(scores: np.ndarray, positive: np.ndarray) -> bool:
    return bool(positive.any() and not positive.all())


def _steps(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores from high to low, and how many true and how many items at all lie at or above each."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    return ranked[last], np.cumsum(positive[order])[last], last + 1


def _average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    _, true, given = _steps(scores, positive)
    gained = np.diff(true, prepend=0) / true[-1]
    return float((gained * true / given).sum())


def _best_threshold(scores: np.ndarray, positive: np.ndarray) -> float:
    values, true, given = _steps(scores, positive)
    best = int((2 * true / (given + true[-1])).argmax())
    return (_below(values, best) + float(values[best])) / 2


def _below(values: np.ndarray, step: int) -> float:
    """The next lower score: thresholds above it, up to that of `step`, give the same labels."""
    return float(values[min(step + 1, len(values) - 1)])


def _mean(values: np.ndarray) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if kept.size else float("nan")
