"""Where the cells of a phantom lie: centres, outlines and nuclei, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malpighi.errors import DataError

ANGLES = 256
"""Entries of a radius table: a radius for every 1/256 turn."""
_SPREAD = 0.62  # usual distance of two centres, in diameters: cells of a sheet touch
_AREA = 1.15  # squared diameters that a cell would cover alone, fitted to what `share` 0.2 to 0.8 gave over 12 seeds


@dataclass(frozen=True, eq=False)
class Site:
    """One cell to be.

    Attributes:
        center: (y, x) of the nucleus, canvas px.
        reach: (ANGLES,) how far the cell would reach in each direction if it were alone, px.
        nucleus: (ANGLES,) radius of the nucleus in each direction, px.
    """

    center: tuple[float, float]
    reach: np.ndarray
    nucleus: np.ndarray

    @property
    def nucleus_radius(self) -> float:
        """Mean radius of the nucleus, px."""
        return float(self.nucleus.mean())


def place(
    shape: tuple[int, int], margin: int, diameter: float, cells: int | None, share: float, rng: np.random.Generator
) -> list[Site]:
    """Cells scattered over a canvas of `shape` plus `margin` on every side.

    Args:
        shape: (y, x) of the image, px.
        margin: px around it.
        diameter: of a usual cell, px.
        cells: as many, all with their centre inside the image; None: as many as cover `share` of it, some centres beyond it.
        share: of the image that cells cover, about.
        rng: what is drawn from.

    Raises:
        DataError: so many cells have no room.
    """
    outside = 0.0 if cells is not None else min(0.35 * diameter, margin)
    low = np.array([margin - outside, margin - outside])
    high = np.array([margin + n + outside for n in shape])
    number = cells if cells is not None else _number(share, float(np.prod(high - low)) / diameter**2)
    centers: list[np.ndarray] = []
    radii: list[float] = []
    for _ in range(number):
        radius = diameter * rng.uniform(0.19, 0.25)
        center = _center(low, high, np.array(centers).reshape(-1, 2), np.array(radii), radius, diameter, rng)
        if center is None:
            if cells is None:
                break
            raise DataError(
                f"phantom: {cells} cells of {diameter:g} px have no room in {shape[0]} × {shape[1]}; ask for fewer or smaller ones"
            )
        centers.append(center)
        radii.append(radius)
    return [_site((float(c[0]), float(c[1])), r, diameter, rng) for c, r in zip(centers, radii, strict=True)]


def _number(share: float, area: float) -> int:
    """Cells for `area` squared diameters: laid at random, each covers the same share of what is still free."""
    return max(1, round(-np.log(1 - min(share, 0.97)) * area / _AREA))


def _center(
    low: np.ndarray,
    high: np.ndarray,
    taken: np.ndarray,
    radii: np.ndarray,
    radius: float,
    diameter: float,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """A free place: far from others at first, nearer with every failure; now and then a nucleus lies against another."""
    if len(taken) and rng.random() < 0.12:
        i = rng.integers(len(taken))
        turn = rng.uniform(0, 2 * np.pi)
        at = taken[i] + (radius + radii[i]) * 1.02 * np.array([np.sin(turn), np.cos(turn)])
        if (at >= low).all() and (at < high).all() and _free(at, np.delete(taken, i, 0), np.delete(radii, i), radius, 0):
            return at
    for attempt in range(60):
        at = rng.uniform(low, high)
        if _free(at, taken, radii, radius, _SPREAD * diameter * 0.985**attempt):
            return at
    return None


def _free(at: np.ndarray, taken: np.ndarray, radii: np.ndarray, radius: float, least: float) -> bool:
    if not len(taken):
        return True
    return bool((np.hypot(*(taken - at).T) > np.maximum(1.15 * (radii + radius), least)).all())


def _site(center: tuple[float, float], radius: float, diameter: float, rng: np.random.Generator) -> Site:
    angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
    lies = rng.uniform(0, np.pi)
    nucleus = _ellipse(angle - lies, radius, rng.uniform(1.05, 1.65)) * _lobes(angle, 0.03, rng)
    half = 0.5 * diameter * np.exp(rng.normal(0, 0.12))
    # most cells lie along their nucleus
    reach = _ellipse(angle - lies - rng.normal(0, 0.25), half, rng.uniform(1.1, 2.5)) * _lobes(angle, 0.1, rng)
    for turn in rng.uniform(0, 2 * np.pi, rng.choice([0, 1, 2])):  # processes, as spindle-shaped cells have
        reach += half * rng.uniform(0.3, 0.8) * np.maximum(0, np.cos(angle - turn)) ** 16
    return Site(center, np.maximum(reach, 1.3 * nucleus).astype(np.float32), nucleus.astype(np.float32))


def _ellipse(angle: np.ndarray, radius: float, elongation: float) -> np.ndarray:
    """Radius of an ellipse of mean radius `radius` (by area) in every direction."""
    a, b = radius * np.sqrt(elongation), radius / np.sqrt(elongation)
    return a * b / np.hypot(b * np.cos(angle), a * np.sin(angle))


def _lobes(angle: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    out = np.ones_like(angle)
    for k in range(2, 7):
        out += rng.normal(0, strength / np.sqrt(k - 1)) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    return np.maximum(out, 0.5)
