"""COCO run lengths: counts of unset, set, unset, … voxels down the columns; plain, compressed, and HPA's wrapping of them.

The compressed form follows pycocotools' `rleToString`: each count from the third on is the difference to the one two
before, in groups of five bits, low first, bit 5 for "more", written as the character 48 + group.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from malpighi.annotations.rle import RunLengths
from malpighi.errors import DataError


def from_counts(counts: Iterable[int], shape: Sequence[int], name: str = "COCO counts") -> RunLengths:
    """Runs of a (y, x) mask from uncompressed counts.

    Raises:
        DataError: a count is negative, or they do not add up to the mask's size.
    """
    given = np.asarray(list(counts), np.int64)
    height, width = (int(n) for n in shape)
    if len(given) and given.min() < 0:
        raise DataError(f"{name}: count {int(np.argmin(given)) + 1} is negative; counts are 0 or more")
    if given.sum() != height * width:
        raise DataError(f"{name}: counts add up to {given.sum()}, a mask of {height} × {width} has {height * width} voxels")
    edges = np.cumsum(given)
    starts, stops = edges[0::2][: len(edges) // 2], edges[1::2]
    kept = stops > starts
    return RunLengths(starts[kept], stops[kept], (height, width), "F")


def to_counts(runs: RunLengths) -> list[int]:
    """Uncompressed counts, first those of the unset voxels (0 if the first voxel is set)."""
    runs = column_major(runs)
    edges = np.concatenate([[0], np.stack([runs.starts, runs.stops], axis=1).ravel(), [runs.shape[0] * runs.shape[1]]])
    counts = np.diff(edges).tolist()
    return counts[:-1] if len(counts) > 1 and counts[-1] == 0 else counts


def column_major(runs: RunLengths) -> RunLengths:
    """The same mask in order "F"."""
    return runs if runs.order == "F" else RunLengths.encode_boxes(runs.decode, runs.shape, "F")


def compress(counts: Sequence[int]) -> str:
    """COCO's string of `counts`."""
    out = []
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            group = value & 0x1F
            value >>= 5
            more = value != (-1 if group & 0x10 else 0)
            out.append(chr((group | 0x20 if more else group) + 48))
    return "".join(out)


def decompress(text: str, name: str = "COCO counts") -> list[int]:
    """The counts in COCO's string.

    Raises:
        DataError: a character outside the code, or the last count cut off.
    """
    counts: list[int] = []
    value = shift = 0
    for place, character in enumerate(text):
        group = ord(character) - 48
        if not 0 <= group < 64:
            raise DataError(f"{name}: character {place + 1} ({character!r}) is not COCO run-length code")
        value |= (group & 0x1F) << shift
        shift += 5
        if not group & 0x20:
            if group & 0x10:
                value |= -1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise DataError(f"{name}: COCO run-length code is cut off in its last count")
    return counts


def from_hpa(text: str, shape: Sequence[int], name: str = "HPA mask") -> RunLengths:
    """Runs of one cell from HPA's base64 of zlib of COCO's string."""
    try:
        code = zlib.decompress(base64.b64decode(text, validate=True)).decode("ascii")
    except (binascii.Error, zlib.error, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{name}: not base64 of zlib of COCO run lengths ({error})") from error
    return from_counts(decompress(code, name), shape, name)


def to_hpa(runs: RunLengths) -> str:
    """HPA's base64 of zlib of COCO's string."""
    return base64.b64encode(zlib.compress(compress(to_counts(runs)).encode(), 9)).decode()
