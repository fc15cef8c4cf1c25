"""A bounded sample of the voxels of many images, drawn as they stream by: what weights are searched on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from malpighi.metrics.stability import LEVELS

_EDGES = np.array([4, 32, 80, 128, 176, 224, 252])
"""Mean levels between which a stratum lies: narrow where everybody is sure, and nearly all voxels are."""
STRATA = (len(_EDGES) + 1) * 2


@dataclass(frozen=True, eq=False)
class Sample:
    """Voxels of one class, of all images.

    Attributes:
        levels: (voxel, column) uint8, 255 stands for probability 1.
        truth: (voxel,) uint8 0 or 1.
        weight: (voxel,) float64, how many voxels each stands for.
        image: (voxel,) int64 number of its image.
        images: how many images there are; those where the class was not labelled have no voxel here.
    """

    levels: np.ndarray
    truth: np.ndarray
    weight: np.ndarray
    image: np.ndarray
    images: int

    @classmethod
    def of(cls, drawn: Sequence[Sample]) -> Sample:
        """One sample of several images, from those of one image each, in order."""
        image = np.concatenate([np.full(len(each.truth), number) for number, each in enumerate(drawn)])
        levels, truth, weight = (
            np.concatenate([getattr(each, name) for each in drawn]) for name in ("levels", "truth", "weight")
        )
        return cls(levels, truth, weight, image.astype(np.int64), len(drawn))

    def histograms(self, levels: np.ndarray) -> np.ndarray:
        """(image, 256, 3) what each image's histogram is estimated to be where its voxels have these (voxel,) levels."""
        cell = (self.image * LEVELS + levels) * 3 + self.truth
        return np.bincount(cell, self.weight, self.images * LEVELS * 3).reshape(self.images, LEVELS, 3)

    def only(self, images: np.ndarray) -> Sample:
        """The voxels of the images where (image,) bool holds; images keep their numbers."""
        kept = images[self.image]
        return Sample(self.levels[kept], self.truth[kept], self.weight[kept], self.image[kept], self.images)


class Drawer:
    """Draws voxels of one image and class, as many from each stratum of truth × mean probability as from any other.

    Most voxels are surely background; what decides between weights and thresholds is the rest. Each voxel gets a random number and of
    each stratum the lowest are kept: one pass, and memory of the sample alone.

    Args:
        most: voxels to keep at most.
        seed: of the random numbers; the same voxels in the same order give the same sample.
    """

    def __init__(self, columns: int, most: int, seed: Sequence[int]) -> None:
        self.quota = max(1, most // STRATA)
        self._random = np.random.default_rng(list(seed))
        self._columns = columns
        self._counts = np.zeros(STRATA, np.int64)
        self._limits = np.ones(STRATA, np.float32)
        self._keys: list[np.ndarray] = [np.empty(0, np.float32)] * STRATA
        self._levels: list[np.ndarray] = [np.empty((0, columns), np.uint8)] * STRATA

    def add(self, levels: np.ndarray, truth: np.ndarray) -> None:
        """Take part of the image: (column, *spatial) uint8 levels, (*spatial) uint8 truth of 0, 1 and anything for unlabelled."""
        truth = truth.ravel()
        flat = levels.reshape(self._columns, -1)
        known = np.flatnonzero(truth <= 1)
        mean = flat.sum(0, dtype=np.uint32)[known] // self._columns
        stratum = np.digitize(mean, _EDGES) * 2 + truth[known]
        self._counts += np.bincount(stratum, minlength=STRATA)
        keys = self._random.random(len(known), np.float32)
        low = np.flatnonzero(keys < self._limits[stratum])
        for s in np.unique(stratum[low]):
            mine = low[stratum[low] == s]
            every = np.concatenate([self._keys[s], keys[mine]])
            kept = np.argsort(every, kind="stable")[: self.quota]
            self._levels[s] = np.concatenate([self._levels[s], flat[:, known[mine]].T])[kept]
            self._keys[s] = every[kept]
            if len(kept) == self.quota:
                self._limits[s] = every[kept[-1]]

    def drawn(self) -> Sample:
        """What was drawn, as the sample of one image."""
        sizes = [len(keys) for keys in self._keys]
        truth = np.repeat(np.arange(STRATA) % 2, sizes).astype(np.uint8)
        weight = np.repeat(self._counts / np.maximum(sizes, 1), sizes)
        return Sample(np.concatenate(self._levels), truth, weight, np.zeros(len(truth), np.int64), 1)
