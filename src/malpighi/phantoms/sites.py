"""Glomeruli, arteries, veins and scars, drawn over the tubules they were kept clear of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from malpighi.phantoms.lattice import Lattice, grain
from malpighi.phantoms.layout import Site
from malpighi.phantoms.tissue import Canvas, Cells, draw_nuclei, pack, ramp

Lattices = Callable[[str, float], Lattice]  # name, pitch in µm → a lattice of the slide


def draw_site(canvas: Canvas, site: Site, unit: float, lattice: Lattices) -> None:
    """Paint one site into the part of the canvas it covers."""
    xy = site.outline.outline(90) - np.array(canvas.start[::-1])
    margin = 8 * unit
    low = np.maximum(np.floor(xy.min(0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(xy.max(0) + margin), np.array(canvas.size[::-1])).astype(int)
    if (high - low < 8).any():
        return
    part = canvas.part(slice(low[1], high[1]), slice(low[0], high[0]))
    y = (part.start[0] + np.arange(part.size[0]))[:, None]
    x = (part.start[1] + np.arange(part.size[1]))[None]
    draw = {"glomerulus": _glomerulus, "artery": _artery, "vein": _vein, "scar": _scar}[site.kind]
    draw(part, site, site.outline.inside(y, x), site.core.inside(y, x), unit, lattice)


def _glomerulus(canvas: Canvas, site: Site, rim: np.ndarray, tuft: np.ndarray, unit: float, lattice: Lattices) -> None:
    """Capsule, Bowman's space, and the tuft: capillary loops, mesangium and crowded nuclei."""
    soft, fine = grain(canvas.start, canvas.size, 2.2, 6), grain(canvas.start, canvas.size, 1.0, 7)
    canvas.paint(ramp(rim), "space", 1 + 0.5 * soft)
    canvas.paint(ramp(rim) * np.clip(1 - np.abs(rim - 1.6 * unit) / (1.9 * unit), 0, 1), "capsule", 1 + 0.15 * soft)
    inside = ramp(tuft + 0.8 * soft) * ramp(rim, 2 * unit)
    if not inside.any():
        return
    bend = (lattice("loop y", 46), lattice("loop x", 46))
    loops = pack(lattice("loops", 17).halved(), canvas.start, canvas.size, bend=bend, widest=4 * unit)
    y = (canvas.start[0] + np.arange(canvas.size[0]))[:, None]
    x = (canvas.start[1] + np.arange(canvas.size[1]))[None]
    lobes = lattice("lobes", 24).noise(y, x)
    # each loop is a lumen within a thin wall; mesangium thickens the walls towards the middle of a lobule
    wall = (1.5 + 1.3 * np.clip(lobes + 0.15, 0, 1) + 0.5 * soft) * unit
    hole = ramp(loops.border, wall, 1.2)
    canvas.paint(inside, "loop", 0.9 + 0.2 * fine)
    canvas.paint(inside * ramp(lobes + 0.25 * soft, 0.25, 0.4) * (1 - 0.6 * hole), "mesangium", 1 + 0.15 * fine)
    canvas.paint(inside * hole * (0.95 - 0.35 * np.clip(lobes, 0, 1)), "capillary", 1 + 0.3 * soft)
    filled = (loops.traits[:, 0] > 0.86).astype(np.float32)[loops.labels]
    canvas.paint(0.8 * inside * hole * filled, "blood")
    canvas.paint(0.55 * np.clip(1 - np.abs(tuft - unit) / (1.2 * unit), 0, 1) * ramp(rim, 2 * unit), "loop")
    draw_nuclei(canvas, _nuclei_of_tuft(canvas, loops, tuft, lobes, unit, lattice))
    draw_nuclei(canvas, _nuclei_of_capsule(site, canvas, unit))


def _nuclei_of_tuft(
    canvas: Canvas, loops: Cells, tuft: np.ndarray, lobes: np.ndarray, unit: float, lattice: Lattices
) -> np.ndarray:
    at, u = _scatter(lattice("tuft", 7.6), canvas)
    y, x = at.astype(np.int64).T
    crowded = 0.60 + 0.25 * np.clip(lobes[y, x], -1, 1)
    keep = (tuft[y, x] > 1.5 * unit) & (u[:, 0] < crowded) & (loops.border[y, x] < 4.5 * unit)
    long, short = (2.5 + 0.9 * u[:, 1]) * unit, (2.0 + 0.5 * u[:, 2]) * unit
    return np.stack([at[:, 1], at[:, 0], long, short, 360 * u[:, 3], 0.72 + 0.28 * u[:, 1]], 1)[keep]


def _nuclei_of_capsule(site: Site, canvas: Canvas, unit: float) -> np.ndarray:
    """Flat parietal cells along the capsule."""
    n = int(site.outline.radius * 2 * np.pi / (17 * unit))
    u = np.random.Generator(np.random.Philox(site.key)).random((n, 2))
    angle = (np.arange(n) + 0.7 * u[:, 0]) * 2 * np.pi / n
    r = site.outline.reach(angle) - 3.2 * unit
    x = site.outline.center[1] + r * np.cos(angle) - canvas.start[1]
    y = site.outline.center[0] + r * np.sin(angle) - canvas.start[0]
    even = np.ones(n)
    rows = np.stack([x, y, 3.6 * unit * even, 1.4 * unit * even, np.degrees(angle) + 90, 0.7 + 0.2 * u[:, 1]], 1)
    return rows[u[:, 1] < 0.6]


def _scatter(lattice: Lattice, canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    iy, ix = lattice.cells(canvas.start, (canvas.start[0] + canvas.size[0], canvas.start[1] + canvas.size[1]))
    at = lattice.points(iy, ix) - np.array(canvas.start)
    u = np.stack([lattice.value(iy, ix, s) for s in range(4)], 1)
    ok = (at > 0).all(1) & (at < np.array(canvas.size) - 1).all(1)
    return at[ok], u[ok]


def _artery(canvas: Canvas, site: Site, rim: np.ndarray, lumen: np.ndarray, unit: float, lattice: Lattices) -> None:
    """Adventitia, a muscular wall of concentric fibres and nuclei, a wavy elastic layer, the lumen."""
    soft, fine = grain(canvas.start, canvas.size, 2.2, 6), grain(canvas.start, canvas.size, 1.0, 7)
    wall = rim + 1.2 * soft
    canvas.paint(ramp(wall, 0, 3), "fibre", 0.8 + 0.2 * soft)
    rings = 1 + 0.16 * np.sin(rim / (1.1 * unit) + 1.5 * soft)
    canvas.paint(ramp(wall, 5 * unit, 3), "muscle", rings + 0.1 * fine)
    inner = lumen + 1.2 * unit * np.sin(site.key % 7 + 1.3 * soft)
    canvas.paint(np.clip(1 - np.abs(inner + 1.5 * unit) / (1.5 * unit), 0, 1), "membrane", 0.9)
    canvas.paint(ramp(inner), "lumen")
    _nuclei_around(canvas, site, rim, -lumen, 0.4, unit, lattice)


def _vein(canvas: Canvas, site: Site, rim: np.ndarray, lumen: np.ndarray, unit: float, lattice: Lattices) -> None:
    soft = grain(canvas.start, canvas.size, 2.2, 6)
    canvas.paint(ramp(rim), "fibre", 0.9 + 0.2 * soft)
    canvas.paint(ramp(lumen + 0.5 * soft), "lumen")
    if site.key % 3 == 0:  # some hold blood
        canvas.paint(ramp(lumen, 3 * unit, 4) * ramp(soft, -0.6, 1), "blood", 0.8)
    _nuclei_around(canvas, site, rim, -lumen, 0.5, unit, lattice)


def _scar(canvas: Canvas, site: Site, rim: np.ndarray, _: np.ndarray, unit: float, lattice: Lattices) -> None:
    """A globally sclerosed spot: dense, nearly without nuclei or structure. A confounder, not in the truth."""
    soft, fine = grain(canvas.start, canvas.size, 2.2, 6), grain(canvas.start, canvas.size, 1.0, 7)
    canvas.paint(ramp(rim + soft, 0, 3), "scar", 0.85 + 0.18 * soft + 0.1 * fine)
    _nuclei_around(canvas, site, rim, rim, 0.12, unit, lattice)


def _nuclei_around(
    canvas: Canvas, site: Site, rim: np.ndarray, outside: np.ndarray, share: float, unit: float, lattice: Lattices
) -> None:
    """Thin nuclei along the circles of a wall."""
    at, u = _scatter(lattice("wall", 8), canvas)
    y, x = at.astype(np.int64).T
    keep = (rim[y, x] > unit) & (outside[y, x] > unit) & (u[:, 0] < share)
    centre = np.array(site.outline.center) - np.array(canvas.start)
    angle = np.degrees(np.arctan2(at[:, 0] - centre[0], at[:, 1] - centre[1])) + 90
    long, short = (3.2 + 1.5 * u[:, 1]) * unit, (1.3 + 0.4 * u[:, 2]) * unit
    draw_nuclei(canvas, np.stack([at[:, 1], at[:, 0], long, short, angle, 0.65 + 0.3 * u[:, 3]], 1)[keep])
