"""What tomography adds to a volume: rings about the axis of rotation, drift from slice to slice, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malpighi.geometry import Box
from malpighi.phantoms.grain import grain, key_of, noise

OFFSET, GAIN = 18000, 9000
"""16-bit value of brightness 0, and what a brightness of 1 adds: the range of HiP-CT kidneys."""


@dataclass(frozen=True)
class Artefacts:
    """Strengths of 1 are usual, 0 is none.

    Attributes:
        shape: of the volume: rotation was about its middle.
        seed: of all that is random here.
        rings: miscalibrated pixels of the detector, which draw circles in every z slice.
        drift: of the brightness from slice to slice.
        noise: of counted photons: its variance is proportional to the brightness.
    """

    shape: tuple[int, int, int]
    seed: int
    rings: float = 1.0
    drift: float = 1.0
    noise: float = 1.0

    def apply(self, box: Box, value: np.ndarray) -> np.ndarray:
        """The (z, y, x) uint16 that the detector would give for brightness `value` in `box`."""
        value = value * self._gain(box)[:, None, None] + self._rings(box)
        if self.noise:
            value = value + 0.06 * self.noise * np.sqrt(np.maximum(value, 0)) * grain(box, key_of(self.seed, "photons"))
        return np.asarray(np.clip(np.rint(OFFSET + GAIN * value), 0, 65535), np.uint16)

    def _gain(self, box: Box) -> np.ndarray:
        """(z,) factor of every slice: a slow wave and a jitter."""
        slices = Box((box.start[0], 0, 0), (box.size[0], 1, 1))
        slow = noise(slices, (1, 1, 1), (40, 1e9, 1e9), key_of(self.seed, "slow"))
        return np.asarray(1 + self.drift * (0.06 * slow + 0.015 * grain(slices, key_of(self.seed, "jitter"))))[:, 0, 0]

    def _rings(self, box: Box) -> np.ndarray:
        """What each voxel's distance from the axis adds; strongest near the axis, where a detector pixel is all of a ring."""
        if not self.rings:
            return np.zeros((1, 1, 1), np.float32)
        y, x = ((a + np.arange(n) + 0.5 - m / 2) for a, n, m in zip(box.start[1:], box.size[1:], self.shape[1:], strict=True))
        radius = np.hypot(y[:, None], x).astype(np.float32)
        most = int(np.hypot(*self.shape[1:])) + 2
        table = Box((box.start[0], 0, 0), (box.size[0], 1, 2 * most))  # half a voxel a step
        profile = noise(table, (1, 1, 0.5), (24, 1e9, 1.7), key_of(self.seed, "rings"))[:, 0]
        profile = np.sign(profile) * profile**2  # a few detector pixels are bad, most are not
        strength = 0.16 * self.rings / (1 + radius / (0.12 * most))
        return np.asarray(profile[:, np.rint(2 * radius).astype(np.int64)] * strength)
