"""From the voxels of a skeleton to nodes and chains, in compiled loops."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

_FORWARD = np.array([(z, y, x) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) > (0, 0, 0)])


TOLERANCE = 0.7
"""Voxels by which the depth may fall and still count as the same; measured on straight tubes of 1 to 8 voxels radius at all angles."""


class Traced(NamedTuple):
    """Nodes and chains of a skeleton.

    Attributes:
        node: (voxel,) int64, the node that a voxel belongs to; -1 on the way between nodes.
        ends: (chain, 2) int64, the nodes at its two ends.
        offset: (chain + 1,) int64; chain k is `path[offset[k] : offset[k + 1]]`.
        path: voxel numbers, from the voxel of the first node to that of the second, both included.
    """

    node: np.ndarray
    ends: np.ndarray
    offset: np.ndarray
    path: np.ndarray


def trace(voxels: np.ndarray, shape: tuple[int, ...]) -> Traced:
    """Cut a skeleton into nodes and the chains between them.

    A voxel with one neighbour, none, or more than two is of a node; junction voxels that touch are one node. A ring without
    any gets one of its voxels as a node.

    Args:
        voxels: (n, 3) voxels sorted in C order.
        shape: of the volume.
    """
    start, near = _neighbours(voxels, shape)
    degree = np.diff(start)
    node = _nodes(start, near, degree)
    return Traced(node, *_chains(start, near, node))


def _neighbours(voxels: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours of voxel i, `near[start[i] : start[i + 1]]`, ascending."""
    n = len(voxels)
    numbers = np.ravel_multi_index(tuple(voxels.T), shape) if n else np.empty(0, np.int64)
    first, second = [], []
    for step in _FORWARD:
        moved = voxels + step
        inside = np.flatnonzero(((moved >= 0) & (moved < shape)).all(axis=1))
        wanted = np.ravel_multi_index(tuple(moved[inside].T), shape)
        at = np.minimum(np.searchsorted(numbers, wanted), max(0, n - 1))
        met = numbers[at] == wanted if n else np.empty(0, bool)
        first.append(inside[met])
        second.append(at[met])
    a, b = np.concatenate(first), np.concatenate(second)
    source, target = np.concatenate([a, b]), np.concatenate([b, a])
    order = np.lexsort([target, source])
    return np.concatenate([[0], np.cumsum(np.bincount(source, minlength=n))]).astype(np.int64), target[order].astype(np.int64)


def _nodes(start: np.ndarray, near: np.ndarray, degree: np.ndarray) -> np.ndarray:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    n = len(degree)
    source = np.repeat(np.arange(n), degree)
    junction = degree > 2
    both = junction[source] & junction[near]
    _, cluster = connected_components(
        csr_array((np.ones(both.sum(), bool), (source[both], near[both])), shape=(n, n)), directed=False
    )
    _, piece = connected_components(csr_array((np.ones(len(near), bool), (source, near)), shape=(n, n)), directed=False)
    is_node = degree != 2
    ringed = np.flatnonzero(np.bincount(piece, is_node) == 0) if n else np.empty(0, np.int64)
    if len(ringed):
        _, firsts = np.unique(piece, return_index=True)
        is_node[firsts[ringed]] = True
    node = np.full(n, -1, np.int64)
    node[is_node] = np.unique(cluster[is_node], return_inverse=True)[1]
    return node


@njit(cache=True)
def _chains(start: np.ndarray, near: np.ndarray, node: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = len(node)
    walked = np.zeros(n, np.bool_)
    ends = np.empty((2 * n + 1, 2), np.int64)
    offset = np.zeros(2 * n + 2, np.int64)
    path = np.empty(6 * n + 2, np.int64)
    count, filled = 0, 0
    for a in range(n):
        if node[a] < 0:
            continue
        for k in range(start[a], start[a + 1]):
            b = near[k]
            if node[b] >= 0:
                if node[b] == node[a] or b < a:  # inside one node; or the same pair, met from the other side
                    continue
            elif walked[b]:
                continue
            path[filled] = a
            filled += 1
            before, at = a, b
            while node[at] < 0:
                walked[at] = True
                path[filled] = at
                filled += 1
                on = near[start[at]]
                if on == before:
                    on = near[start[at] + 1]
                before, at = at, on
            path[filled] = at
            filled += 1
            ends[count, 0], ends[count, 1] = node[a], node[at]
            count += 1
            offset[count] = filled
    return ends[:count].copy(), offset[: count + 1].copy(), path[:filled].copy()


@njit(cache=True)
def smooth(points: np.ndarray, sigma: float) -> np.ndarray:
    """A line smoothed by a Gaussian of `sigma` points; its ends stay, and beyond them it is taken to turn about them.

    Args:
        points: (n, 3) float64.
        sigma: in points; 0 changes nothing.
    """
    n = len(points)
    reach = int(3 * sigma + 0.5)
    if n < 3 or reach < 1:
        return points.copy()
    weight = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weight /= weight.sum()
    out = points.copy()
    for i in range(1, n - 1):
        for axis in range(3):
            total = 0.0
            for k in range(-reach, reach + 1):
                j = i + k
                if j < 0:
                    value = 2 * points[0, axis] - points[min(n - 1, -j), axis]
                elif j >= n:
                    value = 2 * points[n - 1, axis] - points[max(0, 2 * (n - 1) - j), axis]
                else:
                    value = points[j, axis]
                total += weight[k + reach] * value
            out[i, axis] = total
    return out


@njit(cache=True)
def find_tips(lines: np.ndarray, depth: np.ndarray, at: np.ndarray, radius: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """For each voxel that ends a line, the point up to which the vessel keeps its width; for all others the voxel itself.

    From the end of the line we go on in its direction for as long as the depth does not fall: in a round end that is up to the
    centre of its last ball, at the border of the volume up to the border.

    Args:
        lines: (z, y, x) bool, the skeleton.
        depth: (z, y, x) distance to the background.
        at: (n, 3) voxels of the skeleton.
        radius: (n,) of the vessel at them.
        spacing: (3,) of a voxel.

    Returns:
        (n, 3) float32, in voxel indices.
    """
    tips = at.astype(np.float32)
    shape = lines.shape
    finest = spacing.max()
    for axis in range(3):
        if shape[axis] > 1:
            finest = min(finest, spacing[axis])
    here, before, following = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3, np.int64)
    for i in range(len(at)):
        here[:] = at[i]
        before[:] = here
        steps = max(4, int(1.5 * radius[i] / finest))
        for _ in range(steps):
            met = 0
            for dz in range(-1, 2):
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        z, y, x = here[0] + dz, here[1] + dy, here[2] + dx
                        if (dz == 0 and dy == 0 and dx == 0) or (z == before[0] and y == before[1] and x == before[2]):
                            continue
                        if 0 <= z < shape[0] and 0 <= y < shape[1] and 0 <= x < shape[2] and lines[z, y, x]:
                            met += 1
                            following[0], following[1], following[2] = z, y, x
            if met != 1:  # no end of a line, or a junction
                break
            before[:] = here
            here[:] = following
        wz, wy, wx = (at[i, 0] - here[0]) * spacing[0], (at[i, 1] - here[1]) * spacing[1], (at[i, 2] - here[2]) * spacing[2]
        length = (wz * wz + wy * wy + wx * wx) ** 0.5
        if length == 0:
            continue
        stride = 0.25 * finest / length
        wz, wy, wx = wz * stride / spacing[0], wy * stride / spacing[1], wx * stride / spacing[2]
        lowest = radius[i] - TOLERANCE * finest
        strides = 0
        while True:
            strides += 1
            z, y, x = round(at[i, 0] + strides * wz), round(at[i, 1] + strides * wy), round(at[i, 2] + strides * wx)
            inside = 0 <= z < shape[0] and 0 <= y < shape[1] and 0 <= x < shape[2]
            if not inside or depth[z, y, x] < lowest or depth[z, y, x] == 0:
                break
        tips[i, 0] = at[i, 0] + (strides - 1) * wz
        tips[i, 1] = at[i, 1] + (strides - 1) * wy
        tips[i, 2] = at[i, 2] + (strides - 1) * wx
    return tips
