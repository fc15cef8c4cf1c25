"""A cell's final scores: its own, its image's, how likely it is negative, and how much of it is in the image."""

from __future__ import annotations

from dataclasses import dataclass

from malpighi.errors import RecipeError


@dataclass(frozen=True)
class FuseOptions:
    """How scores are joined.

    Attributes:
        image: weight of the image's score against the cell's, 0 … 1; -1: the one that ranks held-out images best.
        maps: weight of the class map in the cell against the cell classifier's score, 0 … 1; -1: likewise.
        negative: name of the class that says none of the others is there; the others are multiplied by 1 - its score. Empty:
            there is none.
        edge_area: confidence of a cell at the image's border is multiplied by min(1, area / this), level-0 pixels; 0: not.
    """

    image: float = -1.0
    maps: float = -1.0
    negative: str = "Negative"
    edge_area: float = 80_000.0

    def __post_init__(self) -> None:
        for name in ("image", "maps"):
            value = getattr(self, name)
            if value != -1 and not 0 <= value <= 1:
                raise RecipeError(f"fuse.{name} {value}: a weight from 0 to 1, or -1 to learn it on held-out images")
        if self.edge_area < 0:
            raise RecipeError(f"fuse.edge_area {self.edge_area}: give 0 or more")
