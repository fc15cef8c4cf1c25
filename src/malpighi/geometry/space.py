"""Spacing and Space: how large a voxel is, and where the voxels of an image pyramid lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from malpighi.errors import SpacingError

Unit = Literal["µm", "px"]


@dataclass(frozen=True, slots=True)
class Spacing:
    """Size of a voxel by axis, in array order: micrometres, or plainly pixels of the image's finest level.

    `Spacing.um(.5, 2)` is half a micrometre; `Spacing.pixels(2, 4)` is four level-0 pixels. The two never mix: a ratio
    of one to the other is an error that names `--spacing`, not a guess.
    """

    values: tuple[float, ...]
    unit: Unit

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(float(v) for v in self.values))
        if self.unit not in ("µm", "px"):
            raise SpacingError(f"spacing unit {self.unit!r}: use 'µm' or 'px'")
        if not self.values or not all(math.isfinite(v) and v > 0 for v in self.values):
            raise SpacingError(f"spacing {self.values} must be positive and finite; give the true one with --spacing")

    @classmethod
    def um(cls, value: float | Sequence[float], rank: int = 2) -> Spacing:
        """`value` micrometres a voxel: one number for every axis, or one an axis."""
        return cls((float(value),) * rank if isinstance(value, (int, float)) else tuple(value), "µm")

    @classmethod
    def pixels(cls, rank: int = 2, factor: float | Sequence[float] = 1.0) -> Spacing:
        """`factor` level-0 pixels a voxel, for images whose physical size is unknown."""
        return cls((float(factor),) * rank if isinstance(factor, (int, float)) else tuple(factor), "px")

    @classmethod
    def parse(cls, text: str) -> Spacing:
        """What people write: "50" (µm, on every axis: a spacing of one axis), "2,0.5,0.5" (µm along z, y, x), "px" (in pixels),
        "3,1,1px" (along z, y, x, in pixels).

        Raises:
            SpacingError: anything else.
        """
        numbers = text.strip().removesuffix("px").removesuffix("µm").removesuffix("um")
        unit: Unit = "px" if text.strip().endswith("px") else "µm"
        try:
            values = tuple(float(part) for part in numbers.split(",")) if numbers.strip() or unit == "µm" else (1.0,)
        except ValueError:
            values = ()
        allowed = "give µm per pixel, as one number or by axis as z,y,x (2,0.5,0.5), or 'px'"
        if not 1 <= len(values) <= 3:
            raise SpacingError(f"spacing {text!r} is not a number; {allowed}")
        if not all(math.isfinite(v) and v > 0 for v in values):
            raise SpacingError(f"spacing {text!r} must be positive and finite; {allowed}")
        return cls(values, unit)

    @property
    def physical(self) -> bool:
        """Whether the unit is micrometres."""
        return self.unit == "µm"

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.values)

    def times(self, factor: float | Sequence[float]) -> Spacing:
        """The spacing of voxels `factor` times as large."""
        f = (float(factor),) * self.rank if isinstance(factor, (int, float)) else tuple(factor)
        return Spacing(tuple(v * k for v, k in zip(self.values, f, strict=True)), self.unit)

    def over(self, other: Spacing) -> tuple[float, ...]:
        """How many voxels of `other` one voxel of this spans, by axis.

        Raises:
            SpacingError: one is in micrometres and the other in pixels, or the ranks differ.
        """
        if self.unit != other.unit:
            raise SpacingError(
                f"{self} cannot be compared with {other}: one is physical, the other is not. "
                "Give the image's pixel size with --spacing (µm per pixel), or work in pixels throughout."
            )
        if self.rank != other.rank:
            raise SpacingError(f"{self} has {self.rank} axes and {other} has {other.rank}")
        return tuple(a / b for a, b in zip(self.values, other.values, strict=True))

    def __str__(self) -> str:
        same = len(set(self.values)) == 1
        return (f"{self.values[0]:g}" if same else " × ".join(f"{v:g}" for v in self.values)) + f" {self.unit}"


@dataclass(frozen=True)
class Space:
    """Where the voxels of an image lie: the shape of every pyramid level, finest first, and level 0's spacing.

    Voxel i of a level covers [i, i + 1) times that level's spacing, from the image's origin: all levels share corner
    and extent. `spacing` is in micrometres where the file or the user gave them, else `Spacing.pixels`.
    """

    shapes: tuple[tuple[int, ...], ...]
    spacing: Spacing
    axes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rank = len(self.shapes[0])
        object.__setattr__(self, "shapes", tuple(tuple(int(n) for n in shape) for shape in self.shapes))
        object.__setattr__(self, "axes", tuple(self.axes) or ("z", "y", "x")[-rank:])
        if any(len(shape) != rank for shape in self.shapes) or self.spacing.rank != rank or len(self.axes) != rank:
            raise SpacingError(f"levels {self.shapes}, spacing {self.spacing.values} and axes {self.axes} differ in rank")

    @classmethod
    def of_shape(cls, shape: Sequence[int], spacing: Spacing | None = None) -> Space:
        """A space of one level; in pixels where no spacing is given."""
        return cls((tuple(shape),), spacing or Spacing.pixels(len(shape)))

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.shapes[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape of level 0."""
        return self.shapes[0]

    @property
    def levels(self) -> int:
        """Number of pyramid levels."""
        return len(self.shapes)

    @cached_property
    def spacings(self) -> tuple[Spacing, ...]:
        """Spacing of every level. Near-integer reductions are taken as the integer: 4.0002 is 4, a rounded shape."""
        return tuple(self.spacing.times(self._reduction(shape)) for shape in self.shapes)

    def _reduction(self, shape: tuple[int, ...]) -> tuple[float, ...]:
        exact = [full / small for full, small in zip(self.shape, shape, strict=True)]
        whole = round(sum(exact) / len(exact))
        # floor or ceil of shape / whole: writers round either way
        if all(abs(full / whole - small) < 1 - 1e-9 for full, small in zip(self.shape, shape, strict=True)):
            return (float(whole),) * self.rank
        return tuple(
            float(round(e)) if abs(full / max(1, round(e)) - s) < 1 else e
            for e, full, s in zip(exact, self.shape, shape, strict=True)
        )

    def shape_at(self, spacing: Spacing) -> tuple[int, ...]:
        """Shape of the whole image at `spacing`: every part of the image is covered, the last voxel perhaps in part."""
        ratio = spacing.over(self.spacing)
        return tuple(max(1, math.ceil(n / r - 1e-6)) for n, r in zip(self.shape, ratio, strict=True))

    def level_for(self, spacing: Spacing) -> int:
        """The coarsest level that is at least as fine as `spacing` on every axis; 0 where none is."""
        best = 0
        for level, have in enumerate(self.spacings):
            if all(r >= 1 - 1e-3 for r in spacing.over(have)):
                best = level
        return best

    def with_spacing(self, spacing: Spacing) -> Space:
        """The same voxels with another level-0 spacing: what `--spacing` does."""
        return Space(self.shapes, spacing, self.axes)
