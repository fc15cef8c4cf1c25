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

_GROUPS = 12
"""Groups of five bits that fit into 64 with their sign."""


def from_counts(counts: Iterable[int], shape: Sequence[int], name: str = "COCO counts") -> RunLengths:
    """Runs of a (y, x) mask from uncompressed counts.

    Raises:
        DataError: a count is negative, or they do not add up to the mask's size.
    """
    given = np.asarray(counts if isinstance(counts, Sequence) else list(counts), np.int64)
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
    values = np.asarray(counts, np.int64)
    values = np.concatenate([values[:3], values[3:] - values[1:-2]])  # shorter ones stay as they are
    groups = np.ones(len(values), np.int64)
    while ((rest := values >> (5 * groups - 1)) ** 2 + rest).any():  # neither 0 nor -1: the sign needs another group
        groups += (rest != 0) & (rest != -1)
    owner = np.repeat(np.arange(len(values)), groups)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(groups) - groups, groups)
    code = (values[owner] >> (5 * place)) & 0x1F
    return (code + 48 + 0x20 * (place + 1 < groups[owner])).astype(np.uint8).tobytes().decode("ascii")


def decompress(text: str, name: str = "COCO counts") -> list[int]:
    """The counts in COCO's string.

    Raises:
        DataError: a character outside the code, or the last count cut off.
    """
    code = np.frombuffer(text.encode("latin-1", "replace"), np.uint8).astype(np.int64) - 48
    wrong = np.flatnonzero((code < 0) | (code > 63))
    if len(wrong):
        raise DataError(f"{name}: character {wrong[0] + 1} ({text[wrong[0]]!r}) is not COCO run-length code")
    if not len(code):
        return []
    last = np.flatnonzero(code & 0x20 == 0)  # of each count
    if not len(last) or last[-1] + 1 < len(code):
        raise DataError(f"{name}: COCO run-length code is cut off in its last count")
    first = np.concatenate([[0], last[:-1] + 1])
    groups = last - first + 1
    if groups.max() > _GROUPS:
        raise DataError(f"{name}: a COCO count of {groups.max()} characters is no number of pixels")
    place = np.arange(len(code)) - np.repeat(first, groups)
    values = np.add.reduceat((code & 0x1F) << (5 * place), first)
    values -= np.where(code[last] & 0x10, np.int64(1) << (5 * groups), 0)
    for begin in (1, 2):  # from the third on, each is the difference to the one two before
        values[begin::2] = np.cumsum(values[begin::2])
    return values.tolist()


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
