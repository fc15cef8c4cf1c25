"""VesselPhantom: a kidney in a tomogram, with its vessels known exactly; drawn box by box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.base import Source
from malpighi.phantoms.artefacts import Artefacts
from malpighi.phantoms.organ import Organ
from malpighi.phantoms.parenchyma import VESSEL, Parenchyma
from malpighi.phantoms.sparse import dropped_subtrees, kept_slice
from malpighi.phantoms.tree import VesselTree
from malpighi.phantoms.tubes import Tubes

UNLABELLED = 255
TERRITORY = 22.0  # a tip has a cube of so many of its smallest radii to itself (of each tree)
MOST_TERMINALS = 4000  # of one tree unless asked for: bounds memory whatever the volume


@dataclass(frozen=True)
class VesselPhantom:
    """A synthetic 16-bit tomogram of a kidney with exact truth of its blood vessels.

    Attributes:
        shape: (z, y, x) voxels.
        seed: another seed is another kidney.
        spacing: µm per voxel, one number or one by axis.
        trees: vessels that enter at the hilum and branch: 2 stand for an artery and a vein.
        smallest: radius of the thinnest tips, µm; 1.5 of the smallest voxel side where None.
        terminals: tips of each tree; so many as fill the organ where None.
        tortuosity: how far branches leave the straight line, in their lengths.
        contrast: of vessels against tissue; 1 is usual.
        rings, drift, noise: strength of the artefacts; 1 is usual, 0 is none.
    """

    shape: tuple[int, int, int]
    seed: int = 0
    spacing: float | tuple[float, float, float] = 20.0
    trees: int = 2
    smallest: float | None = None
    terminals: int | None = None
    tortuosity: float = 0.04
    contrast: float = 1.0
    rings: float = 1.0
    drift: float = 1.0
    noise: float = 1.0

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 16:
            raise DataError(f"phantom: shape {self.shape}; give (z, y, x), each at least 16")
        if min(self.um) <= 0 or len(self.um) != 3:
            raise DataError(f"phantom: spacing {self.spacing} µm; give one number above 0, or one by axis")
        if self.trees < 1:
            raise DataError(f"phantom: {self.trees} trees; give 1 or more")
        if self.terminals is not None and self.terminals < 1:
            raise DataError(f"phantom: {self.terminals} terminals; give 1 or more, or None")
        if self.smallest is not None and self.smallest <= 0:
            raise DataError(f"phantom: smallest radius {self.smallest} µm; give more than 0, or None")

    @property
    def um(self) -> tuple[float, ...]:
        """µm per voxel by axis."""
        return (float(self.spacing),) * 3 if isinstance(self.spacing, (int, float)) else tuple(map(float, self.spacing))

    @property
    def space(self) -> Space:
        """Shape and spacing."""
        return Space.of_shape(self.shape, Spacing.um(self.um))

    @cached_property
    def organ(self) -> Organ:
        """The body that the vessels fill."""
        size = (self.shape[0] * self.um[0], self.shape[1] * self.um[1], self.shape[2] * self.um[2])
        smallest = self.smallest or 1.5 * min(self.um)
        fitting = round(0.75 * float(np.prod(size)) / (TERRITORY * smallest) ** 3)
        terminals = self.terminals or min(MOST_TERMINALS, max(3, fitting))
        return Organ(size, self.seed, self.trees, smallest, terminals, self.tortuosity)

    @property
    def tree(self) -> VesselTree:
        """The vessels: nodes, branches, centre lines, radii."""
        return self.organ.vessels

    @cached_property
    def tubes(self) -> Tubes:
        """All vessels, ready to be drawn."""
        return self._tubes(np.ones(len(self.tree), bool))

    @cached_property
    def parenchyma(self) -> Parenchyma:
        """The tissue between them."""
        return Parenchyma(self.organ, self.um, self.seed)

    @cached_property
    def artefacts(self) -> Artefacts:
        """What the scanner adds."""
        return Artefacts(self.shape, self.seed, self.rings, self.drift, self.noise)

    # -- boxes ---------------------------------------------------------------------------------------------------
    def render(self, box: Box) -> np.ndarray:
        """(1, z, y, x) uint16 of any box. A voxel depends on its place alone: boxes that overlap agree bit for bit."""
        depth, tree = self.tubes.draw(box)
        value = self.parenchyma.draw(box)
        brightness = VESSEL * self.contrast * (1 - 0.12 * (tree % 2))  # the second tree is a little fainter
        value += np.clip(depth + 0.5, 0, 1) * brightness
        return self.artefacts.apply(box, value)[None]

    def occupancy(self, box: Box) -> np.ndarray:
        """How much of each voxel is vessel, 0 to 1 (exact for a flat wall across an axis): (z, y, x) float32."""
        return np.asarray(np.clip(self.tubes.draw(box)[0] + 0.5, 0, 1))

    def truth_mask(self, box: Box) -> np.ndarray:
        """1 where a voxel's centre lies in a vessel, else 0: (z, y, x) uint8."""
        return np.asarray(self.tubes.draw(box)[0] > 0, np.uint8)

    # -- volumes -------------------------------------------------------------------------------------------------
    @property
    def source(self) -> Source:
        """The tomogram as an image."""
        return PhantomSource(f"vessel phantom {self.seed}", self.space, np.dtype(np.uint16), self.render)

    def truth(self, vessels: float = 1.0, slices: float = 1.0) -> Source:
        """The mask as an image of 0 and 1, dense or sparse as people annotate.

        Args:
            vessels: share (of the volume) of the vessels that are annotated; whole subtrees are left out and 0.
            slices: share of the z slices that are annotated; 255 (unlabelled) in the others.
        """
        for name, share in (("vessels", vessels), ("slices", slices)):
            if not 0 < share <= 1:
                raise DataError(f"phantom: {name}={share}; it is a share, more than 0 and at most 1")
        tubes = self.tubes if vessels == 1 else self._tubes(~dropped_subtrees(self.tree, 1 - vessels, self.seed))

        def draw(box: Box) -> np.ndarray:
            mask = np.asarray(tubes.draw(box)[0] > 0, np.uint8)
            z = box.start[0] + np.arange(box.size[0])
            mask[~kept_slice(z, slices)] = UNLABELLED
            return mask[None]

        return PhantomSource(f"vessel phantom {self.seed}, truth", self.space, np.dtype(np.uint8), draw)

    def write(self, path: Path, progress: Callable[[int, int], None] | None = None) -> Path:
        """Write the tomogram: OME-Zarr (.zarr), one TIFF stack (.tif) or, without a suffix, a folder of slices.

        Args:
            path: where; written under another name first where it is a TIFF or a folder.
            progress: called with (parts done, parts in all).

        Raises:
            OutputError: it exists or cannot be written; nothing is left behind.
        """
        from malpighi.phantoms.volumes import write_volume

        return write_volume(self.source, Path(path), "image", progress)

    def write_truth(
        self,
        path: Path,
        vessels: float = 1.0,
        slices: float = 1.0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Path:
        """Write `truth(vessels, slices)` as `write` does; a folder of slices lacks those that are not annotated."""
        from malpighi.phantoms.volumes import write_volume

        return write_volume(self.truth(vessels, slices), Path(path), "labels", progress)

    def _tubes(self, branches: np.ndarray) -> Tubes:
        return Tubes.of(self.tree, self.um, self.organ.size, branches)


class PhantomSource(Source):
    """A phantom as an image of one level and one channel."""

    def __init__(self, name: str, space: Space, dtype: np.dtype, draw: Callable[[Box], np.ndarray]) -> None:
        super().__init__(name, space, dtype, ("gray",))
        self._draw = draw

    def _read(self, box: Box, level: int) -> np.ndarray:
        return self._draw(box)
