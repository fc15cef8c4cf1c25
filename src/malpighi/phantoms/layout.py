"""Where things lie on a slide: pieces of tissue on glass, and the sites of glomeruli, arteries, veins and scars.

Sites sit one a cell of a 400 µm lattice, each with its whole outline inside its own cell, so no two ever touch and
none is known to another. Everything is a function of position and seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from malpighi.phantoms.lattice import Lattice, uniform

SITE_PITCH = 400.0  # µm: 6 sites a mm², as in human cortex with its 3 to 6 glomeruli a mm²
LARGEST = 116.0  # µm: no outline reaches further from its centre
PIECE = 14000.0  # µm: a slide much wider or higher than this holds two pieces of tissue abreast
KINDS = ("glomerulus", "artery", "vein", "scar")


@dataclass(frozen=True, slots=True)
class Ring:
    """A closed outline around a centre: radius (px) as a sum of harmonics of the angle."""

    center: tuple[float, float]
    radius: float
    harmonics: tuple[tuple[int, float, float], ...]  # (order, amplitude relative to the radius, phase)
    squeeze: float = 1.0  # long over short axis
    turn: float = 0.0  # radians: direction of the long axis

    def reach(self, angle: np.ndarray) -> np.ndarray:
        """Radius, px, at angles (radians from +x towards +y)."""
        wave = np.ones_like(angle)
        for order, amplitude, phase in self.harmonics:
            wave += amplitude * np.cos(order * angle + phase)
        if self.squeeze != 1:
            c, s = np.cos(angle - self.turn), np.sin(angle - self.turn)
            wave = wave / np.sqrt(c * c / self.squeeze + s * s * self.squeeze)
        return self.radius * wave

    def outline(self, points: int = 180) -> np.ndarray:
        """Vertices (n, 2) as (x, y), px; pixel i spans [i, i + 1)."""
        angle = np.arange(points) * (2 * np.pi / points)
        r = self.reach(angle)
        return np.stack([self.center[1] + r * np.cos(angle), self.center[0] + r * np.sin(angle)], 1)

    def inside(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """How far pixels lie inside the outline along the radius, px; negative outside. `y`, `x` index pixels."""
        dy = np.asarray(y, np.float32) + np.float32(0.5 - self.center[0])
        dx = np.asarray(x, np.float32) + np.float32(0.5 - self.center[1])
        angle = np.arctan2(dy, dx)
        return (self.reach(angle) - np.hypot(dy, dx)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Site:
    """What one lattice cell holds. `outline` is the border against the tubules, `core` what lies within:
    the tuft of a glomerulus, the lumen of a vessel.
    """

    kind: str
    cell: tuple[int, int]
    outline: Ring
    core: Ring
    key: int


@dataclass(frozen=True)
class Layout:
    """The plan of one slide. `unit` is px per µm."""

    shape: tuple[int, int]
    seed: int
    unit: float
    density: float
    period: int | None

    # -- tissue on glass -----------------------------------------------------------------------------------------
    @property
    def pieces(self) -> tuple[tuple[float, float, float, float, int], ...]:
        """(y, x, half height, half width, key) of each piece of tissue, px."""
        return _pieces(self.shape, self.seed, self.unit)

    def depth(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """About how far positions lie inside the tissue, px; negative on glass. `y` and `x` broadcast."""
        best: np.ndarray = np.full(np.broadcast_shapes(np.shape(y), np.shape(x)), -1e9, np.float32)
        for cy, cx, ry, rx, key in self.pieces:
            v, u = (np.asarray(y, np.float32) - cy) / ry, (np.asarray(x, np.float32) - cx) / rx
            angle = np.arctan2(v, u)
            phase = uniform(np.arange(4), np.arange(4), key) * 2 * np.pi
            wave = sum(0.045 / (k + 1) * np.cos((k + 2) * angle + phase[k]) for k in range(4))
            best = np.maximum(best, (1 + wave - np.hypot(v, u)) * min(ry, rx))
        side = min(min(p[2:4]) for p in self.pieces)
        for pitch, name in ((700.0, "shore"), (160.0, "edge")):
            rough = Lattice.of(pitch * self.unit, self.seed, name)
            best = best + min(0.08 * pitch * self.unit, 0.03 * side) * rough.noise(y, x)
        return np.asarray(best, np.float32)

    # -- sites ---------------------------------------------------------------------------------------------------
    @property
    def lattice(self) -> Lattice:
        """One cell, one site."""
        return Lattice.of(SITE_PITCH * self.unit, self.seed, "sites", self.period)

    def sites(self, start: tuple[float, float], stop: tuple[float, float]) -> Iterator[Site]:
        """The sites whose cell meets a px rectangle, row by row; those that tissue does not wholly hold are left out."""
        iy, ix = self.lattice.cells(start, stop)
        if not iy.size:
            return
        near = self.depth((iy + 0.5) * self.lattice.pitch, (ix + 0.5) * self.lattice.pitch) > -SITE_PITCH * self.unit
        for cell in zip(iy[near].tolist(), ix[near].tolist(), strict=True):
            site, held = _kept_site(self, cell)
            if site is not None and held:
                yield site

    def endless_sites(self, start: tuple[float, float], stop: tuple[float, float]) -> Iterator[Site]:
        """The same, as if tissue went on for ever: what repeats where there is a period."""
        for cell in zip(*(i.tolist() for i in self.lattice.cells(start, stop)), strict=True):
            site = self.site(cell)
            if site is not None:
                yield site

    def all_held(self, start: tuple[float, float], stop: tuple[float, float]) -> bool:
        """Whether `sites` and `endless_sites` give the same."""
        cells = zip(*(i.tolist() for i in self.lattice.cells(start, stop)), strict=True)
        return all(_kept_site(self, cell)[1] for cell in cells)

    def site(self, cell: tuple[int, int]) -> Site | None:
        """What the cell would hold in endless tissue."""
        lattice, unit = self.lattice, self.unit
        u = lattice.draws(cell, 24)
        kind = _kind(u[0], self.density)
        if kind is None:
            return None
        room = 1 - 2 * LARGEST * unit / lattice.pitch
        y, x = ((c + 0.5 + room * (v - 0.5)) * lattice.pitch for c, v in zip(cell, u[20:22], strict=True))
        key = int(u[1] * (1 << 24))
        build = _glomerulus if kind == "glomerulus" else _other
        outline, core = build(kind, (y, x), unit, u)
        return Site(kind, cell, outline, core, key)

    def holds(self, site: Site) -> bool:
        """Whether tissue and slide hold the whole site."""
        xy = site.outline.outline(24)
        margin = 12 * self.unit
        if xy.min() < margin or (xy.max(0) > np.array(self.shape[::-1]) - margin).any():
            return False
        return bool((self.depth(xy[:, 1], xy[:, 0]) > margin).all())


def _kind(u: float, density: float) -> str | None:
    shares: tuple[float, ...] = (density, 0.09, 0.06, 0.05)
    if sum(shares) > 1:
        shares = (density, *(s * (1 - density) / 0.2 for s in shares[1:]))
    for kind, edge in zip(KINDS, np.cumsum(shares), strict=True):
        if u < edge:
            return kind
    return None


def _waves(u: list[float], amplitudes: dict[int, float]) -> tuple[tuple[int, float, float], ...]:
    return tuple((k, a, 2 * np.pi * u[i % len(u)]) for i, (k, a) in enumerate(amplitudes.items()))


def _glomerulus(_: str, center: tuple[float, float], unit: float, u: list[float]) -> tuple[Ring, Ring]:
    """Capsule and tuft. The tuft is pushed to one side: the space is wide at the urinary pole, thin at the vascular."""
    radius = (66 + 30 * u[2]) * unit
    waves, squeeze, turn = _waves(u[3:7], {2: 0.05, 3: 0.03, 4: 0.02, 5: 0.012}), 1 + 0.12 * u[7], np.pi * u[8]
    fill = 0.80 + 0.10 * u[9] - 0.20 * (u[10] > 0.9)  # one in ten has a shrunken tuft
    # with the capsule's own waves, lobes of at most 0.05 and this push the tuft stays inside
    push = 0.8 * u[11] * radius * (0.85 * (1 - fill) - 0.05 * fill)
    middle = (center[0] + push * np.sin(2 * np.pi * u[12]), center[1] + push * np.cos(2 * np.pi * u[12]))
    lobes = _waves(u[13:16], {6: 0.02, 8: 0.018, 11: 0.012})
    return Ring(center, radius, waves, squeeze, turn), Ring(middle, fill * radius, waves + lobes, squeeze, turn)


def _other(kind: str, center: tuple[float, float], unit: float, u: list[float]) -> tuple[Ring, Ring]:
    """An artery (thick wall, small lumen), a vein (thin wall, wide, often flattened) or a scar."""
    size, lumen, longest = {
        "artery": (36 + 30 * u[2], 0.42, 1.5),
        "vein": (34 + 30 * u[2], 0.9, 2.0),
        "scar": (36 + 34 * u[2], 0.5, 1.4),
    }[kind]
    squeeze, turn = 1 + (longest - 1) * u[7], np.pi * u[8]
    waves = _waves(u[3:7], {2: 0.05, 3: 0.04, 5: 0.03})
    return Ring(center, size * unit, waves, squeeze, turn), Ring(center, lumen * size * unit, waves, squeeze, turn)


@lru_cache(maxsize=8192)
def _kept_site(layout: Layout, cell: tuple[int, int]) -> tuple[Site | None, bool]:
    """A cell's site and whether it is held; neighbouring blocks ask for the same ones."""
    site = layout.site(cell)
    return site, site is None or layout.holds(site)


@lru_cache(maxsize=16)
def _pieces(shape: tuple[int, int], seed: int, unit: float) -> tuple[tuple[float, float, float, float, int], ...]:
    rows, columns = (int(np.clip(round(n / (PIECE * unit)), 1, 2)) for n in shape)
    high, wide = shape[0] / rows, shape[1] / columns
    # with noise and harmonics the tissue stays on the slide and covers about 0.6 of it; only on a slide no larger than
    # a biopsy it runs over the border, as on a cropped scan, or there would be hardly a whole glomerulus
    small = min(shape) < 3500 * unit
    share = 0.56 if small else 0.465 if rows * columns == 1 else 0.445
    pieces = []
    for r in range(rows):
        for c in range(columns):
            u = uniform(np.full(4, r), np.arange(4) + 4 * c, seed * 2 + 1 & 0xFFFFFFFF)
            size = [share * (1 - 0.05 * float(v)) for v in u[:2]]
            centre = ((r + 0.5 + 0.02 * (float(u[2]) - 0.5)) * high, (c + 0.5 + 0.02 * (float(u[3]) - 0.5)) * wide)
            pieces.append((*centre, size[0] * high, size[1] * wide, seed * 31 + r * columns + c & 0xFFFFFFFF))
    return tuple(pieces)
