"""Section: draws a slide in blocks of 512², each alone, from the sites and lattice cells near it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from malpighi.phantoms.lattice import Lattice, grain
from malpighi.phantoms.layout import Layout, Site
from malpighi.phantoms.sites import draw_site
from malpighi.phantoms.stain import PALETTES, Batch, Stain, develop, glass
from malpighi.phantoms.tissue import Canvas, draw_nuclei, nuclei_of_tubules, pack, ramp, tubules

BLOCK = 512  # px: the unit of drawing and the tile of the file
NODE = 8  # px between the points where slow fields are computed; between them they are linear
EDGE = 8  # px: enough for the blur of the objective

Index = tuple[int, int]
Origin = tuple[str, int, int]
Field = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of px positions y, x


@dataclass(frozen=True, eq=False)
class Section:
    """A stained section of a layout. Two sections are equal only if they are one: kept blocks belong to it."""

    layout: Layout
    batch: Batch
    stain: Stain

    def block(self, index: Index) -> np.ndarray:
        """The block at (row, column), (512, 512, 3) uint8. The last few dozen are kept."""
        return _kept(self, self.origin(index))

    def origin(self, index: Index) -> Origin:
        """What the block at `index` is a copy of: ("glass" or "tissue", row, column). Equal origins, equal pixels."""
        layout, start = self.layout, (index[0] * BLOCK, index[1] * BLOCK)
        # depth changes by at most 2 px a px, so that its value in the middle decides for most blocks
        middle = float(layout.depth(np.array([start[0] + BLOCK / 2]), np.array([start[1] + BLOCK / 2]))[0])
        depth = np.array([middle]) if abs(middle) > 800 else self._slow_depth(start)
        if depth.max() < -12:
            return ("glass", 0, index[1] % 2)
        if layout.period is None or depth.min() < 60:
            return ("tissue", *index)
        (y, x), halo = start, self.halo
        near_edge = middle < 800 + 1320 * layout.unit  # a site that reaches the block may not be held
        if near_edge and not layout.all_held((y - halo, x - halo), (y + BLOCK + halo, x + BLOCK + halo)):
            return ("tissue", *index)
        repeat = layout.period // BLOCK
        return ("inside", index[0] % repeat, index[1] % repeat)

    @property
    def halo(self) -> int:
        """Px around a block that are drawn with it, so that neighbours fit: a tubule's reach."""
        return -(-int(64 * self.layout.unit + EDGE) // NODE) * NODE

    def draw(self, origin: Origin) -> np.ndarray:
        """Draw the block of an origin, (512, 512, 3) uint8."""
        kind, row, column = origin
        start = (row * BLOCK, column * BLOCK)
        if kind == "glass":
            light = glass(start, (BLOCK, BLOCK), self.batch)
            noise = np.stack([1.6 * grain(start, (BLOCK, BLOCK), 0.5, c) for c in range(3)], -1)
            return np.clip(light + noise + 0.5, 0, 255).astype(np.uint8)
        halo = self.halo
        outer = (start[0] - halo, start[1] - halo)
        amounts = self._amounts(outer, (BLOCK + 2 * halo, BLOCK + 2 * halo), endless=kind == "inside")
        cut = slice(halo - EDGE, halo + BLOCK + EDGE)
        picture = develop(np.ascontiguousarray(amounts[:, cut, cut]), (start[0] - EDGE, start[1] - EDGE), self.batch)
        return np.ascontiguousarray(picture[EDGE:-EDGE, EDGE:-EDGE])

    # -- drawing -------------------------------------------------------------------------------------------------
    def _amounts(self, start: tuple[int, int], size: tuple[int, int], endless: bool) -> np.ndarray:
        """Amounts of both dyes, (2, y, x) float32. `endless`: no edge of the tissue is near."""
        layout, unit = self.layout, self.layout.unit
        stop = (start[0] + size[0], start[1] + size[1])
        sites: list[Site] = list(layout.endless_sites(start, stop) if endless else layout.sites(start, stop))
        canvas = Canvas(start, np.zeros((2, *size), np.float32), dict(PALETTES[self.stain].amounts))
        fibrosis = self._slow("fibro", 260, start, size)
        crowd = self._slow("crowd", 90, start, size) - 0.1
        bend = (self._lattice("bend y", 230), self._lattice("bend x", 230))
        cells = pack(self._lattice("tubule", 80).halved(), start, size, sites, 3 * unit, bend, widest=11 * unit)
        depth = tubules(canvas, cells, unit, np.clip(fibrosis - 0.2, 0, 1))
        draw_nuclei(canvas, nuclei_of_tubules(self._lattice("nuclei", 9.2), canvas, cells, depth, unit, crowd))
        self._tear(canvas)
        for site in sites:
            draw_site(canvas, site, unit, self._lattice)
        self._vary(canvas)
        if not endless:
            shore = _upsampled(layout.depth, start, size) + 3 * grain(start, size, 2.2, 3)
            canvas.amounts *= ramp(shore, 0, 2 * unit)
        return canvas.amounts

    def _tear(self, canvas: Canvas) -> None:
        """Cracks of the section, in some regions: glass shows through."""
        unit = self.layout.unit
        course = self._slow("tear", 170, canvas.start, canvas.size) * 150 * unit
        where = self._slow("torn", 900, canvas.start, canvas.size)
        width = np.clip(where - 0.5, 0, 0.2) * 30 * unit
        if width.any():
            ragged = np.abs(course) + 0.8 * grain(canvas.start, canvas.size, 2.2, 8)
            canvas.amounts *= 1 - ramp(width - ragged, 0, 2) * (width > 0)

    def _vary(self, canvas: Canvas) -> None:
        """Uneven staining and thickness, and folds, where the section lies double."""
        strength = 1 + 0.14 * self._slow("uneven", 1500, canvas.start, canvas.size)
        chromogen = 1 + (0.4 if self.stain == "dab" else 0.08) * self._slow("wash", 420, canvas.start, canvas.size)
        unit = self.layout.unit
        course = np.abs(self._slow("fold", 800, canvas.start, canvas.size)) * 300 * unit
        where = np.clip(self._slow("folded", 1400, canvas.start, canvas.size) - 0.5, 0, 0.4) * 70 * unit
        strength += 0.75 * ramp(where - course, 0, 6 * unit) * (where > 0)
        canvas.amounts *= strength
        canvas.amounts[0] *= chromogen

    # -- slow fields ---------------------------------------------------------------------------------------------
    def _lattice(self, name: str, pitch: float) -> Lattice:
        """A lattice of this slide; pitch in µm."""
        return Lattice.of(pitch * self.layout.unit, self.layout.seed, name, self.layout.period)

    def _slow(self, name: str, pitch: float, start: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        return _upsampled(self._lattice(name, pitch).noise, start, size)

    def _slow_depth(self, start: tuple[int, int]) -> np.ndarray:
        y = start[0] + np.arange(-16, BLOCK + 17, 16)
        x = start[1] + np.arange(-16, BLOCK + 17, 16)
        return self.layout.depth(y[:, None], x[None])


def _upsampled(field: Field, start: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """A field of position on a px rectangle whose start and size are multiples of 8: exact every 8 px, linear between."""
    import cv2

    y, x = (a + NODE * np.arange(n // NODE) + (NODE - 1) / 2 for a, n in zip(start, size, strict=True))
    nodes = np.ascontiguousarray(field(y[:, None], x[None]), np.float32)
    return cv2.resize(nodes, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


@lru_cache(maxsize=48)
def _kept(section: Section, origin: Origin) -> np.ndarray:
    block = section.draw(origin)
    block.flags.writeable = False
    return block
