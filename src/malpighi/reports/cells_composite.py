"""Channels of a fluorescence image as coloured lights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from malpighi.errors import DataError

# The Human Protein Atlas's colours: microtubules red, protein green, nucleus blue, endoplasmic reticulum yellow
LIGHTS: dict[str, tuple[float, float, float]] = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "cyan": (0, 1, 1),
    "magenta": (1, 0, 1),
    "gray": (1, 1, 1),
    "grey": (1, 1, 1),
    "white": (1, 1, 1),
}
_FAINT = 0.35  # yellow is half green: at full strength it would be read as protein


def composite(
    image: np.ndarray,
    channels: Sequence[str],
    percentiles: tuple[float, float] = (1.0, 99.7),
    limits: np.ndarray | None = None,
) -> np.ndarray:
    """Channels as coloured lights that add up, each stretched between two percentiles of its own.

    Args:
        image: (channel, y, x), any dtype.
        channels: a colour a channel (`LIGHTS`); names that are no colours take red, green, blue, yellow in order. Yellow is
            dimmed where there are other channels.
        percentiles: what becomes black and what full brightness.
        limits: (channel, 2) values to stretch between instead (`stretch_limits`), so that several pictures compare.

    Returns:
        (y, x, 3) uint8.
    """
    if image.ndim != 3 or len(image) != len(channels):
        raise DataError(f"composite: an image of shape {image.shape} and {len(channels)} channel names; it is (channel, y, x)")
    limits = stretch_limits(image, percentiles) if limits is None else limits
    order = list(LIGHTS.values())
    out = np.zeros((*image.shape[1:], 3), np.float32)
    for i, (name, plane) in enumerate(zip(channels, image, strict=True)):
        light = np.array(LIGHTS.get(name.lower(), order[i % 4]), np.float32)
        if tuple(light) == LIGHTS["yellow"] and len(channels) > 1:
            light *= _FAINT
        low, high = limits[i]
        out += np.clip((plane.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1)[..., None] * light
    return (np.clip(out, 0, 1) * 255 + 0.5).astype(np.uint8)


def stretch_limits(image: np.ndarray, percentiles: tuple[float, float] = (1.0, 99.7)) -> np.ndarray:
    """(channel, 2): the values at two percentiles of each channel of (channel, y, x); not-a-number counts as 0."""
    flat = np.nan_to_num(image.reshape(len(image), -1)[:, :: max(1, image[0].size >> 20)].astype(np.float32))
    return np.percentile(flat, percentiles, axis=1).T
