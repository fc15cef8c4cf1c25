"""Pseudo-labels: which of its image's labels each cell gets, why, and since when."""

from __future__ import annotations

from dataclasses import dataclass

from malpighi.errors import RecipeError


@dataclass(frozen=True)
class PseudoCellOptions:
    """Which cells are labelled.

    Attributes:
        threshold: score in the cell from which it gets a label that its image has.
        none: cells whose every score of their image's labels is below this are of no class: they teach "none of these".
            Between the two a cell is left out. 0: nothing is taught.
        single: a cell gets the one label that scores highest; else all above the threshold.
        lone: every cell of an image with one label gets it, whatever its score.
        most: share of a class's cells that may be labelled, the highest first.
    """

    threshold: float = 0.5
    none: float = 0.1
    single: bool = True
    lone: bool = False
    most: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.none <= self.threshold <= 1:
            raise RecipeError(f"pseudo.none {self.none} and threshold {self.threshold}: 0 <= none <= threshold <= 1")
        if not 0 < self.most <= 1:
            raise RecipeError(f"pseudo.most {self.most}: a share above 0, up to 1")
