"""SlidePhantom: a whole slide of kidney cortex that exists nowhere until a box of it is asked for."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box, Shape
from malpighi.phantoms.lattice import GRAIN
from malpighi.phantoms.layout import Layout, Ring, Site
from malpighi.phantoms.section import BLOCK, Section
from malpighi.phantoms.stain import PALETTES, Batch, Stain


@dataclass(frozen=True)
class SlidePhantom:
    """A synthetic slide of kidney cortex with exact outlines of its glomeruli.

    Attributes:
        shape: height and width of level 0, px.
        seed: another seed is another kidney, stained on another day.
        stain: "pas", "he" (haematoxylin and eosin) or "dab" (brown chromogen and haematoxylin).
        spacing: µm per px, 0.2 to 4.
        strength: how dark the stain is; 1 is usual.
        variation: spread of colour between slides; 0 for none, 1 for that between laboratories.
        density: share of the sites (6.25 a mm²) that hold a glomerulus; 0 to 0.95.
        period: px after which tissue repeats, a multiple of 1024, or None for never. With a period the inside of the
            tissue is drawn and compressed once and then copied, so that slides of 100,000² are written in minutes;
            the outline of the tissue does not repeat, and the truth is exact either way.
    """

    shape: tuple[int, int]
    seed: int = 0
    stain: Stain = "pas"
    spacing: float = 1.0
    strength: float = 1.0
    variation: float = 1.0
    density: float = 0.72
    period: int | None = None

    classes = ("glomerulus", "tuft")

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise DataError(f"phantom: shape {self.shape}; give (height, width), both at least 1")
        if self.stain not in PALETTES:
            raise DataError(f"phantom: stain {self.stain!r} is unknown; stains are {', '.join(PALETTES)}")
        if not 0.2 <= self.spacing <= 4:
            raise DataError(f"phantom: spacing {self.spacing} µm; 0.2 to 4 can be drawn")
        if not 0 <= self.density <= 0.95:
            raise DataError(f"phantom: density {self.density}; it is a share, 0 to 0.95")
        if self.period is not None and (self.period < 2 * GRAIN or self.period % GRAIN):
            raise DataError(f"phantom: period {self.period}; give a multiple of {GRAIN}, at least {2 * GRAIN}, or None")

    @cached_property
    def layout(self) -> Layout:
        """Where tissue and sites lie."""
        return Layout((self.shape[0], self.shape[1]), self.seed, 1 / self.spacing, self.density, self.period)

    @cached_property
    def section(self) -> Section:
        """The drawing of it, block by block."""
        batch = Batch.of(self.stain, self.seed, self.strength, self.variation)
        return Section(self.layout, batch, self.stain)

    def render(self, box: Box) -> np.ndarray:
        """Pixels of any box, also beyond the slide's border, where there is glass.

        Returns:
            (3, y, x) uint8, RGB. A pixel depends on its place alone: boxes that overlap agree bit for bit.
        """
        out = np.empty((*box.size, 3), np.uint8)
        for piece in box.split((BLOCK, BLOCK)):
            corner = tuple(a // BLOCK * BLOCK for a in piece.start)
            block = self.section.block((corner[0] // BLOCK, corner[1] // BLOCK))
            out[piece.relative_to(box.start).slices] = block[piece.relative_to(corner).slices]
        return np.ascontiguousarray(out.transpose(2, 0, 1))

    def truth(self, label: str = "glomerulus") -> Iterator[Shape]:
        """Outlines in order of rows of sites, one at a time: (x, y) polygons in level-0 px.

        "glomerulus" runs along the outside of Bowman's capsule, "tuft" around the capillaries inside it.
        """
        self._check(label)
        pitch = self.layout.lattice.pitch
        for row in range(int(self.shape[0] // pitch) + 1):
            for site in self.layout.sites((row * pitch, 0), ((row + 1) * pitch, self.shape[1])):
                if site.kind == "glomerulus" and site.cell[0] == row:
                    yield self._shape(site, label)

    def truth_mask(self, box: Box, label: str = "glomerulus") -> np.ndarray:
        """1 where a pixel's centre lies within an outline of `truth`, else 0; (y, x) uint8."""
        self._check(label)
        mask = np.zeros(box.size, np.uint8)
        for site in self.layout.sites((box.start[0], box.start[1]), (box.stop[0], box.stop[1])):
            if site.kind == "glomerulus":
                self._fill(mask, box, _ring(site, label))
        return mask

    def write(
        self, path: Path, progress: Callable[[int, int], None] | None = None, quality: int | None = 85, threads: int = 2
    ) -> Path:
        """Write the slide as a tiled, pyramidal TIFF (512 px tiles, levels ↓4), row of tiles by row of tiles.

        Args:
            path: where; written under another name first and renamed when whole.
            progress: called with (tile rows written, tile rows in all) of level 0.
            quality: JPEG quality, or None for lossless (deflate).
            threads: that draw and compress.

        Raises:
            OutputError: it cannot be written; nothing is left behind.
        """
        from malpighi.phantoms.pyramid import write_pyramid

        text = f"malpighi phantom: {self.stain} kidney, seed {self.seed}, {self.spacing:g} um per px"
        return write_pyramid(Path(path), self.shape, self.spacing, self.section, text, quality, threads, progress)

    def _check(self, label: str) -> None:
        if label not in self.classes:
            raise DataError(f"phantom: no truth for {label!r}; classes are {', '.join(self.classes)}")

    def _shape(self, site: Site, label: str) -> Shape:
        from shapely.geometry import Polygon

        name = f"malpighi phantom {self.shape} {self.seed} {self.spacing} {site.cell} {label}"
        return Shape(Polygon(_ring(site, label).outline()), label, id=str(uuid.uuid5(uuid.NAMESPACE_OID, name)))

    @staticmethod
    def _fill(mask: np.ndarray, box: Box, ring: Ring) -> None:
        around = ring.radius * 1.6
        reach = Box.of_bounds([int(c - around) - 1 for c in ring.center], [int(c + around) + 2 for c in ring.center]).intersect(
            box
        )
        if reach.empty:
            return
        y = (reach.start[0] + np.arange(reach.size[0]))[:, None]
        x = (reach.start[1] + np.arange(reach.size[1]))[None]
        mask[reach.relative_to(box.start).slices] |= (ring.inside(y, x) > 0).astype(np.uint8)


def _ring(site: Site, label: str) -> Ring:
    return site.outline if label == "glomerulus" else site.core
