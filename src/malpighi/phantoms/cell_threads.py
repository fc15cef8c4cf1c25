"""Microtubules: filaments that leave the centrosome, go around the nucleus and bend along the cell's border."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numba import njit

from malpighi.phantoms.cell_layout import Site
from malpighi.phantoms.cell_shapes import Shapes

_FILAMENTS = 95  # a cell
_STEPS = 130  # of one unit each, at most


def threads(
    shapes: Shapes, sites: Sequence[Site], centrosomes: np.ndarray, unit: float, rng: np.random.Generator
) -> np.ndarray:
    """All filaments of an image as thin light: (y, x) float32, a filament's sum over its width is about 1."""
    count = len(sites) * _FILAMENTS
    turn = rng.uniform(0, 2 * np.pi, count)
    # not all are anchored: a part starts anywhere around the nucleus and goes along it
    loose = rng.random(count) < 0.45
    centers = np.repeat(np.array([site.center for site in sites]), _FILAMENTS, 0)
    radius = np.repeat([site.nucleus_radius for site in sites], _FILAMENTS) * rng.uniform(0.7, 1.8, count)
    ring = centers + radius[:, None] * np.stack([np.sin(turn), np.cos(turn)], 1)
    start = np.repeat(centrosomes, _FILAMENTS, 0) + rng.normal(0, 2.5 * unit, (count, 2))
    heading = np.where(loose, turn + rng.choice([-1, 1], count) * rng.uniform(0.5, 1.8, count), turn)
    out = np.zeros(shapes.labels.shape, np.float32)
    _walk(
        np.where(loose[:, None], ring, start),
        np.stack([np.sin(heading), np.cos(heading)], 1),
        np.repeat(np.arange(1, len(sites) + 1), _FILAMENTS),
        rng.uniform(25, _STEPS, count).astype(np.int64),
        rng.uniform(0.4, 1.0, count),
        (rng.normal(0, 0.015, count)[:, None] + rng.standard_normal((count, _STEPS), np.float32) * 0.05).astype(np.float32),
        rng.random(count) < 0.35,  # these pass above or below the nucleus
        shapes.labels,
        shapes.edge,
        shapes.rho,
        _gradient(shapes.edge),
        _gradient(np.minimum(shapes.rho, 2)),
        unit,
        out,
    )
    return out


def _gradient(field: np.ndarray) -> np.ndarray:
    """(2, y, x) direction in which a field rises, of length 1."""
    field = cv2.GaussianBlur(field, (5, 5), 0)
    rise = [cv2.Sobel(field, cv2.CV_32F, 0, 1), cv2.Sobel(field, cv2.CV_32F, 1, 0)]
    length = np.maximum(cv2.magnitude(*rise), 1e-6)
    return np.stack([r / length for r in rise])


@njit(cache=True)
def _walk(
    at: np.ndarray,
    heading: np.ndarray,
    owner: np.ndarray,
    length: np.ndarray,
    weight: np.ndarray,
    bend: np.ndarray,
    across: np.ndarray,
    labels: np.ndarray,
    edge: np.ndarray,
    rho: np.ndarray,
    inward: np.ndarray,
    outward: np.ndarray,
    unit: float,
    out: np.ndarray,
) -> None:
    """Walk each filament until it leaves its cell or is long enough; light falls on four pixels at points less than 1 px apart."""
    height, width = labels.shape
    fine = int(np.ceil(1.25 * unit))
    for i in range(len(at)):
        y, x = at[i, 0], at[i, 1]
        v, u = heading[i, 0], heading[i, 1]
        for step in range(length[i]):
            iy, ix = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
            if iy < 1 or ix < 1 or iy >= height - 2 or ix >= width - 2 or labels[iy, ix] != owner[i]:
                break
            push = 0.4 * min(1.0, max(0.0, 1 - edge[iy, ix] / (9 * unit)))
            if v * inward[0, iy, ix] + u * inward[1, iy, ix] > 0.15:
                push = 0.0  # it has turned already: no more, or it would swing to and fro
            v += push * inward[0, iy, ix]
            u += push * inward[1, iy, ix]
            if not across[i]:
                push = 0.3 * min(1.0, max(0.0, (1.2 - rho[iy, ix]) * 4))
                if v * outward[0, iy, ix] + u * outward[1, iy, ix] > 0.15:
                    push = 0.0
                v += push * outward[0, iy, ix]
                u += push * outward[1, iy, ix]
            v, u = v - bend[i, step] * u, u + bend[i, step] * v
            norm = np.sqrt(v * v + u * u) + 1e-9
            v /= norm
            u /= norm
            share = weight[i] / fine * unit
            for k in range(fine):
                py, px = y + v * unit * k / fine, x + u * unit * k / fine
                a, b = int(np.floor(py)), int(np.floor(px))
                if a < 0 or b < 0 or a >= height - 1 or b >= width - 1:
                    break
                fy, fx = py - a, px - b
                out[a, b] += share * (1 - fy) * (1 - fx)
                out[a, b + 1] += share * (1 - fy) * fx
                out[a + 1, b] += share * fy * (1 - fx)
                out[a + 1, b + 1] += share * fy * fx
            y += v * unit
            x += u * unit
