"""Surface elements found 64 at a time: masks packed to bits, and logic on whole words. Imported only where it is used.

Cube j of an axis lies between voxels j - 1 and j; voxels outside the array are background. Packed arrays are
(z + 2, y + 2, words) uint64 with an empty border in z and y; bit i of word w is x = 64·w + i.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

WORD = 64
_GATHER = 0x0102040810204080
"""Times eight bytes of 0 or 1: puts them into the top byte, the first one lowest."""
_ONES = 0x0101010101010101


@njit(cache=True, nogil=True)
def pack(mask: np.ndarray, value: int, out: np.ndarray) -> int:
    """Bits of a (z, y, x) uint8 array where it equals `value` (0: where it is anything but 0).

    Args:
        mask: with x contiguous.
        value: 0 … 255.
        out: (z + 2, y + 2, words) uint64, zeros.

    Returns:
        Number of words that are not 0.
    """
    found = 0
    nx = mask.shape[2]
    line = np.zeros(out.shape[2] * WORD, np.uint8)
    eight = line.view(np.uint64)
    for z in range(mask.shape[0]):
        for y in range(mask.shape[1]):
            row = mask[z, y]
            if value == 0:
                for x in range(nx):
                    line[x] = row[x] != 0
            else:
                for x in range(nx):
                    line[x] = row[x] == value
            for w in range(out.shape[2]):
                word = uint64(0)
                for k in range(8):
                    word |= ((eight[8 * w + k] * uint64(_GATHER)) >> uint64(56)) << uint64(8 * k)
                out[z + 1, y + 1, w] = word
                found += word != 0
    return found


@njit(cache=True, nogil=True)
def only_labels(mask: np.ndarray) -> bool:
    """Whether a uint8 array holds nothing but 0, 1 and 255."""
    other = False
    for value in mask.flat:
        other |= 1 < value < 255
    return not other


@njit(cache=True, nogil=True)
def surfaces(bits: np.ndarray, flat: bool, out: np.ndarray) -> int:
    """Cubes whose voxels are not all alike.

    Args:
        bits: packed mask.
        flat: a 2-D image in one slice: its slice stands for both layers of a cube.
        out: (z + 1, y + 1, words) uint64; (1, y + 1, words) where `flat`.

    Returns:
        Number of words that are not 0.
    """
    found = 0
    for z in range(out.shape[0]):
        below = 1 if flat else z
        for y in range(out.shape[1]):
            before_any, before_all = uint64(0), uint64(0)
            for w in range(out.shape[2]):
                a, b = bits[below, y, w], bits[below, y + 1, w]
                c, d = bits[z + 1, y, w], bits[z + 1, y + 1, w]
                some, every = a | b | c | d, a & b & c & d
                left_any = some << uint64(1) | before_any >> uint64(63)
                left_all = every << uint64(1) | before_all >> uint64(63)
                word = (some | left_any) & ~(every & left_all)
                out[z, y, w] = word
                found += word != 0
                before_any, before_all = some, every
    return found


@njit(cache=True, nogil=True)
def drop_unlabelled(unknown: np.ndarray, flat: bool, predicted: np.ndarray, true: np.ndarray) -> None:
    """Take the cubes away, in place, that touch a voxel of packed `unknown`."""
    for z in range(predicted.shape[0]):
        below = 1 if flat else z
        for y in range(predicted.shape[1]):
            before = uint64(0)
            for w in range(predicted.shape[2]):
                some = unknown[below, y, w] | unknown[below, y + 1, w] | unknown[z + 1, y, w] | unknown[z + 1, y + 1, w]
                keep = ~(some | some << uint64(1) | before >> uint64(63))
                predicted[z, y, w] &= keep
                true[z, y, w] &= keep
                before = some


@njit(cache=True, nogil=True)
def _shifted(row: np.ndarray, w: int, step: int) -> np.unsignedinteger:
    """Word `w` of a row of bits as it looks when x + step is taken for x."""
    words, bits = step >> 6, uint64(step & 63)
    i = w + words
    low = row[i] if 0 <= i < row.shape[0] else uint64(0)
    if bits == 0:
        return low
    high = row[i + 1] if 0 <= i + 1 < row.shape[0] else uint64(0)
    return low >> bits | high << (uint64(64) - bits)


@njit(cache=True, nogil=True)
def count_near(
    bits: np.ndarray,
    mine: np.ndarray,
    other: np.ndarray,
    flat: bool,
    start: np.ndarray,
    stop: np.ndarray,
    offsets: np.ndarray,
    ends: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Count the surface elements of one mask by neighbourhood: all, and those near the other's, at several tolerances.

    Args:
        bits: packed mask.
        mine: its surface cubes.
        other: those of the other mask.
        flat: see `surfaces`.
        start: (3,) first cube that is counted.
        stop: (3,) cube past the last.
        offsets: (offset, 3) steps from a cube, nearest first: (0, 0, 0) leads.
        ends: (tolerance,) how many of the offsets each tolerance reaches, ascending.
        counts: (1 + tolerance, 256) int64, added to.
    """
    first, last = start[2] >> 6, (stop[2] - 1) >> 6
    near = np.zeros(1 + ends.shape[0], np.uint64)
    for z in range(start[0], stop[0]):
        below = 1 if flat else z
        for y in range(start[1], stop[1]):
            for w in range(first, last + 1):
                word = mine[z, y, w]
                if w == first:
                    word &= ~uint64(0) << uint64(start[2] & 63)
                if w == last and stop[2] & 63:
                    word &= (uint64(1) << uint64(stop[2] & 63)) - uint64(1)
                if word == 0:
                    continue
                near[0] = word
                pending = word
                k = 0
                for t in range(ends.shape[0]):
                    while k < ends[t] and pending != 0:
                        u, v = z + offsets[k, 0], y + offsets[k, 1]
                        if 0 <= u < other.shape[0] and 0 <= v < other.shape[1]:
                            pending &= ~_shifted(other[u, v], w, offsets[k, 2])
                        k += 1
                    near[1 + t] = word & ~pending
                _add(bits, below, z, y, w, near, counts)


@njit(cache=True, nogil=True)
def _left(row: np.ndarray, w: int) -> np.unsignedinteger:
    """Word `w` of a row of bits moved by one: bit i is the voxel before."""
    before = row[w - 1] >> uint64(63) if w else uint64(0)
    return row[w] << uint64(1) | before


@njit(cache=True, nogil=True)
def _add(bits: np.ndarray, below: int, z: int, y: int, w: int, chosen: np.ndarray, counts: np.ndarray) -> None:
    """Count the neighbourhoods of a word's cubes: of those whose bit is set in each of `chosen`, the first holding all.

    Bit 4·dz + 2·dy + dx of a neighbourhood is the voxel at (dz, dy, dx).
    """
    a, b, c, d = bits[below, y], bits[below, y + 1], bits[z + 1, y], bits[z + 1, y + 1]
    a0, b0, c0, d0 = _left(a, w), _left(b, w), _left(c, w), _left(d, w)
    a1, b1, c1, d1 = a[w], b[w], c[w], d[w]
    one = uint64(1)
    word, i = chosen[0], uint64(0)
    while word != 0:
        while word & uint64(0xFF) == 0:
            word >>= uint64(8)
            i += uint64(8)
        if word & one:
            low = (a0 >> i & one) | (a1 >> i & one) << one | (b0 >> i & one) << uint64(2) | (b1 >> i & one) << uint64(3)
            high = (c0 >> i & one) | (c1 >> i & one) << one | (d0 >> i & one) << uint64(2) | (d1 >> i & one) << uint64(3)
            code = int(low | high << uint64(4))
            for t in range(chosen.shape[0]):
                counts[t, code] += int(chosen[t] >> i & one)
        word >>= one
        i += one


__all__ = ["WORD", "count_near", "drop_unlabelled", "only_labels", "pack", "surfaces"]
