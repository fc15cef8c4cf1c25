"""Homotopic thinning of a 3-D array: Lee's order of deletion, over a list of voxels instead of the whole array."""

from __future__ import annotations

import numpy as np
from numba import njit

FREE, FIXED = np.uint8(1), np.uint8(2)
"""Values of a foreground voxel: may be deleted, or stays whatever happens. 0 is background."""

_OFFSETS = np.array([(z, y, x) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) != (0, 0, 0)])


def _adjacency(steps: int, within: int) -> np.ndarray:
    """(26,) bit sets: which of the 26 neighbours touch each other; both at most `within` steps from the centre.

    `steps`: 1, over faces only; 3, over faces, edges and corners.
    """
    apart = np.abs(_OFFSETS[:, None] - _OFFSETS[None])
    touch = (apart.max(-1) == 1) & (apart.sum(-1) <= steps)
    near = np.abs(_OFFSETS).sum(-1) <= within
    touch &= near[:, None] & near[None]
    return (touch * (1 << np.arange(26))).sum(1).astype(np.uint32)


_TOUCH26 = _adjacency(3, 3)
_TOUCH6 = _adjacency(1, 2)
_FACES = np.uint32((np.abs(_OFFSETS).sum(-1) == 1) @ (1 << np.arange(26)))
_ALL = np.uint32((1 << 26) - 1)
_BORDERS = np.array([(0, -1, 0), (0, 1, 0), (0, 0, 1), (0, 0, -1), (1, 0, 0), (-1, 0, 0)])
"""The side a voxel must be open to, by sub-iteration: scikit-image's order, so that results can be compared."""


@njit(cache=True, nogil=True)
def _neighbours(flat: np.ndarray, at: int, steps: np.ndarray) -> np.uint32:
    bits = np.uint32(0)
    for i in range(26):
        if flat[at + steps[i]] != 0:
            bits |= np.uint32(1) << np.uint32(i)
    return bits


@njit(cache=True, nogil=True)
def _flood(members: np.uint32, touch: np.ndarray, seeds: np.uint32) -> np.uint32:
    """The part of `members` connected with the lowest of `seeds`."""
    reached = seeds & (~seeds + np.uint32(1))
    front = reached
    while front != 0:
        grown = np.uint32(0)
        for i in range(26):
            if (front >> np.uint32(i)) & np.uint32(1):
                grown |= touch[i]
        front = grown & members & ~reached
        reached |= front
    return reached


@njit(cache=True, nogil=True)
def _simple(bits: np.uint32) -> bool:
    """Whether deleting the centre changes neither pieces, tunnels nor cavities (26-connected foreground, 6-connected ground).

    Bertrand & Malandain 1994: one 26-component of foreground among the 26 neighbours, one 6-component of background among the 18
    that touches the centre over a face.
    """
    if bits == 0:
        return False
    ground = ~bits & _ALL
    open_faces = ground & _FACES
    if open_faces == 0 or _flood(bits, _TOUCH26, bits) != bits:
        return False
    return open_faces & ~_flood(ground, _TOUCH6, open_faces) == 0


@njit(cache=True, nogil=True)
def _thin(flat: np.ndarray, voxels: np.ndarray, steps: np.ndarray, borders: np.ndarray, keep_ends: bool) -> None:
    candidates = np.empty(len(voxels), np.int64)
    count = len(voxels)
    changed = True
    while changed:
        changed = False
        for j in range(6):
            found = 0
            for i in range(count):
                at = voxels[i]
                if flat[at] == 0 or flat[at + borders[j]] != 0:
                    continue
                bits = _neighbours(flat, at, steps)
                if keep_ends and bits & (bits - np.uint32(1)) == 0:  # one neighbour: the end of a line
                    continue
                if _simple(bits):
                    candidates[found] = at
                    found += 1
            for i in range(found):  # one after the other: neighbours may not both go
                bits = _neighbours(flat, candidates[i], steps)
                # ends count here too, or an even tube's last two rows are eaten from end to end (scikit-image does that)
                if _simple(bits) and not (keep_ends and bits & (bits - np.uint32(1)) == 0):
                    flat[candidates[i]] = 0
                    changed = True
        kept = 0
        for i in range(count):
            if flat[voxels[i]] != 0:
                voxels[kept] = voxels[i]
                kept += 1
        count = kept


@njit(cache=True, nogil=True)
def _surface_points(flat: np.ndarray, voxels: np.ndarray, steps: np.ndarray) -> int:
    found = 0
    for i in range(len(voxels)):
        ground = ~_neighbours(flat, voxels[i], steps) & _ALL
        faces = ground & _FACES
        if flat[voxels[i]] != 0 and faces & ~_flood(ground, _TOUCH6, faces) != 0:
            found += 1
    return found


def thin(volume: np.ndarray, keep_ends: bool = True) -> int:
    """Delete voxels of value `FREE` in place until a thin skeleton is left, of the same pieces, tunnels and cavities.

    Voxels are taken layer by layer from the six sides in turn (Lee, Kashyap & Chu 1994), each only if it is simple when its
    turn comes; time goes with the number of foreground voxels, not with the array's size.

    Args:
        volume: (z, y, x) uint8, C order: 0, `FREE`, `FIXED`. The outermost layer holds no `FREE` voxel.
        keep_ends: the last voxel of a line stays, so that branches keep their length; without it everything that is not
            `FIXED` shrinks as far as topology allows.

    Returns:
        How many of the voxels that are left lie on surfaces: a skeleton of lines has few, the wall of a cavity many.
    """
    strides = np.array([volume.shape[1] * volume.shape[2], volume.shape[2], 1])
    flat = volume.reshape(-1)
    voxels = np.flatnonzero(flat == FREE)
    steps = _OFFSETS @ strides
    _thin(flat, voxels, steps, _BORDERS @ strides, keep_ends)
    return int(_surface_points(flat, voxels, steps))
