"""Several predictions of one image as one: weighted mean, union, or majority. The same code when weights are fitted and when they are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

How = Literal["weighted", "mean", "union", "vote"]
HOWS: tuple[How, ...] = ("weighted", "mean", "union", "vote")


@dataclass(frozen=True, eq=False)
class Combination:
    """What is done with the members' probabilities of a voxel.

    Attributes:
        weights: (member,) not negative, of sum 1; of the mean.
        cuts: (member, class) 8-bit level from which on a member's mask holds a voxel: the result is then the share of the members
            whose mask does, and `weights` do not matter. None: the result is the weighted mean.
    """

    weights: np.ndarray
    cuts: np.ndarray | None = None

    def levels(self, members: np.ndarray) -> np.ndarray:
        """(class, *spatial) uint8 from (member, class, *spatial) uint8; 255 stands for 1.

        A mean is rounded to 8 bits here, once: what a threshold was fitted on is what it is applied to. Members are added one by
        one in float32, so that a voxel's bits do not depend on the box it is part of.
        """
        total = np.zeros(members.shape[1:], np.float32)
        if self.cuts is not None:
            for member, cut in zip(members, self.cuts, strict=True):
                total += member >= cut.reshape(-1, *[1] * (member.ndim - 1))
            total *= np.float32(255 / len(members))
        else:
            for member, weight in zip(members, self.weights.astype(np.float32), strict=True):
                if weight > 0:
                    total += member * weight
        return np.rint(total, out=total).clip(0, 255).astype(np.uint8)


def even(members: int) -> np.ndarray:
    """(member,) equal weights."""
    return np.full(members, 1 / members)


def limit_of(how: How, members: int) -> float | None:
    """The share of votes that makes a mask, halfway between two possible ones; None where a fitted threshold does.

    A union takes one vote; a majority more than half of them.
    """
    if how == "union":
        return 0.5 / members
    return (members // 2 + 0.5) / members if how == "vote" else None


def expand(weights: Sequence[float], counts: Sequence[int]) -> np.ndarray:
    """(member,) each column's weight divided evenly over its members (its folds).

    Args:
        weights: of the columns.
        counts: members of each column.
    """
    return np.concatenate([np.full(n, w / n) for w, n in zip(weights, counts, strict=True)])
