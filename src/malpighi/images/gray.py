"""Which channel of a file holds its one gray picture: cameras' exports are often coloured though they show one stain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.images.base import Source

LOSSY = (".jpg", ".jpeg")
EMPTY = 0.05
"""A channel of a JPEG is empty below this share of the fullest one's mean, and `BLEEDS` more."""
BLEEDS = 1.0
"""Mean value that compression leaves in an empty channel of a JPEG; 0.4 to 1.3 beside a mean of 127."""
ALIKE = 0.02
"""Channels of a JPEG are equal where they differ by less than this share of the mean, on average."""
_BAND = 1 << 24


@dataclass(frozen=True)
class Gray:
    """A file of which one channel is wanted.

    Attributes:
        channel: its index.
        notes: which one that is and why, where there was a choice.
    """

    source: Source
    channel: int = 0
    notes: tuple[str, ...] = ()


def as_gray(source: Source) -> Gray:
    """The channel that holds a file's one gray picture.

    A colour is a gray picture if some of its channels are equal and the others empty: gray saved as RGB, a stain saved
    in its own colour (green: the second alone; yellow: the first two).

    Raises:
        DataError: the channels differ: the file is a picture in colours.
    """
    count = len(source.channels)
    if count == 1:
        return Gray(source)
    sums, differences, voxels = _tallied(source)
    full = int(np.argmax(sums))
    lossy = Path(source.name).suffix.lower() in LOSSY
    means = sums / voxels
    empty = means <= EMPTY * means[full] + BLEEDS if lossy else sums == 0
    apart = differences[full] / voxels
    equal = apart <= ALIKE * means[full] + 0.5 if lossy else apart == 0
    if not (equal | empty).all():
        raise DataError(
            f"{source.name}: its {count} channels differ, so it shows more than one stain; save one gray file a channel, or "
            "give the file itself as the image"
        )
    taken = int(np.argmax(equal))
    name = source.channels[taken]
    why = "all are equal" if equal.all() else f"{', '.join(np.array(source.channels)[empty & ~equal])} hold nothing"
    return Gray(source, taken, (f"{source.name}: has {count} channels; {name} is taken, {why}",))


def _tallied(source: Source) -> tuple[np.ndarray, np.ndarray, int]:
    """(channel,) sums, (channel, channel) sums of absolute differences, and voxels, of the coarsest level, band by band."""
    level = source.space.levels - 1
    whole = Box.of_shape(source.space.shapes[level])
    count = len(source.channels)
    rows = max(1, _BAND // max(1, whole.volume // whole.size[0]))
    sums, differences = np.zeros(count), np.zeros((count, count))
    for box in whole.split((rows, *whole.size[1:])):
        values = source.read(box, level).reshape(count, -1).astype(np.int64)
        sums += values.sum(1)
        for a in range(count):
            differences[a] += np.abs(values - values[a]).sum(1)
    return sums, differences, whole.volume
