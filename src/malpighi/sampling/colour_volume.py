"""The colour stage of one volume on the CPU: the maps of `colour`, blur and noise along every axis."""

from __future__ import annotations

import cv2
import numpy as np

from malpighi.sampling.colour import Colour, kernel_side, toned
from malpighi.sampling.cutout import cut
from malpighi.sampling.noise import normal_quantiles


def apply_colour(image: np.ndarray, colour: Colour) -> np.ndarray:
    """Change an image (C, z, y, x); the array itself where nothing is changed, else a new one of its dtype."""
    if colour.nothing:
        return image
    low, high = (0.0, 255.0) if image.dtype == np.uint8 else (float(image.min()), float(image.max()))
    if not high > low:
        return image
    values = (image.astype(np.float32) - np.float32(low)) * np.float32(1 / (high - low))
    if colour.blur:
        values = np.stack([_blurred(channel, colour.blur) for channel in values])
    values = toned(values.reshape(len(image), -1), colour, np).reshape(image.shape)
    if colour.noise:
        rng = np.random.Generator(np.random.SFC64(colour.seed))
        drawn = rng.integers(0, 2**64 - 1, -(-values.size // 8), np.uint64, endpoint=True).view(np.uint8)[: values.size]
        values = values + (normal_quantiles() * colour.noise).astype(np.float32)[drawn].reshape(values.shape)
    values = values * np.float32(high - low) + np.float32(low)
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    changed = values.astype(image.dtype, copy=False)
    if colour.holes is not None:
        cut(changed, colour.holes)
    return changed


def _blurred(volume: np.ndarray, sigma: float) -> np.ndarray:
    """(z, y, x) float32, blurred along every axis; borders mirrored."""
    side = kernel_side(sigma)
    planes = np.stack([cv2.GaussianBlur(plane, (side, side), sigma) for plane in volume])
    if len(planes) == 1:
        return planes
    taps = cv2.getGaussianKernel(side, sigma, cv2.CV_32F)
    return cv2.sepFilter2D(planes.reshape(len(planes), -1), -1, np.ones(1, np.float32), taps).reshape(planes.shape)
