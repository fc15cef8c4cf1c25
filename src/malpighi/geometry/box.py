"""Box: a half-open integer box of any rank, in array axis order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """The voxels `start <= index < start + size`, axis by axis in array order: (y, x) or (z, y, x).

    A value: hashable, comparable, never changed in place. Starts may be negative (a tile may hang over the image's
    border); sizes may not.
    """

    start: tuple[int, ...]
    size: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", tuple(int(v) for v in self.start))
        object.__setattr__(self, "size", tuple(int(v) for v in self.size))
        if len(self.start) != len(self.size) or not self.start:
            raise ValueError(f"start {self.start} and size {self.size} need the same rank, at least 1")
        if min(self.size) < 0:
            raise ValueError(f"size {self.size} has a negative side; sides are 0 or more")

    @classmethod
    def of_shape(cls, shape: Iterable[int]) -> Box:
        """The box of a whole array of this shape."""
        size = tuple(shape)
        return cls((0,) * len(size), size)

    @classmethod
    def of_bounds(cls, start: Sequence[int], stop: Sequence[int]) -> Box:
        """The box from `start` up to, not including, `stop`; a side where stop < start becomes 0."""
        return cls(tuple(start), tuple(max(0, int(b) - int(a)) for a, b in zip(start, stop, strict=True)))

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.start)

    @property
    def stop(self) -> tuple[int, ...]:
        """First index past the box, by axis."""
        return tuple(a + n for a, n in zip(self.start, self.size, strict=True))

    @property
    def volume(self) -> int:
        """Number of voxels."""
        return math.prod(self.size)

    @property
    def empty(self) -> bool:
        """Whether the box holds no voxel."""
        return 0 in self.size

    @property
    def slices(self) -> tuple[slice, ...]:
        """Index for an array whose origin is the box's own origin, `array[box.slices]`; needs start >= 0."""
        if min(self.start) < 0:
            raise ValueError(f"{self} starts before the array; clip it first")
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    @property
    def center(self) -> tuple[float, ...]:
        """Centre in voxels, where voxel i covers [i, i + 1)."""
        return tuple(a + n / 2 for a, n in zip(self.start, self.size, strict=True))

    def shift(self, offset: Sequence[int]) -> Box:
        """The box moved by `offset`."""
        return Box(tuple(a + d for a, d in zip(self.start, offset, strict=True)), self.size)

    def relative_to(self, origin: Sequence[int]) -> Box:
        """The box as seen from `origin`: where it lies in an array that was read from there."""
        return self.shift(tuple(-d for d in origin))

    def grow(self, margin: int | Sequence[int]) -> Box:
        """The box with `margin` voxels more on both sides of each axis (fewer where negative)."""
        m = (margin,) * self.rank if isinstance(margin, int) else tuple(margin)
        start = tuple(a - d for a, d in zip(self.start, m, strict=True))
        return Box.of_bounds(start, tuple(b + d for b, d in zip(self.stop, m, strict=True)))

    def intersect(self, other: Box) -> Box:
        """The voxels that both boxes hold; an empty box (some side 0) where they do not meet."""
        start = tuple(max(a, b) for a, b in zip(self.start, other.start, strict=True))
        return Box.of_bounds(start, tuple(min(a, b) for a, b in zip(self.stop, other.stop, strict=True)))

    def clip(self, shape: Sequence[int]) -> Box:
        """The part inside an array of `shape`."""
        return self.intersect(Box.of_shape(shape))

    def union(self, other: Box) -> Box:
        """The smallest box that holds both."""
        start = tuple(min(a, b) for a, b in zip(self.start, other.start, strict=True))
        return Box.of_bounds(start, tuple(max(a, b) for a, b in zip(self.stop, other.stop, strict=True)))

    def contains(self, other: Box) -> bool:
        """Whether every voxel of `other` is in this box."""
        return other.empty or self.intersect(other) == other

    def overlaps(self, other: Box) -> bool:
        """Whether the boxes share a voxel."""
        return not self.intersect(other).empty

    def scale(self, factor: float | Sequence[float]) -> Box:
        """The smallest integer box that covers this one when every coordinate is multiplied by `factor`."""
        f = (float(factor),) * self.rank if isinstance(factor, (int, float)) else tuple(float(v) for v in factor)
        tiny = 1e-9  # 3 * (1/3) must not become 1 + epsilon, and so one voxel too many
        start = tuple(math.floor(a * k + tiny) for a, k in zip(self.start, f, strict=True))
        stop = tuple(math.ceil(b * k - tiny) for b, k in zip(self.stop, f, strict=True))
        return Box.of_bounds(start, stop)

    def snap(self, step: Sequence[int]) -> Box:
        """The smallest box around this one whose start and stop are multiples of `step`."""
        start = tuple(a // s * s for a, s in zip(self.start, step, strict=True))
        return Box.of_bounds(start, tuple(-(-b // s) * s for b, s in zip(self.stop, step, strict=True)))

    def split(self, step: Sequence[int]) -> Iterable[Box]:
        """The box cut along the multiples of `step`, in C order; pieces at the border may be smaller."""
        import itertools

        if self.empty:
            return
        edges = [range(a // s * s, b, s) for a, b, s in zip(self.start, self.stop, step, strict=True)]
        for corner in itertools.product(*edges):
            yield Box(corner, tuple(step)).intersect(self)

    def __str__(self) -> str:
        return "[" + ", ".join(f"{a}:{b}" for a, b in zip(self.start, self.stop, strict=True)) + "]"
