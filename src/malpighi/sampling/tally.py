"""Tally: how often each value occurs in an image of any size, and from it exact percentiles and moments."""

from __future__ import annotations

import math

import numpy as np

_BINS = 2**16
_PART = 2**20  # values worked at once


class Tally:
    """Counts of the values of one channel.

    Whole numbers of 8 and 16 bits are counted as they are, in one pass. All others are taken as float32 and counted by their
    16 leading bits; a second pass (`refine`, then `add` again) counts the 16 others, for those bins alone in which a wanted
    percentile lies. Either way the percentiles are those of the sorted values, not of bins.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.whole = np.issubdtype(dtype, np.integer) and np.dtype(dtype).itemsize <= 2
        self._low = int(np.iinfo(dtype).min) if self.whole else 0
        self.counts = np.zeros(_BINS, np.int64)
        self._sums = np.zeros(_BINS)
        self._squares = np.zeros(_BINS)
        self._fine: dict[int, np.ndarray] | None = None

    def add(self, values: np.ndarray) -> None:
        """Count values of any shape; none may be NaN."""
        flat = values.reshape(-1)
        for first in range(0, flat.size, _PART):
            part = flat[first : first + _PART]
            if self.whole:
                self.counts += np.bincount(part.astype(np.int64) - self._low, minlength=_BINS)
            elif self._fine is None:
                self._add_coarse(part.astype(np.float32))
            else:
                self._add_fine(part.astype(np.float32))

    def refine(self, percentiles: tuple[float, ...]) -> bool:
        """Prepare the second pass; False where none is needed."""
        if self.whole:
            return False
        wanted = {rank for p in percentiles for rank in self._ranks(p)}
        self._fine = {self._bin(rank): np.zeros(_BINS, np.int64) for rank in wanted}
        return True

    def percentile(self, percentile: float) -> float:
        """As `numpy.percentile`: linear between neighbours in rank."""
        lower, upper = (self._at(rank) for rank in self._ranks(percentile))
        exact = percentile / 100 * (self.counts.sum() - 1)
        return lower + (upper - lower) * (exact - math.floor(exact))

    def moments(self, low: float = -math.inf, high: float = math.inf) -> tuple[float, float]:
        """Mean and standard deviation of the values clipped to `low` … `high`, which are percentiles asked for before."""
        total, square = 0.0, 0.0
        for values, counts, squares in self._groups():
            inside = (values >= low) & (values <= high)
            clipped = np.clip(values, low, high)
            total += float((clipped * counts).sum())
            square += float(np.where(inside, squares, clipped**2 * counts).sum())
        n = int(self.counts.sum())
        mean = total / n
        return mean, math.sqrt(max(0.0, square / n - mean**2))

    def _groups(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(values, counts, sums of squares): bins, which lie on one side of every limit, and single values of refined ones."""
        if self.whole:
            values = np.arange(_BINS, dtype=float) + self._low
            return [(values, self.counts, values**2 * self.counts)]
        fine = self._fine or {}
        some = np.flatnonzero(self.counts)
        rest = some[~np.isin(some, list(fine))]
        groups = [(self._sums[rest] / self.counts[rest], self.counts[rest], self._squares[rest])]
        for number, counts in fine.items():
            held = np.flatnonzero(counts)
            values = _value(np.uint32(number << 16) | held.astype(np.uint32)).astype(float)
            groups.append((values, counts[held], values**2 * counts[held]))
        return groups

    def _ranks(self, percentile: float) -> tuple[int, int]:
        exact = percentile / 100 * (self.counts.sum() - 1)
        return math.floor(exact), math.ceil(exact)

    def _bin(self, rank: int) -> int:
        return int(np.searchsorted(np.cumsum(self.counts), rank, side="right"))

    def _at(self, rank: int) -> float:
        """The value of this rank, from 0."""
        number = self._bin(rank)
        if self.whole:
            return float(number + self._low)
        assert self._fine is not None, "refine first"
        before = int(self.counts[:number].sum())
        fine = int(np.searchsorted(np.cumsum(self._fine[number]), rank - before, side="right"))
        return float(_value(np.array([number << 16 | fine], np.uint32))[0])

    def _add_coarse(self, part: np.ndarray) -> None:
        bins = (_key(part) >> 16).astype(np.int64)
        wide = part.astype(np.float64)
        self.counts += np.bincount(bins, minlength=_BINS)
        self._sums += np.bincount(bins, wide, _BINS)
        self._squares += np.bincount(bins, wide**2, _BINS)

    def _add_fine(self, part: np.ndarray) -> None:
        assert self._fine is not None
        keys = _key(part)
        for number in self._fine:
            self._fine[number] += np.bincount((keys[keys >> 16 == number] & (_BINS - 1)).astype(np.int64), minlength=_BINS)


def _key(values: np.ndarray) -> np.ndarray:
    """float32 → uint32 in the same order."""
    bits = (values + np.float32(0)).view(np.uint32)  # - 0 becomes 0
    return np.where(bits >> 31, ~bits, bits | np.uint32(0x80000000))


def _value(keys: np.ndarray) -> np.ndarray:
    """Back from `_key`."""
    return np.where(keys >> 31, keys & np.uint32(0x7FFFFFFF), ~keys).astype(np.uint32).view(np.float32)
