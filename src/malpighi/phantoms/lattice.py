"""Randomness that depends on the place alone: hashed lattices, smooth noise and grain.

Nothing here has a state. A number belongs to a lattice cell (a counter-based generator: a hash of cell, stream and
seed), so any box of a slide can be drawn from the cells near it, in any order and on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

GRAIN = 1024  # px: the period of `grain`; slide periods are multiples of it


def mixed(value: int) -> int:
    """A well-mixed 32-bit key from any integer (the finaliser of splitmix64)."""
    value = (value + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (value ^ (value >> 31)) & 0xFFFFFFFF


def uniform(iy: np.ndarray, ix: np.ndarray, key: int) -> np.ndarray:
    """A number in [0, 1) for each cell (iy, ix), float32; the index arrays broadcast (hash: lowbias32, C. Wellons)."""
    h = np.asarray(iy, np.int64).astype(np.uint32) * np.uint32(0x9E3779B1)
    h = np.asarray(h ^ np.uint32(key))
    h = np.asarray((h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6D))
    h = h + np.asarray(ix, np.int64).astype(np.uint32) * np.uint32(0x85EBCA77)
    h = np.asarray(h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D)
    h = np.asarray(h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B)
    h = h ^ (h >> np.uint32(16))
    return (h >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)


@dataclass(frozen=True, slots=True)
class Lattice:
    """A square lattice of cells `pitch` px wide, anchored at the slide's origin.

    Attributes:
        pitch: cell side, px.
        key: what tells this lattice's numbers from another's.
        wrap: cells after which the numbers repeat; 0 for never.
    """

    pitch: float
    key: int
    wrap: int = 0

    @classmethod
    def of(cls, pitch: float, seed: int, name: str, period: int | None = None) -> Lattice:
        """A lattice of about `pitch` px; with `period` (px) the pitch is moved to the next divisor of it."""
        key = mixed(mixed(seed) ^ int.from_bytes(name.encode()[:7], "big"))
        if period is None:
            return cls(float(pitch), key)
        count = max(1, round(period / pitch))
        return cls(period / count, key, count)

    def halved(self) -> Lattice:
        """The lattice of half the pitch; its cells are quarters of this one's."""
        return Lattice(self.pitch / 2, mixed(self.key + 77), 2 * self.wrap)

    def cells(self, start: tuple[float, float], stop: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        """Indices (n,) of the cells that meet the px rectangle, row by row."""
        low = (int(np.floor(a / self.pitch)) for a in start)
        high = (int(np.ceil(b / self.pitch)) for b in stop)
        y, x = (np.arange(a, b) for a, b in zip(low, high, strict=True))
        iy, ix = np.meshgrid(y, x, indexing="ij")
        return iy.ravel(), ix.ravel()

    def value(self, iy: np.ndarray, ix: np.ndarray, stream: int) -> np.ndarray:
        """Numbers in [0, 1), one a cell; each `stream` gives independent ones."""
        if self.wrap:
            iy, ix = iy % self.wrap, ix % self.wrap
        return uniform(iy, ix, mixed(self.key + stream))

    def draws(self, cell: tuple[int, int], count: int) -> list[float]:
        """`count` numbers in [0, 1) for one cell."""
        iy, ix = (c % self.wrap if self.wrap else c for c in cell)
        return [float(v) for v in uniform(np.arange(count), np.full(count, ix), mixed(self.key + (iy << 8)))]

    def points(self, iy: np.ndarray, ix: np.ndarray, jitter: float = 1.0) -> np.ndarray:
        """One point a cell, (n, 2) as (y, x) in px: the cell's centre moved by up to `jitter` half cells."""
        move = np.stack([self.value(iy, ix, 90), self.value(iy, ix, 91)], 1) - 0.5
        return (np.stack([iy, ix], 1) + 0.5 + jitter * move) * self.pitch

    def noise(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Smooth value noise in [-1, 1] at px positions; `y` and `x` broadcast, so a column and a row give a grid."""
        y, x = np.asarray(y) / self.pitch, np.asarray(x) / self.pitch
        iy, ix = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
        fy, fx = (y - iy).astype(np.float32), (x - ix).astype(np.float32)
        fy, fx = fy * fy * (3 - 2 * fy), fx * fx * (3 - 2 * fx)
        top = self.value(iy, ix, 0) * (1 - fx) + self.value(iy, ix + 1, 0) * fx
        low = self.value(iy + 1, ix, 0) * (1 - fx) + self.value(iy + 1, ix + 1, 0) * fx
        return 2 * (top * (1 - fy) + low * fy) - 1


@lru_cache(maxsize=4)
def _grain(sigma: float) -> np.ndarray:
    import cv2

    noise = np.random.Generator(np.random.Philox(round(1000 * sigma))).standard_normal((GRAIN, GRAIN), np.float32)
    pad = int(4 * sigma) + 1
    noise = cv2.GaussianBlur(np.pad(noise, pad, mode="wrap"), (0, 0), sigma)[pad:-pad, pad:-pad]
    return np.ascontiguousarray(noise / noise.std())


def grain(start: tuple[int, int], size: tuple[int, int], sigma: float, key: int = 0) -> np.ndarray:
    """Fine Gaussian texture of unit variance and correlation `sigma` px, by absolute position; repeats every 1024 px.

    Textures of one sigma are one picture, moved by `key`: a hash a pixel would cost more than all the rest.
    """
    rows, columns = ((a + move * key + np.arange(n)) % GRAIN for a, n, move in zip(start, size, (389, 613), strict=True))
    return _grain(sigma).take(rows, 0).take(columns, 1)
