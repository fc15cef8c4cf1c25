"""Task: the few callables in which the tasks differ. Training and inference are given them and never ask for a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from malpighi.metrics.overlap import Overlap
from malpighi.models.losses import Loss


@dataclass(frozen=True)
class Task:
    """A configuration of the machine.

    Attributes:
        loss: of a network's outputs and a target (batch, class, *spatial).
        decode: probabilities (class, *spatial) → mask (class, *spatial) uint8 of 0 and 1.
        score: mask and truth (class, *spatial), 255 in the truth where nobody said → counts that add up.
    """

    loss: Loss
    decode: Callable[[np.ndarray], np.ndarray]
    score: Callable[[np.ndarray, np.ndarray], Overlap]
