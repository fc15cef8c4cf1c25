"""Several series of boxes in one: which one a box comes from is drawn first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from malpighi.geometry import Box
from malpighi.sampling.places import chosen
from malpighi.sampling.plain_boxes import Sampler
from malpighi.sampling.seeds import stream


def mixed_boxes(parts: Sequence[tuple[float, Sampler]], seed: int) -> Sampler:
    """Number n is number n of one of the series, drawn by their shares; those need not add up to 1.

    So of a shuffled grid that has a share of s about a part s comes in each round: which part is left to chance.

    Args:
        parts: (share, series).
        seed: of the draw; series that are mixed of others need one of their own.

    Raises:
        ValueError: a share is negative, or all are 0.
    """
    shares = [share for share, _ in parts]
    if not shares or min(shares) < 0 or sum(shares) <= 0:
        raise ValueError(f"shares {shares}: give at least one series, shares of 0 or more and one above 0")
    if len(parts) == 1:
        return parts[0][1]
    return Sampler(partial(_mixed, np.cumsum(shares), tuple(series for _, series in parts), seed))


def of_cases(series: Sampler, cases: Sequence[int]) -> Sampler:
    """A series over some of the cases, with their numbers among all: its case k is `cases[k]`."""
    return Sampler(partial(_renumbered, series, tuple(cases)))


def _mixed(ends: np.ndarray, series: tuple[Sampler, ...], seed: int, n: int) -> tuple[int, Box]:
    return series[chosen(ends, stream(seed, n, 5))](n)


def _renumbered(series: Sampler, cases: tuple[int, ...], n: int) -> tuple[int, Box]:
    case, box = series(n)
    return cases[case], box
