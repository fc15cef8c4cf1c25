"""The stains of an image: what Macenko, Vahadane and Reinhard know of it, fitted once from a sample of its pixels.

Densities are those of the colour stage, -log((v + 1) / 256) of 8-bit values v, so that a fit and the change made from it agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_FAINT = 0.15  # mean density below which a pixel is glass: the β of Macenko et al. 2009
_FEWEST = 500  # pixels of tissue from which anything is fitted
_MOST = 20_000  # pixels that a fit looks at
_NARROWEST = math.radians(4)  # stains nearer to one another than this are one
_SPARSE = 0.1  # λ of Vahadane et al. 2016
_ROUNDS = 60  # of the sparse factorisation; the angle moves by less than 0.1 degrees after 30

# Reinhard et al. 2001: l ∝ the sum of the logarithms, α ∝ yellow - blue, β ∝ red - green; orthonormal rows
AXES = np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]]) / np.sqrt([[3], [6], [2]])


@dataclass(frozen=True, eq=False)
class Staining:
    """What the stain tools know of one image.

    Attributes:
        vectors: (2, 3) densities in red, green, blue of the two stains, unit rows, the one that takes more red (haematoxylin)
            first; None where no two stains were found, or by "reinhard".
        amounts: (2,) 99th percentile of how much there is of each.
        centre, spread: (3,) mean and standard deviation of tissue along `AXES`; None where there is no tissue, or one colour.
        counts: (3, 256) how many pixels, of glass too, have each value.
        white: colour of the image's glass, 0 … 255.
    """

    counts: np.ndarray
    white: tuple[float, ...]
    vectors: np.ndarray | None = None
    amounts: np.ndarray | None = None
    centre: np.ndarray | None = None
    spread: np.ndarray | None = None


def fit_staining(pixels: np.ndarray, by: str, white: tuple[float, ...] = (255.0,) * 3) -> Staining:
    """Fit one image.

    Args:
        pixels: (n, 3) uint8 RGB.
        by: "macenko", "vahadane" or "reinhard"; what the others need is left out.
        white: of the image's glass.
    """
    counts = np.stack([np.bincount(channel, minlength=256) for channel in pixels.T])
    dense = densities(pixels)
    dense = dense[dense.mean(1) > _FAINT]
    if len(dense) < _FEWEST:
        return Staining(counts, white)
    if by == "reinhard":
        moved = dense @ AXES.T
        spread = moved.std(0)
        if spread.min() < 1e-3:  # one grey value of 255 is 0.004
            return Staining(counts, white)
        return Staining(counts, white, centre=moved.mean(0), spread=spread)
    dense = dense[np.linspace(0, len(dense) - 1, min(len(dense), _MOST)).astype(int)]
    vectors = macenko_vectors(dense)
    if vectors is not None and by == "vahadane":
        vectors = vahadane_vectors(dense, vectors)
    if vectors is None:
        return Staining(counts, white)
    amounts = np.percentile(dense @ unmixing(vectors)[:, :2], 99, axis=0)
    if amounts.min() < 0.05:
        return Staining(counts, white)
    return Staining(counts, white, vectors, amounts)


def densities(pixels: np.ndarray) -> np.ndarray:
    """(n, 3) uint8 → (n, 3) float64 optical densities, natural logarithm."""
    return -np.log((np.arange(256) + 1) / 256)[pixels]


def full_basis(vectors: np.ndarray) -> np.ndarray:
    """(3, 3): two stains and the direction across both, in which what is neither is kept as it is."""
    across = np.cross(vectors[0], vectors[1])
    return np.vstack([vectors, across / np.linalg.norm(across)])


def unmixing(vectors: np.ndarray) -> np.ndarray:
    """(3, 3): row of densities @ this = amounts of both stains and of what is neither."""
    return np.linalg.inv(full_basis(vectors))


def macenko_vectors(dense: np.ndarray) -> np.ndarray | None:
    """Stain vectors by the extreme angles in the plane of the two largest singular vectors (Macenko et al. 2009).

    Args:
        dense: (n, 3) densities of tissue.

    Returns:
        (2, 3) unit rows, haematoxylin first; None where the pixels lie along one line.
    """
    _, axes = np.linalg.eigh(dense.T @ dense)
    plane = axes[:, [2, 1]]  # largest first
    plane = plane * np.where(plane.sum(0) < 0, -1, 1)
    along, across = (dense @ plane).T
    low, high = np.percentile(np.arctan2(across, along), [1, 99])
    if high - low < _NARROWEST:
        return None
    return _ordered(np.stack([[math.cos(a), math.sin(a)] for a in (low, high)]) @ plane.T)


def vahadane_vectors(dense: np.ndarray, start: np.ndarray) -> np.ndarray | None:
    """Stain vectors by sparse non-negative factorisation (Vahadane et al. 2016): least ½‖V - H W‖² + λ‖H‖₁ with H, W ≥ 0.

    The codes of two stains are found exactly; the stains by block-coordinate descent on the unit ball (Mairal et al. 2010).

    Args:
        dense: (n, 3) densities of tissue.
        start: (2, 3) stains to begin with, those of Macenko.

    Returns:
        As `macenko_vectors`.
    """
    stains = np.maximum(start, 1e-6)
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    for _ in range(_ROUNDS):
        codes = sparse_codes(dense, stains, _SPARSE)
        gram, seen = codes.T @ codes, codes.T @ dense
        for k in (0, 1):
            if gram[k, k] > 0:
                stains[k] = np.maximum(stains[k] + (seen[k] - gram[k] @ stains) / gram[k, k], 0)
                stains[k] /= max(np.linalg.norm(stains[k]), 1e-9)
    if np.linalg.norm(stains, axis=1).min() < 0.9 or stains[0] @ stains[1] > math.cos(_NARROWEST):
        return None
    return _ordered(stains)


def sparse_codes(dense: np.ndarray, stains: np.ndarray, penalty: float) -> np.ndarray:
    """(n, 2) amounts that minimise ½‖v - h W‖² + penalty · (h₁ + h₂), h ≥ 0, exactly: both stains, one alone, or none."""
    seen = dense @ stains.T - penalty
    cosine = float(stains[0] @ stains[1])
    both = (seen - cosine * seen[:, ::-1]) / (1 - cosine**2)
    alone = np.where(seen >= seen.max(1, keepdims=True), np.maximum(seen, 0), 0)
    return np.where((both >= 0).all(1, keepdims=True), both, alone)


def _ordered(vectors: np.ndarray) -> np.ndarray:
    return vectors if vectors[0, 0] >= vectors[1, 0] else vectors[::-1]
