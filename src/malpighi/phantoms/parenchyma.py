"""What lies between the vessels of a kidney, as X-rays see it: cortex and medulla, tubules, glomeruli, cysts. Sizes are human, µm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malpighi.geometry import Box
from malpighi.phantoms.grain import balls, key_of, noise
from malpighi.phantoms.organ import Organ

TUBULE = 70.0  # µm: pitch of the tubules' mottle
GLOMERULUS = (70.0, 115.0)  # µm: radii
CYST = (130.0, 320.0)  # µm: radii
VESSEL = 0.22  # how much brighter than the tissue around it a vessel is
MEDIUM = 0.16  # brightness outside the organ


@dataclass(frozen=True)
class Parenchyma:
    """Tissue without its vessels.

    Attributes:
        organ: whose tissue.
        spacing: µm per voxel, (z, y, x).
        seed: of the texture.
    """

    organ: Organ
    spacing: tuple[float, ...]
    seed: int

    def draw(self, box: Box) -> np.ndarray:
        """Brightness of tissue, about 0.15 to 0.75: (z, y, x) float32."""
        z, y, x = self._places(box)
        depth = self.organ.depth(z[:, None, None], y[:, None], x).astype(np.float32)
        wall = self._noise(box, 400.0, "surface")
        inside = np.clip((depth + 0.03 * wall) / 0.02, 0, 1)
        return np.asarray(MEDIUM + (self._tissue(box, depth) - MEDIUM) * inside, np.float32)

    def _tissue(self, box: Box, depth: np.ndarray) -> np.ndarray:
        """Brightness where all were tissue; `depth` is 0 at the surface and 1 in the middle."""
        medulla = np.clip((depth + 0.06 * self._noise(box, 500.0, "border") - 0.28) / 0.25, 0, 1)
        wide = min(self.organ.size) / 2
        value = 0.40 - 0.07 * medulla + 0.13 * self._noise(box, wide, "wide") + 0.05 * self._noise(box, wide / 3, "middle")
        tubules = np.abs(self._noise(box, TUBULE, "tubule")) + np.abs(self._noise(box, 1.6 * TUBULE, "tubul2"))
        value += 0.13 * (0.55 - tubules)  # bright lines where two smooth fields change their sign: folds, walls, lumina
        value += 0.03 * self._noise(box, 2 * max(self.spacing), "fine")
        glomeruli = self._balls(box, 2.6 * GLOMERULUS[1], GLOMERULUS, 0.30, "tuft")
        value += (1 - medulla) * _edge(glomeruli, 12.0) * (VESSEL * 0.95 + 0.05 * self._noise(box, 60.0, "tufts"))
        for brightness, name in ((1.0, "cyst"), (-0.7, "hollow")):
            value += brightness * VESSEL * _edge(self._balls(box, 2.2 * CYST[1], CYST, 0.06, name), 15.0)
        return np.asarray(value)

    def _places(self, box: Box) -> list[np.ndarray]:
        return [(a + np.arange(n) + 0.5) * s for a, n, s in zip(box.start, box.size, self.spacing, strict=True)]

    def _noise(self, box: Box, pitch: float, name: str) -> np.ndarray:
        return noise(box, self.spacing, (pitch, pitch, pitch), key_of(self.seed, name))

    def _balls(self, box: Box, pitch: float, radius: tuple[float, float], share: float, name: str) -> np.ndarray:
        return balls(box, self.spacing, pitch, radius, share, key_of(self.seed, name))


def _edge(deep: np.ndarray, width: float) -> np.ndarray:
    """0 outside, 1 from `width` µm below the surface."""
    return np.asarray(np.clip(deep / width, 0, 1))
