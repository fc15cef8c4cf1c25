"""Small images to write into files."""

import numpy as np


def smooth(*shape: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    """(y, x[, channel]) with structure at several scales, so that JPEG stays near and shifts show."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    waves = [np.sin(y / 9 + seed) * np.cos(x / 7), np.cos(y / 17 + x / 23 + seed), np.sin(x / 5 - y / 11 + seed)]
    channels = shape[2] if len(shape) > 2 else 1
    image = np.stack([waves[c % 3] * (1 - 0.2 * (c // 3)) for c in range(channels)], axis=-1) / 2 + 0.5
    scale = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1.0
    image = (image * scale).astype(dtype)
    return image if len(shape) > 2 else image[..., 0]


def noise(*shape: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    """Any shape, every voxel independent."""
    generator = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.integer):
        return generator.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    return generator.random(shape).astype(dtype)
