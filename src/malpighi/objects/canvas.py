"""Blocks of a label image that later ones may still reach, and what has been kept there."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from malpighi.geometry import Box

Write = Callable[[Box, np.ndarray], None]
"""Gets every block of the image once, with its uint32 labels."""


class Canvas:
    """Labels of the blocks that are not final yet; windows are what a block sees: itself and the halo.

    Attributes:
        shape: of the image.
        count: objects numbered so far.
    """

    def __init__(self, shape: tuple[int, ...], block: tuple[int, ...], halo: int, write: Write) -> None:
        self.shape = shape
        self.count = 0
        self._block, self._halo, self._write = block, halo, write
        self._reach = tuple(-(-halo // b) for b in block)
        self._last = tuple(-(-n // b) - 1 for n, b in zip(shape, block, strict=True))
        self._blocks: dict[tuple[int, ...], np.ndarray] = {}
        self._seen: dict[int, tuple[Box, ...]] = {}

    def index_of(self, place: Sequence[int]) -> tuple[int, ...]:
        """Index of the block that holds a voxel."""
        return tuple(a // b for a, b in zip(place, self._block, strict=True))

    def window_of(self, index: tuple[int, ...]) -> Box:
        """What the block of this index sees."""
        return self._box(index).grow(self._halo).clip(self.shape)

    def sees_whole(self, window: Box, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Whether objects of these bounds, (…, axis), lie in the window and touch none of its sides but the image's."""
        first = np.array([a + (a > 0) for a in window.start])
        last = np.array([b - (b < n) for b, n in zip(window.stop, self.shape, strict=True)])
        return np.asarray(((start >= first) & (stop <= last)).all(-1))

    def numbers(self, count: int, window: Box) -> np.ndarray:
        """So many new numbers, for objects that this window sees."""
        found = np.arange(self.count + 1, self.count + count + 1)
        self.count += count
        seen = (window,)
        self._seen.update((int(number), seen) for number in found)
        return found

    def seen_by(self, number: int) -> tuple[Box, ...]:
        """The windows that kept a part of this object."""
        return self._seen[number]

    def continued(self, number: int, window: Box) -> None:
        """Note that another window has kept a part of an object."""
        self._seen[number] = (*self._seen[number], window)

    def read(self, window: Box) -> np.ndarray:
        """(*window.size) uint32: the numbers kept there; 0 where there is none."""
        out = np.zeros(window.size, np.uint32)
        for part in window.split(self._block):
            held = self._blocks.get(self.index_of(part.start))
            if held is not None:
                out[part.relative_to(window.start).slices] = held[self._within(part)]
        return out

    def put(self, window: Box, labels: np.ndarray) -> None:
        """Take over what is kept in a window."""
        for part in window.split(self._block):
            new = labels[part.relative_to(window.start).slices]
            index = self.index_of(part.start)
            if index not in self._blocks:
                if not new.any():
                    continue
                self._blocks[index] = np.zeros(self._box(index).size, np.uint32)
            self._blocks[index][self._within(part)] = new

    def finish(self, core: Box) -> None:
        """Write the blocks that `core`, just done, was the last to reach."""
        index = self.index_of(core.start)
        final = [
            range(max(i - r, 0), n + 1) if i == n else range(max(i - r, 0), i - r + 1)
            for i, r, n in zip(index, self._reach, self._last, strict=True)
        ]
        for done in itertools.product(*final):
            box = self._box(done)
            held = self._blocks.pop(done, None)
            self._write(box, np.zeros(box.size, np.uint32) if held is None else held)
        if index[1:] == self._last[1:]:
            self._forget(core.stop[0] - self._halo)

    def _forget(self, first: int) -> None:
        """Forget windows that end before a place along the first axis, from which all later ones begin."""
        left = ((number, tuple(window for window in seen if window.stop[0] > first)) for number, seen in self._seen.items())
        self._seen = {number: seen for number, seen in left if seen}

    def _box(self, index: tuple[int, ...]) -> Box:
        return Box(tuple(i * b for i, b in zip(index, self._block, strict=True)), self._block).clip(self.shape)

    def _within(self, part: Box) -> tuple[slice, ...]:
        start = tuple(a // b * b for a, b in zip(part.start, self._block, strict=True))
        return part.relative_to(start).slices
