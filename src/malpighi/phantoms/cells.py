"""CellPhantom: cultured cells in four channels, as the Human Protein Atlas shows them, whose every cell's classes are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from malpighi.errors import DataError
from malpighi.phantoms.cell_labels import draw_image_labels, draw_labels
from malpighi.phantoms.cell_layout import Site, place
from malpighi.phantoms.cell_patterns import DRAWN, PATTERNS, View, haze
from malpighi.phantoms.cell_shapes import Shapes, grow, renumbered
from malpighi.phantoms.cell_structures import Structures, build

CHANNELS = ("red", "green", "blue", "yellow")
"""Microtubules, protein, nucleus, endoplasmic reticulum: in the order of `CellPhantom.image`."""
_SLIVER = 0.03  # squared diameters: less than this of a cell in the image, and it is not there
_BRIGHT = {"red": 150.0, "green": 150.0, "blue": 130.0, "yellow": 165.0}  # grey values of 255 at a structure's usual height
_DARK = {"red": 3.0, "green": 5.0, "blue": 2.0, "yellow": 3.0}  # background
_HAZE = 17.0


@dataclass(frozen=True)
class CellPhantom:
    """Synthetic cells with labels of the whole image that hold for some of its cells, and the truth of every cell.

    Attributes:
        shape: height and width, px, 64 to 8192.
        seed: another seed is another image.
        classes: the protein's patterns that may occur, of `PATTERNS`.
        labels: what the image shows, of `classes`; None: drawn by the seed (one to three, or Negative now and then).
        cells: how many, all with their nucleus's centre inside; None: as many as cover `share`, some of them cut by the border.
        share: of the image that cells cover, about, above 0 and up to 1.
        penetrance: share of cells that show any of the labels, about; the others show nothing. At least one cell shows each.
        diameter: of a usual cell, px; None: 110 in an image 512 px long, and in proportion in others.
        contrast: strength of the protein's signal against the haze; 1 is usual, .3 is hard.
        noise: strength of shot and read noise; 1 is usual.
        variation: spread of brightness from cell to cell; 1 is usual.
        bits: 8 or 16.
    """

    shape: tuple[int, int] = (512, 512)
    seed: int = 0
    classes: tuple[str, ...] = PATTERNS
    labels: tuple[str, ...] | None = None
    cells: int | None = None
    share: float = 0.6
    penetrance: float = 0.7
    diameter: float | None = None
    contrast: float = 1.0
    noise: float = 1.0
    variation: float = 1.0
    bits: int = 8

    channels = CHANNELS

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < 64 or max(self.shape) > 8192:
            raise DataError(f"phantom: shape {self.shape}; give (height, width), each 64 to 8192 px")
        unknown = [name for name in self.classes if name not in DRAWN]
        if unknown or not self.classes or len(set(self.classes)) != len(self.classes):
            raise DataError(f"phantom: classes {', '.join(unknown or self.classes)}; give each once, of {', '.join(PATTERNS)}")
        strange = [name for name in self.labels or () if name not in self.classes]
        if strange:
            raise DataError(f"phantom: label {', '.join(strange)} is not among its classes {', '.join(self.classes)}")
        for name, low, high in (("share", 0.02, 1.0), ("penetrance", 0.0, 1.0), ("contrast", 0.0, 10.0), ("noise", 0.0, 10.0)):
            if not low <= getattr(self, name) <= high:
                raise DataError(f"phantom: {name} {getattr(self, name)}; {low:g} to {high:g} can be drawn")
        if not 0 <= self.variation <= 3:
            raise DataError(f"phantom: variation {self.variation}; 0 to 3 can be drawn")
        if not 12 <= self.span <= 2000:
            raise DataError(f"phantom: cells {self.span:g} px wide; 12 to 2000 can be drawn")
        if self.cells is not None and self.cells < 0:
            raise DataError(f"phantom: {self.cells} cells; give 0 or more, or None")
        if self.bits not in (8, 16):
            raise DataError(f"phantom: {self.bits} bits; 8 or 16")

    @property
    def span(self) -> float:
        """Diameter of a usual cell, px."""
        return self.diameter if self.diameter is not None else 110 * max(self.shape) / 512

    @property
    def image(self) -> np.ndarray:
        """(channel, y, x) uint8 or uint16; channels as in `CHANNELS`."""
        return self._image

    @property
    def truth(self) -> np.ndarray:
        """(y, x) int32: cell 1 … n without gaps, 0 outside; cells never overlap."""
        return self._inner(self._scene.shapes.labels)

    @property
    def nuclei(self) -> np.ndarray:
        """(y, x) int32: the nucleus of cell n is n. A cell cut by the border may have none."""
        return self._inner(self._scene.shapes.nuclei)

    @property
    def count(self) -> int:
        """Number of cells."""
        return len(self._scene.sites)

    @property
    def border(self) -> np.ndarray:
        """(cell,) bool: whether cell n + 1 touches the image's border."""
        labels = self.truth
        out = np.zeros(self.count + 1, bool)
        for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            out[line] = True
        return out[1:]

    @property
    def image_labels(self) -> tuple[str, ...]:
        """What the image shows, in the order of `classes`; each label holds for at least one cell. () where there is no cell.

        "Negative" beside other labels is left out where every cell is needed for those.
        """
        return tuple(name for name in self._wanted if any(name in own for own in self.cell_classes))

    @cached_property
    def _wanted(self) -> tuple[str, ...]:
        wanted = draw_image_labels(self.classes, self._rng(2)) if self.labels is None else self.labels
        return tuple(name for name in self.classes if name in wanted)

    @cached_property
    def cell_classes(self) -> tuple[tuple[str, ...], ...]:
        """The classes of cell 1, 2, …. A cell that shows nothing is "Negative" where that is a class, else ()."""
        shapes = self._scene.shapes
        area = np.bincount(self.nuclei.ravel(), minlength=self.count + 1)[1:]
        whole = np.array([np.pi * site.nucleus_radius**2 for site in self._scene.sites])
        seen = area >= 0.6 * whole if len(shapes.windows) else np.zeros(0, bool)
        return draw_labels(self._wanted, self.classes, seen, self.penetrance, self._rng(3))

    def write(self, folder: Path | str, name: str) -> str:
        """Write `name_red.png`, `name_green.png`, …, and return the path with braces that names them as one image.

        Raises:
            OutputError: they cannot be written.
        """
        from malpighi.phantoms.cell_files import write_png

        for channel, plane in zip(CHANNELS, self.image, strict=True):
            write_png(Path(folder) / f"{name}_{channel}.png", plane)
        return str(Path(folder) / f"{name}_{{{','.join(CHANNELS)}}}.png")

    def write_truth(self, path: Path | str) -> Path:
        """Write `truth` as a 16-bit PNG.

        Raises:
            OutputError: it cannot be written.
        """
        from malpighi.phantoms.cell_files import write_png

        return write_png(Path(path), self.truth.astype(np.uint16))

    @property
    def _margin(self) -> int:
        return int(np.ceil(0.8 * self.span))

    @cached_property
    def _scene(self) -> _Scene:
        margin = self._margin
        canvas = (self.shape[0] + 2 * margin, self.shape[1] + 2 * margin)
        rng = self._rng(0)
        sites = place(self.shape, margin, self.span, self.cells, self.share, rng)
        shapes = grow(sites, canvas, self.span, rng)
        area = np.bincount(self._inner(shapes.labels).ravel(), minlength=len(sites) + 1)
        keep = [n for n in range(1, len(sites) + 1) if area[n] >= (1 if self.cells is not None else _SLIVER * self.span**2)]
        return _Scene(tuple(sites[n - 1] for n in keep), renumbered(shapes, keep))

    @cached_property
    def _image(self) -> np.ndarray:
        scene = self._scene
        made = build(scene.shapes, scene.sites, self.span, self._rng(1))
        planes = self._draw(made)
        rng = self._rng(4)
        top = 2**self.bits - 1
        out = np.empty((len(CHANNELS), *self.shape), np.uint8 if self.bits == 8 else np.uint16)
        for i, name in enumerate(CHANNELS):
            sharp = cv2.GaussianBlur(planes[name], (0, 0), max(0.45, 0.55 * made.unit))
            light = np.maximum(self._inner(sharp), 0) + np.float32(_DARK[name])
            # shot noise: a Poisson count of mean n is nearly normal with spread √n; a grey value is about 2 photons here
            grain = rng.standard_normal(self.shape, np.float32)
            light = light + np.float32(self.noise) * grain * np.sqrt(0.45 * light + 1.5)
            out[i] = np.clip(light * np.float32(top / 255) + 0.5, 0, top)
        return out

    def _draw(self, made: Structures) -> dict[str, np.ndarray]:
        """Light of every channel over the canvas, before it is blurred."""
        scene = self._scene
        shapes, gain = scene.shapes, {}
        for i, name in enumerate(("red", "blue", "yellow")):
            own = np.exp(self.variation * 0.22 * self._rng(5, i).standard_normal(len(scene.sites) + 1)).astype(np.float32)
            gain[name] = own[shapes.labels] * np.float32(_BRIGHT[name])
        tubes = made.microtubules
        body = cv2.GaussianBlur(tubes, (0, 0), 4 * made.unit) * made.thickness
        red = (0.95 * tubes + 0.25 * body) * (1 - 0.45 * made.nucleus)
        blue = made.nucleus * (0.8 + 0.09 * made.fine + 0.13 * made.coarse) * (1 - 0.45 * made.nucleoli)
        return {
            "red": red * gain["red"],
            "green": self._protein(made),
            "blue": blue * gain["blue"],
            "yellow": made.reticulum * gain["yellow"],
        }

    def _protein(self, made: Structures) -> np.ndarray:
        scene = self._scene
        out = np.zeros(scene.shapes.labels.shape, np.float32)
        spread = 0.28 * self.variation
        for number, (site, names) in enumerate(zip(scene.sites, self.cell_classes, strict=True), 1):
            rng = self._rng(6, number)
            view = View.of(scene.shapes, made, site, number)
            light = _HAZE * np.exp(spread * rng.standard_normal()) * haze(view, rng)
            for name in names:
                strength = self.contrast * _BRIGHT["green"] * np.exp(spread * rng.standard_normal()) / len(names) ** 0.5
                light = light + strength * DRAWN[name](view, rng)
            window = out[scene.shapes.windows[number - 1]]
            window[view.inside] = np.maximum(light, 0)[view.inside]
        return out

    def _inner(self, canvas: np.ndarray) -> np.ndarray:
        m = self._margin
        return np.ascontiguousarray(canvas[m : m + self.shape[0], m : m + self.shape[1]])

    def _rng(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *purpose])


@dataclass(frozen=True, eq=False)
class _Scene:
    sites: tuple[Site, ...]
    shapes: Shapes


def write_dataset(
    folder: Path | str,
    images: int,
    *,
    seed: int = 0,
    shape: tuple[int, int] = (512, 512),
    progress: Callable[[int, int], None] | None = None,
    **options: object,
) -> Path:
    """Write a data set as the competition lays it out, with the truth of every cell beside it; see `cell_files.write`."""
    from malpighi.phantoms.cell_files import write

    return write(folder, images, seed=seed, shape=shape, progress=progress, **options)
