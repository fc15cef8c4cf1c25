"""The most probable voxels of an image: probabilities are kept until all are known, counted, and cut where the wanted share is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.geometry import Box, Spacing
from malpighi.images.write import ZarrWriter

LEVELS = 65_535
"""Probability 1 as it is kept, in 16 bits: steps of 0.000015."""


class Kept:
    """Probabilities of a whole image in a file, 16 bits each, written and read box by box.

    Attributes:
        align: shape of the boxes that are written.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        spacing: Spacing,
        classes: Sequence[str],
        *,
        chunk: int | Sequence[int] | None = None,
        shard: int | Sequence[int] | None = None,
        resume: bool = False,
    ) -> None:
        layout: dict[str, Any] = {"chunk": chunk, "shard": shard, "resume": resume, "overwrite": not resume}
        self._writer = ZarrWriter(path, shape, spacing, np.uint16, channels=tuple(classes), **layout)
        self.shape, self.align = self._writer.shape, self._writer.shard
        self._count = len(classes)

    def write(self, box: Box, probabilities: np.ndarray) -> None:
        """Keep a box, (class, *box.size) float32."""
        self._writer.write(box, np.rint(probabilities * np.float32(LEVELS)).astype(np.uint16))

    def read(self, box: Box) -> np.ndarray:
        """(class, *box.size) uint16, `LEVELS` stands for 1."""
        return np.asarray(self._writer.level0()[(slice(None), *box.slices)])

    def limits(self, top: float) -> tuple[int, ...]:
        """For each class the level from which on voxels are among its `top` per cent; the image is read once for it."""
        counts = np.zeros((self._count, LEVELS + 1), np.int64)
        for box in Box.of_shape(self.shape).split(self.align):
            for number, values in enumerate(self.read(box)):
                counts[number] += np.bincount(values.ravel(), minlength=LEVELS + 1)
        return tuple(limit(line, top) for line in counts)


def limit(counts: np.ndarray, top: float) -> int:
    """The highest level such that at least `top` per cent of all voxels are on it or above.

    Voxels as probable as the last one that is wanted are all in. Level 0 is never reached: where fewer voxels than are wanted
    have any probability, those that have.

    Args:
        counts: (level,) voxels by level, all voxels of the image.
    """
    wanted = round(float(counts.sum()) * top / 100)
    above = counts[::-1].cumsum()[::-1]
    if wanted == 0:
        return len(counts)
    return max(1, int(np.flatnonzero(above >= wanted)[-1]))
