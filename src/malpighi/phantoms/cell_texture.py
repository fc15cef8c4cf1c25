"""What cells are drawn with: smooth noise, spots, threads."""

from __future__ import annotations

import cv2
import numpy as np


def smooth(shape: tuple[int, ...], pitch: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of mean 0 and spread about 1 whose hills are `pitch` px apart: (y, x) float32."""
    pitch = max(pitch, 1.0)
    height, width = (max(2, int(np.ceil(n / pitch)) + 3) for n in shape[:2])
    coarse = rng.standard_normal((height, width), np.float32)
    y, x = rng.uniform(0, pitch, 2)
    turn = np.array([[pitch, 0, -pitch - x], [0, pitch, -pitch - y]])
    fine = cv2.warpAffine(coarse, turn, (shape[1], shape[0]), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return fine * np.float32(1.35)  # interpolation between lattice points loses a quarter of the spread


def mesh(shape: tuple[int, ...], pitch: float, rng: np.random.Generator) -> np.ndarray:
    """A net of fine strands about `pitch` px apart, 0 … 1: the lines on which either of two noises is 0."""
    first, second = smooth(shape, pitch, rng), smooth(shape, 1.4 * pitch, rng)
    return np.maximum(np.exp(-((first / 0.38) ** 2)), 0.85 * np.exp(-((second / 0.32) ** 2)))


def splat(shape: tuple[int, ...], y: np.ndarray, x: np.ndarray, weight: np.ndarray | float = 1.0) -> np.ndarray:
    """Points as light on four pixels each, (y, x) float32; what lies beyond the border is lost."""
    height, width = shape
    y, x = np.asarray(y, np.float64).ravel(), np.asarray(x, np.float64).ravel()
    weight = np.broadcast_to(np.asarray(weight, np.float64).ravel(), y.shape)
    inside = (y >= 0) & (x >= 0) & (y < height - 1) & (x < width - 1)
    y, x, weight = y[inside], x[inside], weight[inside]
    iy, ix = y.astype(np.int64), x.astype(np.int64)
    fy, fx = y - iy, x - ix
    at = iy * width + ix
    out = np.zeros(height * width)
    for step, share in ((0, (1 - fy) * (1 - fx)), (1, (1 - fy) * fx), (width, fy * (1 - fx)), (width + 1, fy * fx)):
        out += np.bincount(at + step, weight * share, height * width)
    return out.reshape(height, width).astype(np.float32)


def spots(shape: tuple[int, ...], y: np.ndarray, x: np.ndarray, sigma: float, weight: np.ndarray | float = 1.0) -> np.ndarray:
    """Gaussian spots of spread `sigma` px and height `weight`."""
    light = cv2.GaussianBlur(splat(shape, y, x, weight), (0, 0), max(sigma, 0.5))
    return light * np.float32(2 * np.pi * max(sigma, 0.5) ** 2)


def worms(
    shape: tuple[int, ...],
    y: np.ndarray,
    x: np.ndarray,
    angle: np.ndarray,
    length: np.ndarray,
    sigma: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Short curved threads of spread `sigma` px that start at points and go off at `angle`, `length` px long; height about 1."""
    steps = int(np.ceil(length.max())) if len(length) else 0
    bend = rng.normal(0, 0.09, len(y)) / max(sigma, 1.0)
    out_y, out_x, weight = [], [], []
    for step in range(steps):
        on = step < length
        out_y.append(y.copy())
        out_x.append(x.copy())
        weight.append(on.astype(np.float64))
        angle = angle + bend
        y, x = y + np.sin(angle), x + np.cos(angle)
    if not steps:
        return np.zeros(shape, np.float32)
    light = splat(shape, np.concatenate(out_y), np.concatenate(out_x), np.concatenate(weight))
    sigma = max(sigma, 0.5)
    return cv2.GaussianBlur(light, (0, 0), sigma) * np.float32(np.sqrt(2 * np.pi) * sigma)
