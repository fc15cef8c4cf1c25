"""How a network is slid over an image. Torch-free: recipes read it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from malpighi.errors import RecipeError
from malpighi.geometry import Grid, Space, Spacing

WindowKind = Literal["center", "gaussian", "pyramid"]
Flips = Literal["none", "flips", "d4"]
Average = Literal["probability", "logit"]

_BUDGET_MB = {2: 128, 3: 256}


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """Options of `predict` and of the store it fills.

    Attributes:
        tile: side of a tile in voxels at the working spacing, one for all axes or one an axis.
        overlap: share of the tile that it has in common with the next one along an axis, 0 … 0.9.
        window: how overlapping tiles are joined. "center": each tile gives only the core it owns; "gaussian" (σ = tile / 8)
            and "pyramid" (linear): weighted mean of all tiles over a voxel.
        batch: tiles a forward pass; the last batch is padded to it.
        flips: test-time augmentation: "flips" averages over mirrors along every axis (2-D: 4 passes, 3-D: 8), "d4" also
            over the exchange of the last two axes, which makes all right-angle turns (8; 16). Networks on slices are
            turned in plane only (4; 8), along each of `data.axes`.
        average: of flips, axes and overlapping slices: "probability" is the mean probability, "logit" the probability of
            the mean logit, which lets a sure answer outweigh doubts. Overlapping tiles are joined as `window` says.
        thresholds: probability from which a voxel is part of a class; one for all classes, or one a class.
        top: instead of `thresholds`: the given per cent of an image's voxels, the most probable ones, are of the class (of
            each class), however sure the network is; 0: off.
        gate: a tile whose head gives a class a probability of less than this holds none of it (`model.tile_class`); 0: off.
        across: the image is reduced by the least whole number with which so many tiles reach across its longer side; 0: it is worked at
            `data.spacing`. For images that are wholes of different size, as the five organs of HuBMAP + HPA (2022).
        one_class: of each image only the class with most voxels is kept.
        skip_blank: leave out tiles that show only glass, of 8-bit RGB images; volumes have none and are never skipped.
        probabilities: also store the probabilities, 8 bits each.
        readers: threads that read ahead.
        memory_mb: what the unfinished part of the result may take; a wider image is worked in columns, and tiles on the
            border of two are predicted twice. 0: 128 in 2-D, 256 in 3-D.
    """

    tile: int | tuple[int, ...] = 512
    overlap: float = 0.25
    window: WindowKind = "gaussian"
    batch: int = 4
    flips: Flips = "none"
    average: Average = "probability"
    thresholds: tuple[float, ...] = (0.5,)
    top: float = 0.0
    skip_blank: bool = True
    probabilities: bool = False
    readers: int = 2
    memory_mb: int = 0
    gate: float = 0.0
    across: int = 0
    one_class: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "tile", self.tile if isinstance(self.tile, int) else tuple(int(n) for n in self.tile))
        object.__setattr__(self, "thresholds", tuple(float(t) for t in self.thresholds))
        sides = (self.tile,) if isinstance(self.tile, int) else self.tile
        _require(bool(sides) and min(sides) > 0, f"tile {self.tile}: sides must be positive")
        _require(0 <= self.overlap <= 0.9, f"overlap {self.overlap}: the share of the tile must lie in 0 … 0.9")
        _require(self.window in ("center", "gaussian", "pyramid"), f"window {self.window!r}: use center, gaussian or pyramid")
        _require(self.flips in ("none", "flips", "d4"), f"flips {self.flips!r}: use none, flips or d4")
        _require(self.average in ("probability", "logit"), f"average {self.average!r}: use probability or logit")
        _require(0 <= self.top < 100, f"top {self.top}: per cent of the voxels, 0 (off) … 100")
        _require(0 <= self.gate < 1, f"gate {self.gate}: a probability, 0 (off) … 1")
        _require(self.across >= 0, f"across {self.across}: a number of tiles, or 0 (off)")
        _require(self.batch > 0, f"batch {self.batch}: must be at least 1")
        _require(self.readers > 0, f"readers {self.readers}: must be at least 1")
        _require(self.memory_mb >= 0, f"memory_mb {self.memory_mb}: must be 0 (automatic) or more")
        _require(
            bool(self.thresholds) and all(0 < t < 1 for t in self.thresholds),
            f"thresholds {self.thresholds}: each must lie between 0 and 1",
        )

    def sides(self, rank: int) -> tuple[int, ...]:
        """The tile's shape for images of `rank` axes."""
        sides = (self.tile,) * rank if isinstance(self.tile, int) else self.tile
        _require(len(sides) == rank, f"tile {self.tile}: the image has {rank} axes; give one side, or {rank}")
        return sides

    def grid(self, shape: tuple[int, ...]) -> Grid:
        """The tiles of an image of `shape`, anchored at its origin."""
        tile = self.sides(len(shape))
        return Grid(shape, tile, tuple(max(1, side - math.floor(side * self.overlap + 1e-9)) for side in tile))

    def spacing(self, space: Space, working: Spacing) -> Spacing:
        """At which spacing an image is worked: at `working`, or, with `across`, at the least whole multiple of its own that suits."""
        if not self.across:
            return working
        longest = max(range(space.rank), key=space.shape.__getitem__)
        return space.spacing.times(max(1, -(-space.shape[longest] // (self.across * self.sides(space.rank)[longest]))))

    def limits(self, classes: int) -> tuple[float, ...]:
        """One threshold a class."""
        limits = self.thresholds * classes if len(self.thresholds) == 1 else self.thresholds
        _require(len(limits) == classes, f"thresholds {self.thresholds}: give one, or one for each of the {classes} classes")
        return limits

    def budget(self, rank: int) -> int:
        """Bytes that the unfinished part of the result may take."""
        return (self.memory_mb or _BUDGET_MB.get(rank, 256)) * 1_000_000


def _require(fine: bool, message: str) -> None:
    if not fine:
        raise RecipeError(message)
