"""Tolerance: how far apart two surfaces may lie and still count as the same."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from malpighi.errors import RecipeError, SpacingError
from malpighi.geometry import Spacing

_WRITTEN = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*(um|µm|μm|px|voxels?|)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A distance in micrometres, or in voxels: then of the axis with the smallest ones."""

    value: float
    unit: Literal["µm", "voxel"] = "voxel"

    def __post_init__(self) -> None:
        if not math.isfinite(self.value) or self.value < 0:
            raise RecipeError(f"tolerance {self.value}: give 0 or more")

    @classmethod
    def parse(cls, text: str) -> Tolerance:
        """Read "2um", "1.5 voxels", or a bare number of voxels.

        Raises:
            RecipeError: none of these.
        """
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise RecipeError(f"tolerance {text!r}: give micrometres as 2um, or voxels as 1voxel or 1")
        micrometres = found[2].lower().endswith("m")
        return cls(float(found[1]), "µm" if micrometres else "voxel")

    def at(self, spacing: Spacing) -> float:
        """The distance in the unit of `spacing`.

        Raises:
            SpacingError: micrometres are asked for where the image's spacing is in pixels.
        """
        if self.unit == "voxel":
            return self.value * min(spacing.values)
        if not spacing.physical:
            raise SpacingError(
                f"a tolerance of {self} needs the size of a voxel, which the image does not say; "
                "give it with --spacing (µm), or the tolerance in voxels"
            )
        return self.value

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}" + "s" * (self.unit == "voxel" and self.value != 1)
