"""Randomness by place in three dimensions: smooth noise, balls and grain. A value depends on position and key alone."""

from __future__ import annotations

import numpy as np
from numba import njit

from malpighi.geometry import Box


@njit(cache=True, inline="always")
def _mix(z: int, y: int, x: int, key: int) -> float:
    """A number in [0, 1) for a cell (the finaliser of splitmix64 over the three indices)."""
    h = np.uint64(key) + np.uint64(z) * np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) + np.uint64(y) * np.uint64(0xC2B2AE3D27D4EB4F)
    h = (h * np.uint64(0xBF58476D1CE4E5B9)) + np.uint64(x) * np.uint64(0x165667B19E3779F9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    h = h ^ (h >> np.uint64(31))
    return float(h >> np.uint64(11)) * 1.1102230246251565e-16


def key_of(seed: int, name: str) -> int:
    """What tells the numbers of one seed and purpose from another's."""
    from malpighi.phantoms.lattice import mixed

    return mixed(mixed(seed) ^ int.from_bytes(name.encode()[:7], "big"))


def noise(box: Box, spacing: tuple[float, ...], pitch: tuple[float, float, float], key: int) -> np.ndarray:
    """Smooth value noise in [-1, 1] at voxel centres: (z, y, x) float32; `pitch` (by axis) and `spacing` in one unit."""
    out = np.empty(box.size, np.float32)
    step = np.array([s / p for s, p in zip(spacing, pitch, strict=True)])
    _noise(np.array(box.start), step, key, out)
    return out


@njit(cache=True, nogil=True)
def _noise(start: np.ndarray, step: np.ndarray, key: int, out: np.ndarray) -> None:
    c = np.empty(8)
    for z in range(out.shape[0]):
        pz = (start[0] + z + 0.5) * step[0]
        iz = int(np.floor(pz))
        fz = pz - iz
        fz = fz * fz * (3 - 2 * fz)
        for y in range(out.shape[1]):
            py = (start[1] + y + 0.5) * step[1]
            iy = int(np.floor(py))
            fy = py - iy
            fy = fy * fy * (3 - 2 * fy)
            last, low, high = 0, 0.0, 0.0
            for x in range(out.shape[2]):
                px = (start[2] + x + 0.5) * step[2]
                ix = int(np.floor(px))
                if x == 0 or ix != last:
                    for k in range(8):
                        c[k] = _mix(iz + (k >> 2), iy + ((k >> 1) & 1), ix + (k & 1), key)
                    low = (c[0] * (1 - fy) + c[2] * fy) * (1 - fz) + (c[4] * (1 - fy) + c[6] * fy) * fz
                    high = (c[1] * (1 - fy) + c[3] * fy) * (1 - fz) + (c[5] * (1 - fy) + c[7] * fy) * fz
                    last = ix
                fx = px - ix
                fx = fx * fx * (3 - 2 * fx)
                out[z, y, x] = 2 * (low * (1 - fx) + high * fx) - 1


def grain(box: Box, key: int) -> np.ndarray:
    """Noise without correlation, mean 0 and variance 1, nearly Gaussian (the sum of three uniforms): (z, y, x) float32."""
    out = np.empty(box.size, np.float32)
    _grain(np.array(box.start), key, out)
    return out


@njit(cache=True, nogil=True)
def _grain(start: np.ndarray, key: int, out: np.ndarray) -> None:
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                a, b, c = start[0] + z, start[1] + y, start[2] + x
                out[z, y, x] = 2 * (_mix(a, b, c, key) + _mix(a, b, c, key + 1) + _mix(a, b, c, key + 2)) - 3


def balls(
    box: Box, spacing: tuple[float, ...], pitch: float, radius: tuple[float, float], share: float, key: int
) -> np.ndarray:
    """How deep voxel centres lie in balls, one in a `share` of the cells of a lattice, jittered: (z, y, x) float32, µm.

    Balls stay in their cell (`pitch` is at least twice the largest radius); outside all of them the value is -1e9.
    """
    out = np.full(box.size, -1e9, np.float32)
    _balls(np.array(box.start), np.array(spacing), pitch, radius[0], radius[1], share, key, out)
    return out


@njit(cache=True, nogil=True)
def _balls(
    start: np.ndarray, spacing: np.ndarray, pitch: float, least: float, most: float, share: float, key: int, out: np.ndarray
) -> None:
    first, last = np.empty(3, np.int64), np.empty(3, np.int64)
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    middle = np.empty(3)
    for d in range(3):
        first[d] = int(np.floor(start[d] * spacing[d] / pitch))
        last[d] = int(np.floor((start[d] + out.shape[d]) * spacing[d] / pitch))
    for i in range(first[0], last[0] + 1):
        for j in range(first[1], last[1] + 1):
            for k in range(first[2], last[2] + 1):
                if _mix(i, j, k, key) >= share:
                    continue
                r = least + (most - least) * _mix(i, j, k, key + 1)
                middle[0] = i * pitch + r + (pitch - 2 * r) * _mix(i, j, k, key + 2)
                middle[1] = j * pitch + r + (pitch - 2 * r) * _mix(i, j, k, key + 3)
                middle[2] = k * pitch + r + (pitch - 2 * r) * _mix(i, j, k, key + 4)
                for d in range(3):
                    low[d] = max(0, int(np.floor((middle[d] - r) / spacing[d] - 0.5)) - start[d])
                    high[d] = min(out.shape[d], int(np.ceil((middle[d] + r) / spacing[d])) + 1 - start[d])
                for z in range(low[0], high[0]):
                    for y in range(low[1], high[1]):
                        for x in range(low[2], high[2]):
                            dz = (start[0] + z + 0.5) * spacing[0] - middle[0]
                            dy = (start[1] + y + 0.5) * spacing[1] - middle[1]
                            dx = (start[2] + x + 0.5) * spacing[2] - middle[2]
                            deep = r - np.sqrt(dz * dz + dy * dy + dx * dx)
                            out[z, y, x] = max(out[z, y, x], deep)
