"""Run lengths: a mask as sorted (start, length) pairs along one axis, decoded box by box.

`order` "F" runs down the columns (HuBMAP), "C" along the rows (SenNet, Sartorius). In text, starts count from 1; an empty
mask is the empty string or `1 0`. Runs may go on from the end of one line into the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box

Order = Literal["F", "C"]

BAND = 1 << 24
"""Pixels that encoding from a reader holds at once."""

LINES = 1024
"""Columns that are drawn and transposed at once."""


@dataclass(frozen=True, eq=False)
class RunLengths:
    """The set voxels of a 2-D mask.

    Attributes:
        starts, stops: (run,) int64, half-open, sorted, indices into the flattened mask, counted from 0.
        shape: (y, x) of the mask.
        order: which axis is flattened fastest: "F" y, "C" x.
    """

    starts: np.ndarray
    stops: np.ndarray
    shape: tuple[int, int]
    order: Order = "F"

    # -- text ----------------------------------------------------------------------------------------------------
    @classmethod
    def parse(cls, text: str, shape: Sequence[int], order: Order = "F", name: str = "run lengths") -> RunLengths:
        """Read `"start length start length …"`, starts counted from 1.

        Args:
            text: pairs parted by white space; empty or `1 0` for an empty mask.
            shape: (y, x) of the mask.
            order: "F" or "C".
            name: file and row, for errors.

        Raises:
            DataError: not positive whole numbers, an odd count, unsorted, overlapping, or past the end; names the pair.
        """
        height, width = (int(n) for n in shape)
        values = _numbers(text, name)
        if len(values) % 2:
            raise DataError(f"{name}: {len(values)} numbers; run lengths are pairs of start and length, so one is missing")
        if tuple(values) == (1, 0) or not len(values):
            return cls(np.empty(0, np.int64), np.empty(0, np.int64), (height, width), order)
        starts, lengths = values[0::2] - 1, values[1::2]
        stops = starts + lengths
        _check(starts, lengths, height, width, name)
        return cls(starts, stops, (height, width), order)

    def text(self, empty: str = "") -> str:
        """`"start length …"`, starts counted from 1; `empty` ("" or "1 0") where nothing is set."""
        if not len(self.starts):
            return empty
        return " ".join(map(str, np.stack([self.starts + 1, self.stops - self.starts], axis=1).ravel().tolist()))

    # -- masks ---------------------------------------------------------------------------------------------------
    @classmethod
    def encode(cls, mask: np.ndarray, order: Order = "F") -> RunLengths:
        """The runs of a (y, x) mask; any non-zero is set."""
        return cls.encode_boxes(lambda box: mask[box.slices], mask.shape, order)

    @classmethod
    def encode_boxes(
        cls, read: Callable[[Box], np.ndarray], shape: Sequence[int], order: Order = "F", multiple: int = 512
    ) -> RunLengths:
        """The runs of a mask of `shape` that `read` returns box by box: only bands of about `BAND` pixels are held.

        Args:
            read: box inside the mask → (y, x) array, non-zero where set; asked for bands across the whole mask, in order.
            shape: (y, x).
            order: "F" or "C".
            multiple: bands are as many lines wide, or a multiple: the chunk side of the file read from.
        """
        height, width = (int(n) for n in shape)
        lines, length = (width, height) if order == "F" else (height, width)
        band = max(1, BAND // max(1, length) // multiple) * multiple
        edges: list[np.ndarray] = []
        for first in range(0, lines, band):
            count = min(band, lines - first)
            box = Box((0, first), (height, count)) if order == "F" else Box((first, 0), (count, width))
            edges.append(_edges(_flat(read(box), order)) + first * length)
        joined = np.concatenate(edges) if edges else np.empty(0, np.int64)
        # a run that crosses bands stopped and started at the same place: both edges go
        same = np.flatnonzero(joined[1:] == joined[:-1])
        joined = np.delete(joined, np.concatenate([same, same + 1]))
        return cls(joined[0::2], joined[1::2], (height, width), order)

    def decode(self, box: Box | None = None) -> np.ndarray:
        """(y, x) uint8 of 0 and 1: the whole mask, or only `box`, which lies inside it."""
        box = box or Box.of_shape(self.shape)
        (y0, x0), (y1, x1) = box.start, box.stop
        return self.sample(np.arange(y0, y1), np.arange(x0, x1))

    def sample(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(row, column) uint8: the mask at ascending `rows` × `columns`; costs by the runs met, not by the mask."""
        lines, places = (columns, rows) if self.order == "F" else (rows, columns)
        length = self.shape[0] if self.order == "F" else self.shape[1]
        offsets, places = lines.astype(np.int64) * length, places.astype(np.int64)
        if self.order == "C" or not len(rows) or not len(columns):
            return self._lines(offsets, places).reshape(len(rows), len(columns))
        import cv2

        out = np.empty((len(rows), len(columns)), np.uint8)
        for first in range(0, len(offsets), LINES):  # by bands: the whole at once took three times as long (1.4 gigapixels)
            out[:, first : first + LINES] = cv2.transpose(self._lines(offsets[first : first + LINES], places))
        return out

    def _lines(self, offsets: np.ndarray, places: np.ndarray) -> np.ndarray:
        """(line, place) uint8, where a line begins at index `offsets[line]` of the flattened mask."""
        n, m = len(offsets), len(places)
        if not n or not m:
            return np.zeros((n, m), np.uint8)
        low = np.searchsorted(self.stops, offsets + places[0], "right")
        high = np.searchsorted(self.starts, offsets + places[-1], "right")
        met = np.maximum(high - low, 0)
        line = np.repeat(np.arange(n), met)
        run = np.arange(len(line)) - np.repeat(np.cumsum(met) - met, met) + low[line]
        base = offsets[line]
        if (np.diff(places) == 1).all():  # every voxel: the place is its own index
            first, last = (np.clip(edge[run] - base - places[0], 0, m) for edge in (self.starts, self.stops))
        else:
            first, last = (np.searchsorted(places, edge[run] - base) for edge in (self.starts, self.stops))
        edges = np.stack([first, last], axis=1) + (line * m)[:, None]
        gaps = np.diff(np.concatenate([[0], edges.ravel(), [n * m]]))
        values = np.zeros(len(gaps), np.uint8)
        values[1::2] = 1
        return np.repeat(values, gaps).reshape(n, m)

    @property
    def area(self) -> int:
        """Number of set voxels."""
        return int((self.stops - self.starts).sum())

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.starts.tolist(), self.stops.tolist(), strict=True)

    def __len__(self) -> int:
        return len(self.starts)


def _numbers(text: str, name: str) -> np.ndarray:
    """The whole numbers in `text`. Characters are checked first: NumPy's fast parser only warns of what it cannot read."""
    if text.encode("utf-8", "replace").translate(None, b"0123456789 \t\r\n"):
        words = text.split()
        for place, word in enumerate(words):
            if not (word.isascii() and word.isdigit()):
                raise DataError(f"{name}: pair {place // 2 + 1} holds {word[:20]!r}; run lengths are positive whole numbers")
        text = " ".join(words)  # white space of another kind
    if not text.strip():
        return np.empty(0, np.int64)
    return np.fromstring(text, dtype=np.int64, sep=" ")


def _check(starts: np.ndarray, lengths: np.ndarray, height: int, width: int, name: str) -> None:
    """Pairs must be positive, inside the mask, sorted and apart; the first that is not is named."""
    size = height * width
    for wrong, why in (
        ((starts < 0) | (lengths <= 0), "start and length must be 1 or more; count pixels from 1"),
        ((lengths > size) | (starts > size - lengths), f"runs past the end of the mask of {height} × {width}; check its size"),
        (
            np.concatenate([[False], starts[1:] < (starts + lengths)[:-1]]),
            "begins before the run before it ends; each pixel is named once, in order",
        ),
    ):
        if wrong.any():
            pair = int(np.argmax(wrong))
            raise DataError(f"{name}: pair {pair + 1} ({starts[pair] + 1} {lengths[pair]}) {why}")


def _flat(mask: np.ndarray, order: Order) -> np.ndarray:
    """A mask as booleans in one row. OpenCV transposes by blocks: four times as fast as NumPy's copy."""
    mask = mask if mask.dtype == bool else mask != 0
    if order == "F" and mask.size:
        import cv2

        return cv2.transpose(np.ascontiguousarray(mask).view(np.uint8)).reshape(-1).view(bool)
    return np.ascontiguousarray(mask).reshape(-1)


def _edges(flat: np.ndarray) -> np.ndarray:
    """Indices where the value changes, from 0 before to 0 after: starts and stops in turn."""
    if not len(flat):
        return np.empty(0, np.int64)
    inner = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends = ([0] if flat[0] else []), ([len(flat)] if flat[-1] else [])
    return np.concatenate([ends[0], inner, ends[1]]).astype(np.int64)
