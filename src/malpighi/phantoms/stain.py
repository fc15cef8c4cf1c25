"""Stains: how much of each dye a structure takes up, and the colour that comes of it (Beer and Lambert)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from malpighi.phantoms.lattice import grain

Stain = Literal["pas", "he", "dab"]
Amounts = tuple[float, float]


@dataclass(frozen=True)
class Palette:
    """Two dyes: their absorbance of red, green and blue light, and their amount in each structure.

    Directions follow Ruifrok and Johnston (2001), turned towards what scanners show of kidney.
    """

    chromogen: tuple[float, float, float]
    haematoxylin: tuple[float, float, float]
    amounts: Mapping[str, Amounts]


PALETTES: dict[Stain, Palette] = {
    "pas": Palette(
        (0.36, 0.86, 0.34),
        (0.78, 0.58, 0.22),
        {
            "interstitium": (0.28, 0.10),
            "fibre": (0.55, 0.18),
            "proximal": (0.50, 0.16),
            "distal": (0.28, 0.17),
            "lumen": (0.03, 0.02),
            "brush": (0.72, 0.22),
            "membrane": (1.15, 0.28),
            "nucleus": (0.40, 1.05),
            "space": (0.03, 0.02),
            "capsule": (0.98, 0.30),
            "capillary": (0.14, 0.10),
            "loop": (0.95, 0.26),
            "mesangium": (0.95, 0.28),
            "muscle": (0.52, 0.28),
            "scar": (0.72, 0.24),
            "blood": (0.42, 0.18),
        },
    ),
    "he": Palette(
        (0.16, 0.93, 0.33),
        (0.70, 0.66, 0.28),
        {
            "interstitium": (0.36, 0.10),
            "fibre": (0.60, 0.10),
            "proximal": (0.82, 0.22),
            "distal": (0.50, 0.20),
            "lumen": (0.04, 0.02),
            "brush": (0.72, 0.18),
            "membrane": (0.62, 0.20),
            "nucleus": (0.40, 1.45),
            "space": (0.03, 0.02),
            "capsule": (0.62, 0.26),
            "capillary": (0.22, 0.12),
            "loop": (0.60, 0.26),
            "mesangium": (0.62, 0.38),
            "muscle": (0.82, 0.20),
            "scar": (0.80, 0.12),
            "blood": (1.35, 0.05),
        },
    ),
    "dab": Palette(
        (0.33, 0.55, 0.76),
        (0.82, 0.62, 0.17),
        {
            "interstitium": (0.07, 0.13),
            "fibre": (0.16, 0.22),
            "proximal": (0.40, 0.06),
            "distal": (0.34, 0.08),
            "lumen": (0.04, 0.02),
            "brush": (0.3, 0.05),
            "membrane": (0.26, 0.22),
            "nucleus": (0.15, 1.15),
            "space": (0.02, 0.02),
            "capsule": (0.38, 0.34),
            "capillary": (0.16, 0.06),
            "loop": (0.62, 0.16),
            "mesangium": (1.35, 0.16),
            "muscle": (0.28, 0.20),
            "scar": (0.55, 0.14),
            "blood": (0.30, 0.05),
        },
    ),
}


@dataclass(frozen=True, slots=True)
class Batch:
    """How one slide was stained and scanned: the variation between slides, drawn from its seed."""

    dyes: np.ndarray  # (2, 3), absorbance of RGB
    strength: tuple[float, float]
    white: np.ndarray  # (3,), the scanner's white
    blur: float  # px

    @classmethod
    def of(cls, stain: Stain, seed: int, strength: float, variation: float) -> Batch:
        """The batch of a slide; `variation` 0 gives the palette's own colours, 1 the spread between laboratories."""
        palette = PALETTES[stain]
        draw = np.random.Generator(np.random.Philox([seed, 7]))
        dyes = np.array([palette.chromogen, palette.haematoxylin])
        dyes = np.clip(dyes + 0.045 * variation * draw.standard_normal((2, 3)), 0.03, 1.2)
        factors = strength * np.exp(0.18 * variation * draw.standard_normal(2))
        white = 243 - 6 * variation * draw.random(3) + np.array([1.0, 0.0, 1.0])
        return cls(dyes, (float(factors[0]), float(factors[1])), white, 0.42 + 0.25 * variation * float(draw.random()))


def glass(start: tuple[int, int], size: tuple[int, int], batch: Batch) -> np.ndarray:
    """Light through bare glass, (y, x, RGB) float32: the scanner's white with the shading across its 1024 px strips."""
    x = (start[1] + np.arange(size[1])) % 1024
    shading = 1 - 0.008 * (1 - np.cos(2 * np.pi * x / 1024))
    return (np.broadcast_to(shading[None, :, None], (*size, 3)) * batch.white).astype(np.float32)


def develop(amounts: np.ndarray, start: tuple[int, int], batch: Batch) -> np.ndarray:
    """The picture of a section, (y, x, RGB) uint8, before cropping: absorption, blur of the objective, noise of the sensor.

    Args:
        amounts: (2, y, x) float32, amounts of chromogen and haematoxylin.
        start: absolute position of the array's first pixel (y, x).
    """
    import cv2

    size = amounts.shape[1:]
    dyes = (batch.dyes * np.array(batch.strength)[:, None]).astype(np.float32)
    optical = np.stack([amounts[0] * dyes[0, c] + amounts[1] * dyes[1, c] for c in range(3)], -1)
    light = cv2.exp(-optical) * glass(start, size, batch)
    light = cv2.GaussianBlur(light, (0, 0), batch.blur)
    for c in range(3):
        light[..., c] += 1.6 * grain(start, size, 0.5, c)
    return np.clip(light + 0.5, 0, 255).astype(np.uint8)
