"""What every cell shows whatever its protein does: microtubules, endoplasmic reticulum, nucleus, nucleoli, centrosome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from malpighi.phantoms.cell_layout import Site
from malpighi.phantoms.cell_shapes import Shapes
from malpighi.phantoms.cell_texture import mesh, smooth
from malpighi.phantoms.cell_threads import threads


@dataclass(frozen=True, eq=False)
class Structures:
    """Fields over the canvas, (y, x) float32, about 0 … 1.

    Attributes:
        unit: px that 1/110 of a cell's diameter takes: sizes of organelles are given in it.
        nucleus: 1 in nuclei, with soft borders.
        thickness: of the cell; it thins out towards its border.
        nucleoli: 1 in them.
        microtubules: filaments.
        reticulum: the net of the endoplasmic reticulum.
        fine, coarse: noise, mean 0, for textures.
        centrosomes: (cell, 2) y, x.
    """

    unit: float
    nucleus: np.ndarray
    thickness: np.ndarray
    nucleoli: np.ndarray
    microtubules: np.ndarray
    reticulum: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray
    centrosomes: np.ndarray


def build(shapes: Shapes, sites: Sequence[Site], diameter: float, rng: np.random.Generator) -> Structures:
    """Everything that is drawn once an image."""
    shape = shapes.labels.shape
    unit = diameter / 110
    radius = np.mean([site.nucleus_radius for site in sites]) if sites else 1.0
    nucleus = np.clip((1 - shapes.rho) * np.float32(radius / (1.5 * unit)) + 0.5, 0, 1)
    thickness = np.sqrt(np.clip(shapes.edge / np.float32(16 * unit), 0, 1))
    centrosomes = np.array([_centrosome(shapes, site, n) for n, site in enumerate(sites, 1)]).reshape(-1, 2)
    return Structures(
        unit,
        nucleus.astype(np.float32),
        thickness.astype(np.float32),
        _nucleoli(shapes, sites, unit, rng) * nucleus,
        _microtubules(shapes, sites, centrosomes, unit, rng),
        _reticulum(shapes, nucleus, thickness, unit, rng),
        smooth(shape, 2.2 * unit, rng),
        smooth(shape, 7 * unit, rng),
        centrosomes,
    )


def _centrosome(shapes: Shapes, site: Site, number: int) -> tuple[float, float]:
    """A point of the cell beside its nucleus, on the side where the cell is widest."""
    best, found = -1.0, site.center
    for i in range(0, len(site.nucleus), 16):
        turn, far = i * 2 * np.pi / len(site.nucleus), float(site.nucleus[i]) * 1.28
        at = site.center[0] + far * np.sin(turn), site.center[1] + far * np.cos(turn)
        y, x = round(at[0]), round(at[1])
        if 0 <= y < shapes.labels.shape[0] and 0 <= x < shapes.labels.shape[1] and shapes.labels[y, x] == number:
            room = float(shapes.edge[y, x])
            if room > best and shapes.rho[y, x] > 1.05:
                best, found = room, at
    return found


def _nucleoli(shapes: Shapes, sites: Sequence[Site], unit: float, rng: np.random.Generator) -> np.ndarray:
    """One to four dark, roundish bodies a nucleus, with wavy borders."""
    shape = shapes.labels.shape
    wave = 1 + 0.22 * smooth(shape, 5 * unit, rng)
    out = np.zeros(shape, np.float32)
    for site in sites:
        half = int(site.nucleus.max()) + 2
        window = tuple(slice(max(0, int(c) - half), max(0, int(c) + half)) for c in site.center)
        y = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None]
        x = np.arange(window[1].start, window[1].stop, dtype=np.float32)[None]
        for turn in rng.uniform(0, 2 * np.pi, rng.integers(1, 5)):
            far = site.nucleus_radius * rng.uniform(0.12, 0.55)
            radius = site.nucleus_radius * rng.uniform(0.13, 0.25)
            cy, cx = site.center[0] + far * np.sin(turn), site.center[1] + far * np.cos(turn)
            depth = (radius - np.sqrt((y - cy) ** 2 + (x - cx) ** 2) * wave[window]) / unit + 0.5
            out[window] = np.maximum(out[window], np.clip(depth, 0, 1))
    return out


def _reticulum(shapes: Shapes, nucleus: np.ndarray, thickness: np.ndarray, unit: float, rng: np.random.Generator) -> np.ndarray:
    """A net that is densest around the nucleus and fades outwards, with the bright envelope of the nucleus."""
    shape = shapes.labels.shape
    net = cv2.GaussianBlur(mesh(shape, 4.2 * unit, rng), (0, 0), max(0.5, 0.7 * unit))
    fade = np.exp(-shapes.away / np.float32(20 * unit)) * thickness
    # sheets near the nucleus, on one side more than on the other
    sheet = np.clip(0.55 + 0.35 * smooth(shape, 28 * unit, rng), 0.1, 1.3)
    out = fade * sheet * (0.33 + 0.85 * net) * (1 - nucleus)
    rim = np.exp(-((shapes.away / np.float32(1.8 * unit)) ** 2)) * (1 - nucleus)
    return ((out + 0.25 * rim + 0.09 * nucleus) * (shapes.labels > 0)).astype(np.float32)


def _microtubules(
    shapes: Shapes, sites: Sequence[Site], centrosomes: np.ndarray, unit: float, rng: np.random.Generator
) -> np.ndarray:
    """Filaments, thinning out where many lie over one another, as a picture saturates."""
    if not len(sites):
        return np.zeros(shapes.labels.shape, np.float32)
    light = threads(shapes, sites, centrosomes, unit, rng)
    sigma = max(0.7 * unit, 0.5)
    sharp = cv2.GaussianBlur(light, (0, 0), sigma) * np.float32(np.sqrt(2 * np.pi) * sigma)
    return ((1 - np.exp(-0.3 * sharp)) * (shapes.labels > 0)).astype(np.float32)
