"""What every cell shows whatever its protein does: microtubules, endoplasmic reticulum, nucleus, nucleoli, centrosome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from malpighi.phantoms.cell_layout import Site
from malpighi.phantoms.cell_shapes import Shapes
from malpighi.phantoms.cell_texture import mesh, smooth, splat, spots

_FILAMENTS = 95  # a cell


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
    for site, window in zip(sites, shapes.windows, strict=True):
        y = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None]
        x = np.arange(window[1].start, window[1].stop, dtype=np.float32)[None]
        for turn in rng.uniform(0, 2 * np.pi, rng.integers(1, 5)):
            far = site.nucleus_radius * rng.uniform(0.12, 0.55)
            radius = site.nucleus_radius * rng.uniform(0.13, 0.25)
            cy, cx = site.center[0] + far * np.sin(turn), site.center[1] + far * np.cos(turn)
            depth = (radius - np.hypot(y - cy, x - cx) * wave[window]) / unit + 0.5
            out[window] = np.maximum(out[window], np.clip(depth, 0, 1))
    return out


def _reticulum(shapes: Shapes, nucleus: np.ndarray, thickness: np.ndarray, unit: float, rng: np.random.Generator) -> np.ndarray:
    """A net that is densest around the nucleus and fades outwards, with the bright envelope of the nucleus."""
    shape = shapes.labels.shape
    net = mesh(shape, 4.5 * unit, rng)
    fade = np.exp(-shapes.away / np.float32(20 * unit)) * thickness
    # sheets near the nucleus, on one side more than on the other
    sheet = np.clip(0.55 + 0.35 * smooth(shape, 28 * unit, rng), 0.1, 1.3)
    out = fade * sheet * (0.28 + 0.85 * net) * (1 - nucleus)
    rim = np.exp(-((shapes.away / np.float32(1.8 * unit)) ** 2)) * (1 - nucleus)
    return ((out + 0.25 * rim + 0.09 * nucleus) * (shapes.labels > 0)).astype(np.float32)


def _microtubules(
    shapes: Shapes, sites: Sequence[Site], centrosomes: np.ndarray, unit: float, rng: np.random.Generator
) -> np.ndarray:
    """Filaments that leave the centrosome, go around the nucleus and bend along the cell's border."""
    shape = shapes.labels.shape
    if not len(sites):
        return np.zeros(shape, np.float32)
    threads = _Threads(shapes, sites, centrosomes, unit, rng)
    paths, alive = threads.run(130)
    fine = max(1, int(np.ceil(1.25 * unit)))  # points between two steps, so that no gap shows
    y, x, on = [], [], []
    for a, b, lives in zip(paths[:-1], paths[1:], alive[1:], strict=True):
        for k in range(fine):
            point = a + (b - a) * (k / fine)
            y.append(point[lives, 0])
            x.append(point[lives, 1])
            on.append(threads.weight[lives] / fine)
    light = splat(shape, np.concatenate(y), np.concatenate(x), np.concatenate(on))
    sigma = max(0.75 * unit, 0.5)
    sharp = cv2.GaussianBlur(light, (0, 0), sigma) * np.float32(np.sqrt(2 * np.pi) * sigma)
    out = 1 - np.exp(-0.45 * sharp)
    return (out * (shapes.labels > 0)).astype(np.float32)


class _Threads:
    """All filaments of an image, a step of one unit at a time."""

    def __init__(
        self, shapes: Shapes, sites: Sequence[Site], centrosomes: np.ndarray, unit: float, rng: np.random.Generator
    ) -> None:
        count = len(sites) * _FILAMENTS
        self.shapes, self.unit, self.rng = shapes, unit, rng
        self.owner = np.repeat(np.arange(1, len(sites) + 1), _FILAMENTS)
        start = np.repeat(centrosomes, _FILAMENTS, 0)
        turn = rng.uniform(0, 2 * np.pi, count)
        # not all are anchored: a part starts anywhere around the nucleus
        loose = rng.random(count) < 0.45
        centers = np.repeat(np.array([site.center for site in sites]), _FILAMENTS, 0)
        radius = np.repeat([site.nucleus_radius for site in sites], _FILAMENTS) * rng.uniform(0.9, 1.7, count)
        ring = centers + radius[:, None] * np.stack([np.sin(turn), np.cos(turn)], 1)
        self.at = np.where(loose[:, None], ring, start + rng.normal(0, 1.5 * unit, (count, 2)))
        turn = np.where(loose, turn + rng.choice([-1, 1], count) * rng.uniform(0.4, 1.5, count), turn)
        self.heading = np.stack([np.sin(turn), np.cos(turn)], 1)
        self.bend = rng.normal(0, 0.02, count)
        self.weight = rng.uniform(0.4, 1.0, count)
        self.length = rng.uniform(25, 130, count)
        self.alive = np.ones(count, bool)
        self.inward = _gradient(shapes.edge)
        self.outward = _gradient(np.minimum(shapes.rho, 2))

    def run(self, steps: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Positions, and which still live, after every step."""
        paths, alive = [self.at], [self.alive]
        for step in range(steps):
            self._step(step)
            paths.append(self.at)
            alive.append(self.alive)
            if not self.alive.any():
                break
        return paths, alive

    def _step(self, step: int) -> None:
        height, width = self.shapes.labels.shape
        y = np.clip(np.rint(self.at[:, 0]).astype(int), 0, height - 1)
        x = np.clip(np.rint(self.at[:, 1]).astype(int), 0, width - 1)
        near_edge = np.clip(1 - self.shapes.edge[y, x] / (9 * self.unit), 0, 1)
        near_nucleus = np.clip((1.25 - self.shapes.rho[y, x]) * 3, 0, 1)
        turned = self.heading + 0.55 * near_edge[:, None] * self.inward[:, y, x].T
        turned += 0.35 * near_nucleus[:, None] * self.outward[:, y, x].T
        swing = (self.bend + self.rng.normal(0, 0.07, len(y)))[:, None]
        turned += swing * np.stack([turned[:, 1], -turned[:, 0]], 1)
        self.heading = turned / np.maximum(np.hypot(*turned.T), 1e-6)[:, None]
        self.at = self.at + self.unit * self.heading
        y = np.clip(np.rint(self.at[:, 0]).astype(int), 0, height - 1)
        x = np.clip(np.rint(self.at[:, 1]).astype(int), 0, width - 1)
        self.alive = self.alive & (self.shapes.labels[y, x] == self.owner) & (step < self.length)


def _gradient(field: np.ndarray) -> np.ndarray:
    """(2, y, x) direction in which a field rises, of length 1."""
    field = cv2.GaussianBlur(field, (5, 5), 0)
    out = np.stack([cv2.Sobel(field, cv2.CV_32F, 0, 1), cv2.Sobel(field, cv2.CV_32F, 1, 0)])
    return out / np.maximum(np.hypot(*out), 1e-6)
