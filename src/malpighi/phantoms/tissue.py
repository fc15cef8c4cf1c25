"""Cortex between the glomeruli: tubules, interstitium and nuclei, drawn into amounts of two dyes.

Tubules are the generalised Voronoi cells of short curved centrelines. Centrelines join one to four points of a jittered
lattice, so profiles are round, oblong and bent as sections of convoluted tubules are. Depth below a cell's border then
orders the layers: interstitium, basement membrane, epithelium with its row of nuclei, brush border, lumen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from malpighi.phantoms.lattice import Lattice, grain, mixed
from malpighi.phantoms.layout import Site

# how the four points of a 2×2 group (in the order of a U: NW, SW, SE, NE) are joined to tubules
JOINS = np.array(
    [(0, 1, 2, 3), (0, 0, 1, 2), (0, 1, 1, 2), (0, 1, 2, 2), (0, 0, 1, 1), (0, 1, 1, 1), (0, 0, 0, 1), (0, 0, 0, 0)]
)
U_ORDER = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
FREE, SITE = 0, 1  # labels of pixels that belong to no tubule


@dataclass
class Canvas:
    """Amounts of the two dyes on a px rectangle, painted layer over layer.

    Attributes:
        start: absolute position (y, x) of the first pixel.
        amounts: (2, y, x) float32.
        palette: structure → amounts of the two dyes.
    """

    start: tuple[int, int]
    amounts: np.ndarray
    palette: dict[str, tuple[float, float]]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        return self.amounts.shape[1], self.amounts.shape[2]

    def paint(self, cover: np.ndarray, structure: str, tint: np.ndarray | float = 1.0) -> None:
        """Lay a structure over what is there; `cover` (y, x) in 0 … 1 is its opacity, `tint` scales its stain."""
        for dye, amount in enumerate(self.palette[structure]):
            self.amounts[dye] += cover * (amount * tint - self.amounts[dye])

    def part(self, rows: slice, columns: slice) -> Canvas:
        """A view of a part: painting there paints here."""
        start = (self.start[0] + rows.start, self.start[1] + columns.start)
        return Canvas(start, self.amounts[:, rows, columns], self.palette)


def ramp(value: np.ndarray, edge: float | np.ndarray = 0.0, width: float = 1.0) -> np.ndarray:
    """0 below `edge`, 1 above, linear over `width` px: an anti-aliased step."""
    return np.clip((value - edge) / width + 0.5, 0, 1)


@dataclass(frozen=True, slots=True)
class Cells:
    """A packing: the label of every pixel, its distance to the border (px), and each label's random numbers."""

    labels: np.ndarray  # (y, x) int32; FREE, SITE or a cell
    border: np.ndarray  # (y, x) float32
    traits: np.ndarray  # (label, 4) float32 in [0, 1)


def centrelines(
    lattice: Lattice, start: tuple[int, int], size: tuple[int, int], bend: tuple[Lattice, Lattice] | None = None
) -> tuple[list[np.ndarray], np.ndarray]:
    """The polylines (points, 2) as (x, y), relative to `start`, that come near a rectangle, and their traits (n, 4).

    `bend`: noise that shifts the points by up to a quarter of its pitch, so that rows and columns do not show.
    """
    group = Lattice(2 * lattice.pitch, mixed(lattice.key + 1), lattice.wrap // 2)
    reach = 2.5 * lattice.pitch + (bend[0].pitch / 4 if bend else 0)
    iy, ix = group.cells((start[0] - reach, start[1] - reach), (start[0] + size[0] + reach, start[1] + size[1] + reach))
    joins = JOINS[(group.value(iy, ix, 0) * len(JOINS)).astype(int)]
    traits = np.stack([np.stack([group.value(iy, ix, 8 + 4 * part + t) for t in range(4)], 1) for part in range(4)], 1)
    flip = group.value(iy, ix, 2) < 0.5
    points = []
    for dy, dx in U_ORDER:
        # half of the groups lie on their side, so that bends open both ways
        sub = lattice.points(2 * iy + np.where(flip, dx, dy), 2 * ix + np.where(flip, dy, dx), 0.75)
        if bend:
            sub = sub + np.stack([b.pitch / 4 * b.noise(sub[:, 0], sub[:, 1]) for b in bend], 1)
        points.append(sub - np.array(start))
    corner = np.stack(points, 1)[:, :, ::-1]  # (group, 4, xy)
    lines, owner = [], []
    for g in range(len(iy)):
        for part in range(joins[g].max() + 1):
            lines.append(corner[g, joins[g] == part])
            owner.append(traits[g, part])
    return lines, np.array(owner, np.float32)


def pack(
    lattice: Lattice,
    start: tuple[int, int],
    size: tuple[int, int],
    sites: Iterable[Site] = (),
    gap: float = 0.0,
    bend: tuple[Lattice, Lattice] | None = None,
    widest: float = 1.0,
) -> Cells:
    """Share a rectangle out among centrelines; nothing comes closer than `gap` px to a site.

    Centrelines are 1 to `widest` px thick, by the first trait (0 is thickest): thicker ones win more room.
    """
    import cv2

    lines, traits = centrelines(lattice, start, size, bend)
    seeds = np.zeros(size, np.int32)
    for label, (line, trait) in enumerate(zip(lines, traits, strict=True), 2):
        thick = max(1, round(widest * (1 - float(trait[0]))))
        cv2.polylines(seeds, [_smooth(line)], False, label, thick, cv2.LINE_8)
    taken = np.zeros(size, np.uint8)
    for site in sites:
        ring = site.outline.outline(90) - np.array(start[::-1])
        middle = np.array(site.outline.center[::-1]) - np.array(start[::-1])
        away = np.hypot(*(ring - middle).T)[:, None]
        for grow, target, value in ((12 * gap / 3, seeds, 0), (gap, taken, 1)):
            cv2.fillPoly(target, [np.round(middle + (ring - middle) * (1 + grow / away)).astype(np.int32)], value)
    ids = seeds[seeds > 0]
    if not ids.size:
        return Cells(np.zeros(size, np.int32), np.zeros(size, np.float32), np.zeros((2, 4), np.float32))
    _, nearest = cv2.distanceTransformWithLabels(
        (seeds == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    lookup = np.zeros(nearest.max() + 1, np.int32)
    lookup[nearest[seeds > 0]] = ids
    labels = lookup[nearest]
    labels[taken > 0] = SITE
    inner = np.ones(size, np.uint8)
    inner[:, 1:][labels[:, 1:] != labels[:, :-1]] = 0
    inner[1:][labels[1:] != labels[:-1]] = 0
    border = cv2.distanceTransform(inner, cv2.DIST_L2, cv2.DIST_MASK_5)
    return Cells(labels, border, np.concatenate([np.zeros((2, 4), np.float32), traits]))


def _smooth(line: np.ndarray) -> np.ndarray:
    """A rounded polyline in whole px; a lone point becomes a short dash."""
    if len(line) == 1:
        return np.rint(line + _DASH).astype(np.int32)
    return np.rint(_corner_cutting(len(line)) @ line).astype(np.int32)


_DASH = np.array([[0.0, 0.0], [3.0, 2.0]])


@cache
def _corner_cutting(points: int) -> np.ndarray:
    """Two passes of Chaikin's corner cutting as a matrix that acts on a polyline of `points` vertices."""
    line = np.eye(points)
    for _ in range(2):
        a, b = line[:-1], line[1:]
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], 1).reshape(-1, points)
        line = np.concatenate([line[:1], cut, line[-1:]])
    return line


def rounded(cells: Cells, radius: float, gap: float) -> np.ndarray:
    """Depth (px) below the rounded surface of each cell, negative outside: an opening by `radius`, `gap` off the border."""
    import cv2

    core = (cells.border > radius) & (cells.labels != SITE)
    out = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    within = cv2.GaussianBlur(cells.border, (0, 0), radius / 3)  # lumens have no corners either
    depth = np.where(core, np.maximum(within, radius) - gap, np.minimum(radius - out, cells.border) - gap)
    depth[cells.labels <= SITE] = -9
    return depth


def tubules(canvas: Canvas, cells: Cells, unit: float, fibrosis: np.ndarray) -> np.ndarray:
    """Paint interstitium and tubules. Returns depth (px) below the tubules' surface, for the nuclei."""
    start, size = canvas.start, canvas.size
    soft, fine = grain(start, size, 2.2, 3), grain(start, size, 1.0, 4)
    depth = rounded(cells, 12.5 * unit, 1.0 * unit) - unit * (0.6 + 3.5 * fibrosis) + 0.5 * soft
    traits = cells.traits
    proximal, open_ = traits[:, 0] < 0.66, traits[:, 0] > 0.9
    wall = np.where(proximal, 13.5 + 5.5 * traits[:, 1], np.where(open_, 5.0, 8.0 + 3 * traits[:, 1])).astype(np.float32) * unit
    tint = (0.82 + 0.36 * traits[:, 2]).astype(np.float32)[cells.labels]
    kind = proximal.astype(np.float32)[cells.labels]
    thick = wall[cells.labels]

    fibres = np.clip(0.35 + 0.3 * soft + 0.25 * fine + 0.3 * fibrosis, 0, 1)
    canvas.paint(np.ones(size, np.float32), "interstitium", 1 + 0.25 * soft)
    canvas.paint(0.7 * fibres, "fibre")
    # peritubular capillaries: pale holes in the interstitium
    canvas.paint(0.85 * ramp(soft, 0.9, 0.5) * ramp(-depth, 1.5 * unit), "lumen")
    inside = ramp(depth)
    mottle = tint * (1 + 0.16 * fine + 0.08 * soft + 0.12 * grain(start, size, 0.5, 9))
    canvas.paint(inside * kind, "proximal", mottle)
    canvas.paint(inside * (1 - kind), "distal", mottle)
    ragged = depth - thick + (1.5 * soft + 0.6 * fine) * unit * (0.3 + kind)
    canvas.paint(0.8 * inside * kind * ramp(ragged, -3.0 * unit, 2.5 * unit), "brush", mottle)
    canvas.paint(inside * ramp(ragged, 0, 1.5), "lumen")
    # shed cytoplasm and casts cloud some lumens
    cloud = np.clip((traits[:, 3] - 0.55) * 1.6, 0, 0.65).astype(np.float32)[cells.labels]
    canvas.paint(cloud * inside * ramp(ragged, 0, 1.5) * ramp(soft, -0.4, 1.5), "proximal", 0.6)
    membrane = np.clip(1 - np.abs(depth) / (1.1 * unit), 0, 1)
    canvas.paint(0.9 * membrane, "membrane", 1 + 0.2 * soft)
    return depth


def nuclei_of_tubules(
    lattice: Lattice, canvas: Canvas, cells: Cells, depth: np.ndarray, unit: float, crowd: np.ndarray
) -> np.ndarray:
    """Nuclei: a row at two fifths of each epithelium's height, and thin dark ones between the tubules.

    Returns:
        (n, 6) rows of (x, y, half length, half width, angle in degrees, stain).
    """
    iy, ix = lattice.cells(canvas.start, (canvas.start[0] + canvas.size[0], canvas.start[1] + canvas.size[1]))
    at = lattice.points(iy, ix) - np.array(canvas.start)
    u = np.stack([lattice.value(iy, ix, s) for s in range(4)], 1)
    ok = (at > 3).all(1) & (at < np.array(canvas.size) - 4).all(1)
    at, u = at[ok], u[ok]
    y, x = at.astype(np.int64).T
    here, label = depth[y, x], cells.labels[y, x]
    slope = np.stack([depth[y + 2, x] - depth[y - 2, x], depth[y, x + 2] - depth[y, x - 2]], 1)
    slope = slope / np.maximum(np.hypot(*slope.T), 1e-3)[:, None]
    proximal = cells.traits[label, 0] < 0.66
    target = np.where(proximal, 6.2, 4.0) * unit
    off = target - here
    epithelial = (label > SITE) & (here > 0.5) & (np.abs(off) < 4.6 * unit) & (u[:, 0] < np.where(proximal, 0.5, 0.72))
    between = (label != SITE) & (here < -0.8 * unit) & (u[:, 0] < 0.28 + 0.45 * np.clip(crowd[y, x], 0, 1))
    at = at + np.where(epithelial[:, None], slope * off[:, None], 0)
    angle = np.degrees(np.arctan2(slope[:, 0], slope[:, 1])) + 90
    long = np.where(epithelial, 2.9 + 0.7 * u[:, 1], 2.6 + 2.0 * u[:, 1]) * unit
    short = np.where(epithelial, 2.6 + 0.5 * u[:, 2], 1.5 + 0.6 * u[:, 2]) * unit
    stain = np.where(epithelial, 0.62, 0.85) + 0.25 * u[:, 3]
    keep = epithelial | between
    return np.stack([at[:, 1], at[:, 0], long, short, angle, stain], 1)[keep]


def draw_nuclei(canvas: Canvas, nuclei: np.ndarray) -> None:
    """Paint nuclei (rows as `nuclei_of_tubules` returns): oval, a little darker at the rim, speckled."""
    import cv2

    cover = np.zeros(canvas.size, np.uint8)
    for x, y, long, short, angle, stain in nuclei:
        centre, axes = (round(x * 16), round(y * 16)), (round(long * 16), round(short * 16))
        cv2.ellipse(cover, centre, axes, float(angle), 0, 360, round(min(stain, 1) * 255), -1, cv2.LINE_AA, 4)
    amount = cover.astype(np.float32) / 255
    speckle = 1 + 0.12 * grain(canvas.start, canvas.size, 1.0, 5)
    canvas.paint(amount * 0.95, "nucleus", speckle)
