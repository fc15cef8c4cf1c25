"""Class activation maps: where in an image a classifier sees its labels, and how much of it lies in each cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from malpighi.errors import RecipeError


@dataclass(frozen=True)
class MapOptions:
    """How class maps are made and read cell by cell.

    Attributes:
        method: "cam" (Zhou et al. 2016), "grad-cam" (Selvaraju et al. 2017) or "grad-cam++" (Chattopadhay et al. 2018).
        scales: the image is looked at in each of these sizes, and the maps are averaged.
        flips: also mirrored.
        pooling: of a map inside a cell: "mean", "max", or "top" (mean of the highest tenth).
    """

    method: Literal["cam", "grad-cam", "grad-cam++"] = "cam"
    scales: tuple[float, ...] = (1.0,)
    flips: bool = True
    pooling: Literal["mean", "max", "top"] = "mean"

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise RecipeError(f"maps.scales {list(self.scales)}: give one or more sizes above 0, 1.0 is the image's own")
