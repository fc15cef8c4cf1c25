"""Cells of a multi-channel fluorescence image: nuclei, then each nucleus's cell around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from malpighi.errors import RecipeError


@dataclass(frozen=True)
class CellOptions:
    """How cells are found, before anything is learnt of what is in them.

    Lengths and areas are level-0 pixels of the image, or µm where `unit` says so and the image its pixel size.

    Attributes:
        method: "classical" (threshold, then watershed), "nuclei" (the nuclei by the starter model, cells by watershed), or
            "cellpose" (an optional extra; its weights come from the model hub).
        scale: images are worked at this share of their size, and labels brought back: 2048² at .25 is 512².
        nucleus_area: smallest nucleus.
        cell_area: smallest cell.
        split: how deep the saddle between two nuclei that touch must be, as a share of the smaller one's radius.
        reach: farthest that a cell's border may lie from its nucleus; 0: no limit.
    """

    method: Literal["classical", "nuclei", "cellpose"] = "classical"
    scale: float = 0.25
    nucleus_area: float = 1500.0
    cell_area: float = 4000.0
    split: float = 0.25
    reach: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 1:
            raise RecipeError(f"cells.scale {self.scale}: a share of the image's size, above 0 and up to 1")
        for name in ("nucleus_area", "cell_area", "split", "reach"):
            if getattr(self, name) < 0:
                raise RecipeError(f"cells.{name} {getattr(self, name)}: give 0 or more")


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of one image.

    Attributes:
        labels: (y, x) int32, cell 1, 2, … without gaps, 0 outside of cells.
        nuclei: (y, x) int32, the nucleus of cell n is n.
        border: (cell,) bool: whether cell n + 1 touches the image's border.
    """

    labels: np.ndarray
    nuclei: np.ndarray
    border: np.ndarray

    @property
    def count(self) -> int:
        """Number of cells."""
        return len(self.border)
