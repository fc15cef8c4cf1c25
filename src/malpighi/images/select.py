"""The channels of an image by name, in the order in which a recipe takes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.images.base import Damage, Source
from malpighi.images.channels import ChannelsSource

COLOURS = ("red", "green", "blue")
_NUMBERED = re.compile(r"(channel|chan|ch|c|page|band|series|image)?[ _:#-]*\d+(:\d+)*|gr[ae]y|", re.IGNORECASE)


def select_channels(source: Source, names: Sequence[str], missing: Literal["error", "zero"] = "error") -> Source:
    """`source` with the channels `names`, in that order; capitals do not matter. What was assumed is in its notes.

    An image whose channels have no telling names (`ch0`, `gray`, numbers) is taken in order if it has as many as are
    asked for. A single gray channel stands for red, green and blue, where these are asked for.

    Args:
        source: closed with what is returned.
        names: each once.
        missing: a name that the image has not is an "error", or "zero": 0 everywhere.

    Raises:
        DataError: a channel is missing, or two channels have the name; says what is there.
    """
    asked = tuple(names)
    if source.channels == asked:
        return source
    order, notes = _matched(source, asked, missing)
    return _SelectedSource(source, asked, order, notes)


def telling(names: Sequence[str]) -> bool:
    """Whether channel names say what the channels show: not only that they are gray, or their numbers."""
    return not all(_NUMBERED.fullmatch(name.strip()) for name in names)


def _matched(source: Source, asked: tuple[str, ...], missing: str) -> tuple[list[int | None], list[str]]:
    """By name asked for, the channel's index or None for zeros; and what was assumed."""
    have = source.channels
    if not telling(have) and not {name.lower() for name in asked} & {name.lower() for name in have}:
        if len(have) == len(asked):
            return list(range(len(have))), [f"{source.name}: its channels have no names; taken in order as {', '.join(asked)}"]
        if len(have) == 1 and tuple(name.lower() for name in asked) == COLOURS:
            return [0, 0, 0], [f"{source.name}: has one gray channel; it is taken as red, green and blue"]
    found = [[k for k, name in enumerate(have) if name.lower() == wanted.lower()] for wanted in asked]
    twice = next((wanted for wanted, places in zip(asked, found, strict=True) if len(places) > 1), None)
    if twice is not None:
        raise DataError(f"{source.name}: has several channels called {twice!r}; rename them in the file")
    gone = [wanted for wanted, places in zip(asked, found, strict=True) if not places]
    if gone and missing == "error":
        raise DataError(
            f"{source.name}: has no channel {', '.join(gone)}, only {', '.join(have)}; set channels.names to what the images "
            'have, or channels.missing to "zero"'
        )
    if len(gone) == len(asked):
        raise DataError(f"{source.name}: has none of the channels {', '.join(asked)}, only {', '.join(have)}; name its own")
    notes = [f"{source.name}: has no channel {', '.join(gone)}; 0 is taken instead"] if gone else []
    return [places[0] if places else None for places in found], notes


class _SelectedSource(Source):
    """Channels of `source` by index; None is 0 everywhere."""

    def __init__(self, source: Source, names: tuple[str, ...], order: Sequence[int | None], notes: Sequence[str]) -> None:
        self._source = source
        self._order = tuple(order)
        super().__init__(source.name, source.space, source.dtype, names, source.fill)
        self.on_damage = source.on_damage
        self.notes = (*source.notes, *notes)

    def _read(self, box: Box, level: int) -> np.ndarray:
        self._source.on_damage = self.on_damage
        wanted = sorted({k for k in self._order if k is not None})
        if isinstance(self._source, ChannelsSource):
            read = self._source.read_channels(box, level, wanted)
        else:
            read = self._source.read(box, level)[wanted]
        out = np.zeros((len(self._order), *box.size), self.dtype)
        for row, k in zip(out, self._order, strict=True):
            if k is not None:
                row[:] = read[wanted.index(k)]
        return out

    @property
    def damage(self) -> list[Damage]:
        """What the source beneath could not decode."""
        return self._source.damage

    def _close(self) -> None:
        self._source.close()
