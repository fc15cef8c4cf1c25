"""Images whose stains are known."""

import numpy as np

HE = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
PAS = np.array([[0.60, 0.65, 0.45], [0.15, 0.85, 0.50]])


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def stained(vectors: np.ndarray, side: int = 120, seed: int = 0, strength: float = 1.0) -> np.ndarray:
    """(3, side, side) uint8: a third mostly the first stain, a third mostly the second, a sixth both, a sixth glass."""
    rng = np.random.default_rng(seed)
    amounts = rng.gamma(6, 0.12, (side * side, 2)) * strength
    kind = rng.choice(4, side * side, p=(1 / 3, 1 / 3, 1 / 6, 1 / 6))
    amounts[kind == 0, 1] *= 0.01
    amounts[kind == 1, 0] *= 0.01
    amounts[kind == 3] *= 0.01
    values = 256 * np.exp(-amounts @ unit(vectors)) - 1
    return np.clip(np.rint(values), 0, 255).astype(np.uint8).T.reshape(3, side, side)


def pixels(image: np.ndarray) -> np.ndarray:
    return image.reshape(3, -1).T


def degrees(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle between each row of one and the same of the other."""
    return np.degrees(np.arccos(np.clip((unit(a) * unit(b)).sum(1), -1, 1)))
