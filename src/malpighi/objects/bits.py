"""A mask read box by box, each block once, and kept as bits while boxes around it may ask for it again."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np

from malpighi.geometry import Box
from malpighi.objects.label import Read


class BitBlocks:
    """Reads any box of a mask through blocks of one size, of which three layers are held, a bit a voxel; empty ones cost nothing.

    Works in three axes: a 2-D mask is a volume of one slice.

    Attributes:
        shape: (z, y, x).
        block: size of a block.
        flat: whether the mask has two axes.
    """

    def __init__(self, read: Read, shape: tuple[int, ...], block: int | None = None) -> None:
        """Nothing is read yet.

        Args:
            read: one box of the mask, (*spatial) bool or integer, anything but 0 is foreground.
            shape: of the mask, 2-D or 3-D.
            block: side of a block in voxels; best a multiple of the file's chunks. Default 192 in 3-D, 2048 in 2-D.
        """
        self._read = read
        self.flat = len(shape) == 2
        self.shape = (1, *shape) if self.flat else tuple(shape)
        side = block or (2048 if self.flat else 192)
        self.block = tuple(min(side, n) for n in self.shape)
        layer = math.prod(-(-n // b) for n, b in zip(self.shape[1:], self.block[1:], strict=True))
        self._keep = 3 * layer + 2
        self._held: OrderedDict[Box, np.ndarray | None] = OrderedDict()

    def blocks(self) -> Iterator[Box]:
        """All blocks, in C order."""
        return iter(Box.of_shape(self.shape).split(self.block))

    def __len__(self) -> int:
        return math.prod(-(-n // b) for n, b in zip(self.shape, self.block, strict=True))

    def read(self, box: Box) -> np.ndarray:
        """The voxels of `box`, (z, y, x) bool; what lies outside the mask is background."""
        out = np.zeros(box.size, bool)
        inside = box.clip(self.shape)
        if inside.empty:
            return out
        for block in inside.snap(self.block).clip(self.shape).split(self.block):
            bits = self._bits(block)
            if bits is None:
                continue
            part = block.intersect(inside)
            voxels = np.unpackbits(bits, axis=-1, count=block.size[-1]).view(bool)
            out[part.relative_to(box.start).slices] = voxels[part.relative_to(block.start).slices]
        return out

    def empty(self, block: Box) -> bool:
        """Whether nothing of the mask lies in one of `blocks()`."""
        return self._bits(block) is None

    def count_cells(self, cell: tuple[int, ...]) -> np.ndarray:
        """Voxels of the mask in every cell of a grid that starts at the origin, (z, y, x) int64."""
        counts = np.zeros(tuple(-(-n // c) for n, c in zip(self.shape, cell, strict=True)), np.int64)
        for block in self.blocks():
            if not self.empty(block):
                add_to_cells(counts, self.read(block), block, cell)
        return counts

    def _bits(self, block: Box) -> np.ndarray | None:
        if block in self._held:
            self._held.move_to_end(block)
            return self._held[block]
        asked = Box(block.start[1:], block.size[1:]) if self.flat else block
        voxels = np.asarray(self._read(asked)).reshape(block.size) != 0
        self._held[block] = np.packbits(voxels, axis=-1) if voxels.any() else None
        if len(self._held) > self._keep:
            self._held.popitem(last=False)
        return self._held[block]


def add_to_cells(counts: np.ndarray, values: np.ndarray, box: Box, cell: tuple[int, ...]) -> None:
    """Add the sums of `values`, which lie in `box`, to the cells of a grid that starts at the origin; in place."""
    where = []
    for axis, (start, stop, side) in enumerate(zip(box.start, box.stop, cell, strict=True)):
        first, last = start // side, -(-stop // side)
        edges = np.maximum(np.arange(first, last) * side, start) - start
        values = np.add.reduceat(values, edges, axis=axis, dtype=counts.dtype)
        where.append(slice(first, last))
    counts[tuple(where)] += values
