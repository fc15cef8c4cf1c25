"""Random numbers by name: what is drawn depends on the keys alone, never on what was drawn before or by whom."""

from __future__ import annotations

import numpy as np


def stream(*keys: int) -> np.random.Generator:
    """A counter-based generator for these keys (integers, 0 or more); equal keys give equal numbers on every machine."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(keys)))


def item_seed(*keys: int) -> int:
    """One 64-bit seed for these keys, say (run seed, step, item of the batch)."""
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0])
