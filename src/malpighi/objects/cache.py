"""Small reads out of large ones: an object's box from blocks that were read before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from malpighi.geometry import Box


class BlockCache:
    """Reads boxes through blocks of one size, of which the last `keep` are held.

    Objects are far smaller than a file's chunks: read one by one, every chunk would be decoded once an object.
    """

    def __init__(
        self, read: Callable[[Box], np.ndarray], shape: tuple[int, ...], block: tuple[int, ...], keep: int = 8
    ) -> None:
        self.read, self.shape, self.block, self.keep = read, shape, block, keep
        self._held: OrderedDict[Box, np.ndarray] = OrderedDict()

    def __call__(self, box: Box) -> np.ndarray:
        """Voxels of `box`, which lies inside the image; perhaps a view of what is held: not to be written to."""
        out: np.ndarray | None = None
        for whole in box.snap(self.block).clip(self.shape).split(self.block):
            block = self._block(whole)
            part = whole.intersect(box)
            voxels = block[part.relative_to(whole.start).slices]
            if part == box:
                return voxels
            out = np.empty(box.size, block.dtype) if out is None else out
            out[part.relative_to(box.start).slices] = voxels
        return np.empty(box.size, bool) if out is None else out

    def _block(self, box: Box) -> np.ndarray:
        if box in self._held:
            self._held.move_to_end(box)
        else:
            self._held[box] = self.read(box)
            if len(self._held) > self.keep:
                self._held.popitem(last=False)
        return self._held[box]
