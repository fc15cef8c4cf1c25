"""Small sources and forwards whose results can be worked out by hand."""

import numpy as np

from malpighi.geometry import Box, Space, Spacing
from malpighi.images.base import Source
from malpighi.inference.options import PredictOptions
from malpighi.inference.predict import predict


class ArraySource(Source):
    """A (channel, *spatial) array as an image; notes which boxes were read."""

    def __init__(self, array: np.ndarray) -> None:
        names = tuple(f"c{i}" for i in range(array.shape[0]))
        super().__init__("toy", Space.of_shape(array.shape[1:]), array.dtype, names)
        self.array = array
        self.reads: list[Box] = []

    def _read(self, box: Box, level: int) -> np.ndarray:
        self.reads.append(box)
        return self.array[(slice(None), *box.slices)].copy()


def noise(*shape: int, seed: int = 0) -> ArraySource:
    return ArraySource(np.random.default_rng(seed).random((1, *shape), dtype=np.float32))


def identity(tiles: np.ndarray) -> np.ndarray:
    return tiles.astype(np.float32)


def ones(tiles: np.ndarray) -> np.ndarray:
    return np.ones(tiles.shape, np.float32)


def place(tiles: np.ndarray) -> np.ndarray:
    """Depends on where in the tile a voxel lies, so that every weight shows in the result."""
    ramp = np.arange(np.prod(tiles.shape[2:]), dtype=np.float32).reshape(tiles.shape[2:])
    return tiles * np.sin(ramp)


def mean3(tiles: np.ndarray) -> np.ndarray:
    """A translation-equivariant network that looks one voxel far: mean over 3 along every axis, zeros outside."""
    out = tiles.astype(np.float32)
    for axis in range(2, tiles.ndim):
        padded = np.pad(out, [(1, 1) if a == axis else (0, 0) for a in range(tiles.ndim)])
        n = tiles.shape[axis]
        out = sum(np.take(padded, range(k, k + n), axis) for k in range(3)) / np.float32(3)
    return out


def collect(forward, source, options: PredictOptions, classes: int = 1, **more) -> tuple[np.ndarray, np.ndarray]:
    """The whole result as one array (NaN where nothing came), and how often each voxel came."""
    result = np.full((classes, *source.shape), np.nan, np.float32)
    times = np.zeros(source.shape, int)
    for box, values in predict(forward, source, Spacing.pixels(len(source.shape)), classes, options, **more):
        result[(slice(None), *box.slices)] = values
        times[box.slices] += 1
    return result, times
