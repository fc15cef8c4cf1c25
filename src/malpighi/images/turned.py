"""A volume seen along another axis: a view, so that slices along y or x are read like slices along z."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.base import Damage, Source

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turn:
    """An order of axes: one is put first, the others follow as they were.

    Attributes:
        order: for each axis of the turned image, the axis of the original.
    """

    order: tuple[int, ...]

    @classmethod
    def along(cls, axis: str, space: Space, name: str = "image") -> Turn:
        """The turn that puts `axis` first.

        Raises:
            DataError: the image has no such axis.
        """
        if axis not in space.axes:
            raise DataError(
                f"{name}: has the axes {', '.join(space.axes)} and cannot be sliced along {axis!r}; name one of these"
            )
        first = space.axes.index(axis)
        return cls((first, *(i for i in range(space.rank) if i != first)))

    @property
    def back(self) -> Turn:
        """The turn that undoes this one."""
        return Turn(tuple(self.order.index(i) for i in range(len(self.order))))

    def values(self, values: tuple[T, ...]) -> tuple[T, ...]:
        """One value an axis, in the turned order."""
        return tuple(values[i] for i in self.order)

    def box(self, box: Box) -> Box:
        """The same voxels as a box of the turned image."""
        if box.rank != len(self.order):
            return box  # refused by whoever is asked for it
        return Box(self.values(box.start), self.values(box.size))

    def spacing(self, spacing: Spacing) -> Spacing:
        """The same spacing in the turned order."""
        return Spacing(self.values(spacing.values), spacing.unit)

    def space(self, space: Space) -> Space:
        """The same space in the turned order."""
        return Space(tuple(self.values(shape) for shape in space.shapes), self.spacing(space.spacing), self.values(space.axes))

    def array(self, array: np.ndarray, leading: int = 1) -> np.ndarray:
        """A view of the array, its spatial axes in the turned order; the first `leading` axes stay."""
        return array.transpose((*range(leading), *(leading + i for i in self.order)))


class TurnedSource(Source):
    """A source with another axis first. Nothing is read ahead, nothing copied but what is asked for.

    Args:
        source: closed with this one.
        axis: that is put first, one of `source.space.axes` ("z", "y", "x"); the others keep their order.
    """

    def __init__(self, source: Source, axis: str) -> None:
        self._source = source
        self._turn = Turn.along(axis, source.space, source.name)
        super().__init__(source.name, self._turn.space(source.space), source.dtype, source.channels, source.fill)
        self.on_damage = source.on_damage

    def _read(self, box: Box, level: int) -> np.ndarray:
        return np.ascontiguousarray(self._turn.array(self._source.read(self._turn.back.box(box), level)))

    @property
    def damage(self) -> list[Damage]:
        """What the source beneath could not decode, in this one's axes."""
        return sorted(
            (Damage(d.level, self._turn.box(d.box), d.reason) for d in self._source.damage), key=lambda d: (d.level, d.box)
        )

    def _close(self) -> None:
        self._source.close()
