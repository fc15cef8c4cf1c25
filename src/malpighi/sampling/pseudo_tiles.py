"""How pseudo-labels of whole images are made and used. Torch-free, so that recipes are read without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from malpighi.errors import RecipeError


@dataclass(frozen=True)
class CycleOptions:
    """Cycles of `malpighi cycle --task ftu`: train, label what is not labelled, train again.

    Attributes:
        cycles: at most, after the first training; they end before where held-out images do not gain.
        gain: least gain in the validation score that lets them go on.
        share: chance, in a training box, of one with pseudo-labels.
        soft: labels are probabilities; else 0 and 1 by the recipe's thresholds.
        sure: a voxel is labelled where the probability is at least this, or at most 1 minus this; between, nobody says what is there.
            0.5 labels every voxel.
        positive: only boxes with some object in them are drawn of pseudo-labelled images.
        folds: the labels are the mean of networks trained on so many folds; 1: of the recipe's fold alone. A held-out image teaches
            none of them.
        groups: "none", or "alternate": two networks, each on its own reductions (`reductions`), label for one another.
        reductions: of the two groups: of the working spacing.
        keep: share of the images that are labelled, the surest; 1 keeps all.
    """

    cycles: int = 3
    gain: float = 0.002
    share: float = 0.25
    soft: bool = True
    sure: float = 0.5
    positive: bool = False
    folds: int = 1
    groups: Literal["none", "alternate"] = "none"
    reductions: tuple[float, float] = (1.0, 2.0)
    keep: float = 1.0

    def __post_init__(self) -> None:
        if self.cycles < 1 or self.folds < 1:
            raise RecipeError(f"cycle.cycles {self.cycles} and cycle.folds {self.folds}: both are at least 1")
        if not 0 < self.share < 1:
            raise RecipeError(f"cycle.share {self.share}: more than 0, and less than 1")
        if not 0.5 <= self.sure < 1:
            raise RecipeError(f"cycle.sure {self.sure}: between 0.5 (every voxel is labelled) and 1")
        if not 0 < self.keep <= 1:
            raise RecipeError(f"cycle.keep {self.keep}: a share of more than 0 and at most 1")
        if min(self.reductions) <= 0:
            raise RecipeError(f"cycle.reductions {list(self.reductions)}: both are more than 0")
