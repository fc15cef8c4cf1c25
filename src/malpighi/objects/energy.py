"""How far an object lies from what a network takes for background: the energy of its voxels."""

from __future__ import annotations

import numpy as np

STEPS = 255
"""Steps in which stored probabilities come."""


def energies(probabilities: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """T·log(1 + exp(logit / T)) of every voxel: minus the free energy against a background of logit 0 (Liu et al. 2020, eq. 4).

    The logit is that of the probability. Stored in 8 bits, probabilities beyond half a step from 0 and 1 are not known: all are held
    within [1/510, 1 - 1/510], so that at T = 1 the energy lies between .002 and 6.23; at probability .5 it is T·log 2.

    Args:
        probabilities: of any shape; floating point in 0 … 1, or integers of which the largest stands for 1.
        temperature: T; higher ones tell the sure from the very sure.

    Returns:
        The same shape, float32; NaN stays NaN.
    """
    if not np.issubdtype(probabilities.dtype, np.integer):
        return _energy(probabilities.astype(np.float64), temperature).astype(np.float32)
    largest = np.iinfo(probabilities.dtype).max
    if largest > 65535:
        return energies(probabilities / largest, temperature)
    return _energy(np.arange(largest + 1) / largest, temperature).astype(np.float32)[probabilities]


def _energy(probability: np.ndarray, temperature: float) -> np.ndarray:
    p = np.clip(probability, 0.5 / STEPS, 1 - 0.5 / STEPS)
    x = np.log(p / (1 - p)) / temperature
    return temperature * (np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))
