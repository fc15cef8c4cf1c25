"""From the stains of one image to those of another: one affine map of densities, or one table a channel.

Each transfer is linear in optical density, so the colour stage multiplies it into the map that it applies anyhow
(`Colour.density`): transferring costs nothing that stain jitter does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malpighi.sampling.stain_fit import AXES, Staining, full_basis, unmixing

_LARGEST = 8.0  # most that an amount or a spread is enlarged: beyond it noise is shown, not tissue


@dataclass(frozen=True, eq=False)
class Restain:
    """What the stain tools change in one item, before everything else that its colour stage does.

    Attributes:
        density: (3, 4) affine map of densities.
        tables: (3, 256) uint8, a new value for each value of each channel; before `density`.
        white: colour of the glass of the item's slide, for holes.
    """

    density: np.ndarray | None = None
    tables: np.ndarray | None = None
    white: tuple[float, ...] = ()


def transfer(source: Staining, target: Staining) -> np.ndarray | None:
    """(3, 4) map of the source's densities to those that its tissue would have in the target's stains; None where one has none.

    Macenko and Vahadane: amounts of the source's stains, scaled so that their 99th percentiles agree, in the target's. Reinhard: along
    l, α, β of the logarithms of red, green and blue (the published cone responses would need a map before the logarithm and
    one after) mean and standard deviation become the target's.
    """
    if source.vectors is not None and target.vectors is not None:
        assert source.amounts is not None
        assert target.amounts is not None
        scale = np.append(target.amounts / source.amounts, 1.0)
        if scale.max() > _LARGEST:
            return None
        mixed = unmixing(source.vectors) @ np.diag(scale) @ full_basis(target.vectors)  # rows are densities: row @ mixed
        return np.column_stack([mixed.T, np.zeros(3)])
    if source.centre is not None and target.centre is not None:
        assert source.spread is not None
        assert target.spread is not None
        scale = target.spread / source.spread
        if scale.max() > _LARGEST:
            return None
        turned = AXES.T @ np.diag(scale) @ AXES
        return np.column_stack([turned, AXES.T @ (target.centre - scale * source.centre)])
    return None


def matching(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(C, 256) float64: the target's value of equal rank for each value of the source, linear between.

    Args:
        source, target: (C, 256) counts of values; as `skimage.exposure.match_histograms` counts them.
    """
    return np.stack([_matched(*pair) for pair in zip(source, target, strict=True)])


def _matched(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    there = np.flatnonzero(target)
    return np.interp(np.cumsum(source) / source.sum(), np.cumsum(target)[there] / target.sum(), there)


def blended(tables: np.ndarray, part: float) -> np.ndarray:
    """(C, 256) uint8: `part` of the tables, the rest the values as they were."""
    return np.rint(part * tables + (1 - part) * np.arange(256)).astype(np.uint8)


def after(first: np.ndarray, then: np.ndarray | None) -> np.ndarray:
    """One affine map of densities for two, one after the other.

    Args:
        first: (3, 4).
        then: (3, 4), or (1, 2): alike for each channel; None: nothing.
    """
    if then is None:
        return first
    if len(then) == 1:
        return first * then[0, 0] + np.append(np.zeros(3), then[0, 1])
    both = then[:, :3] @ first
    both[:, 3] += then[:, 3]
    return both
