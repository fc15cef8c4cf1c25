"""The objects of a label image of any size, read block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.objects.label import BLOCK, Read


@dataclass(frozen=True, eq=False)
class Numbered:
    """What of a label image fits into memory: a few numbers an object, in order of the objects' numbers.

    As `Components`, but objects that touch are told apart, and one may lie in several pieces.

    Attributes:
        shape: of the image, voxels.
        numbers: (object,) the value that stands for it, int64.
        start, stop: (object, axis) bounding boxes, half-open, int64.
        count: (object,) voxels, int64.
        sums: (object, axis) sums of voxel indices, float64.
        weights: (object,) sums of what `read_weights` returned, (object, kind) where it returned several; None without it.
    """

    shape: tuple[int, ...]
    numbers: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    count: np.ndarray
    sums: np.ndarray
    weights: np.ndarray | None
    read: Read
    block: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.count)

    def number(self, place: int) -> int:
        """The value of the object in place 1 … n."""
        return int(self.numbers[place - 1])

    def box(self, place: int) -> Box:
        """Bounding box of the object in place 1 … n."""
        return Box.of_bounds(self.start[place - 1].tolist(), self.stop[place - 1].tolist())

    def centroid(self, place: int) -> tuple[float, ...]:
        """Its centre of mass in voxels, where voxel i covers [i, i + 1)."""
        return tuple((self.sums[place - 1] / self.count[place - 1] + 0.5).tolist())


def find_numbered(
    read: Read, shape: Sequence[int], block: int | Sequence[int] | None = None, read_weights: Read | None = None
) -> Numbered:
    """Look through a label image once.

    Args:
        read: one box of it, (*spatial) integers, 0 in the background.
        shape: of the image, 2-D or 3-D.
        block: side of a block, or one an axis; best a multiple of the file's chunks. Default: `BLOCK`.
        read_weights: one box of numbers to sum over every object, such as probabilities: (*spatial), or (kind, *spatial).

    Raises:
        DataError: `read` returns another shape, floating-point or negative values, or a weight is not finite.
    """
    shape = tuple(int(n) for n in shape)
    step = tuple(block) if isinstance(block, Sequence) else (block or BLOCK[len(shape)],) * len(shape)
    parts = [
        _part(read(box), None if read_weights is None else read_weights(box), box) for box in Box.of_shape(shape).split(step)
    ]
    names, start, stop, count, sums, weights = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    numbers, owner = np.unique(names, return_inverse=True)
    first, last = np.full((len(numbers), len(shape)), np.iinfo(np.int64).max), np.zeros((len(numbers), len(shape)), np.int64)
    np.minimum.at(first, owner, start)
    np.maximum.at(last, owner, stop)
    voxels = np.rint(_added(count, owner, len(numbers))).astype(np.int64)
    held = _added(weights, owner, len(numbers)) if read_weights is not None else None
    return Numbered(shape, numbers, first, last, voxels, _added(sums, owner, len(numbers)), held, read, step)


def _added(values: np.ndarray, owner: np.ndarray, n: int) -> np.ndarray:
    """Sums over the rows of each owner: (row,) → (n,), (row, kind) → (n, kind)."""
    if values.ndim == 1:
        return np.bincount(owner, values, minlength=n)
    return np.stack([np.bincount(owner, kind, minlength=n) for kind in values.T], axis=1)


def _part(labels: np.ndarray, weights: np.ndarray | None, box: Box) -> tuple[np.ndarray, ...]:
    """Numbers, bounds, voxels, sums of indices and of weights of the objects in one block, in the image's coordinates."""
    if labels.shape != box.size or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"labels of {box} came as {labels.dtype} of shape {labels.shape}; a label image holds whole numbers")
    inside = labels != 0
    places = np.nonzero(inside)
    names, owner = np.unique(labels[inside].astype(np.int64), return_inverse=True)
    if len(names) and names[0] < 0:
        raise DataError(f"labels of {box} hold {names[0]}; objects have numbers from 1")
    start, stop = np.full((len(names), box.rank), np.iinfo(np.int64).max), np.zeros((len(names), box.rank), np.int64)
    sums = np.zeros((len(names), box.rank))
    for axis, (index, offset) in enumerate(zip(places, box.start, strict=True)):
        np.minimum.at(start[:, axis], owner, index + offset)
        np.maximum.at(stop[:, axis], owner, index + offset + 1)
        sums[:, axis] = np.bincount(owner, index + offset, len(names))
    weighed = np.zeros(len(names)) if weights is None else _added(weights[..., inside].T, owner, len(names))
    if not np.isfinite(weighed).all():
        raise DataError(f"probabilities of {box} hold NaN or infinity inside an object; predict that part again")
    return names, start, stop, np.bincount(owner, minlength=len(names)), sums, weighed
