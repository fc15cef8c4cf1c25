"""Flow: in every pixel of an object the direction in which its middle lies, on ways that stay inside."""

from __future__ import annotations

import numpy as np
from numba import njit

from malpighi.objects.depth import depth_in_objects

SWEEPS = 8
"""Of Gauss-Seidel, there and back. Any number leads to the middle; with 8 the flow of a turned image is the turned flow within 1°."""
_Y = np.array([-1, 0, 0, 1, -1, -1, 1, 1])
_X = np.array([0, -1, 1, 0, -1, 1, -1, 1])


@njit(cache=True, nogil=True)
def _pieces(labels: np.ndarray, piece: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Number the 8-connected pieces of objects; `order` gets their pixels piece by piece. Returns where each starts."""
    height, width = labels.shape
    starts = np.empty(labels.size + 1, np.int64)
    count, filled = 0, 0
    for y0 in range(height):
        for x0 in range(width):
            if labels[y0, x0] <= 0 or piece[y0, x0] > 0:
                continue
            starts[count] = filled
            count += 1
            _spread(labels, piece, count, y0, x0, order, filled)
            while filled < labels.size and order[filled] >= 0:
                filled += 1
    starts[count] = filled
    return starts[: count + 1]


@njit(cache=True, nogil=True)
def _spread(labels: np.ndarray, piece: np.ndarray, number: int, y0: int, x0: int, order: np.ndarray, at: int) -> None:
    """Breadth first from a pixel over those of the same label that have another number; pixels go to `order` from `at` on."""
    height, width = labels.shape
    piece[y0, x0] = number
    order[at] = y0 * width + x0
    head, tail = at, at + 1
    while head < tail:
        y, x = order[head] // width, order[head] % width
        head += 1
        for i in range(8):
            v, u = y + _Y[i], x + _X[i]
            if 0 <= v < height and 0 <= u < width and piece[v, u] != number and labels[v, u] == labels[y0, x0]:
                piece[v, u] = number
                order[tail] = v * width + u
                tail += 1


@njit(cache=True, nogil=True)
def _middle(pixels: np.ndarray, depth: np.ndarray) -> int:
    """Of the pixels at least half as deep as the deepest, the one nearest to the centroid: never at the rim of a bent object."""
    width = depth.shape[1]
    deepest, sum_y, sum_x = np.float32(0), 0, 0
    for p in pixels:
        deepest = max(deepest, depth[p // width, p % width])
        sum_y += p // width
        sum_x += p % width
    mean_y, mean_x = sum_y / len(pixels), sum_x / len(pixels)
    best, nearest = pixels[0], 1e30
    for p in pixels:
        y, x = p // width, p % width
        away = (y - mean_y) ** 2 + (x - mean_x) ** 2
        if depth[y, x] >= deepest / 2 and (away < nearest or (away == nearest and p < best)):
            best, nearest = p, away
    return best


@njit(cache=True, nogil=True)
def _neighbours(labels: np.ndarray, pixels: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """(pixel, 8) places of the neighbours in `pixels`; past the last where it is not the object, its own where nobody knows."""
    height, width = labels.shape
    found = np.empty((len(pixels), 8), np.int32)
    for k in range(len(pixels)):
        y, x = pixels[k] // width, pixels[k] % width
        for i in range(8):
            v, u = y + _Y[i], x + _X[i]
            if v < 0 or u < 0 or v >= height or u >= width or labels[v, u] < 0:
                found[k, i] = k
            elif labels[v, u] == labels[y, x]:
                found[k, i] = rank[v, u]
            else:
                found[k, i] = len(pixels)
    return found


@njit(cache=True, nogil=True)
def _heat(near: np.ndarray, sweeps: int) -> np.ndarray:
    """Heat of each pixel, 1 at the first, and 0 past the last; pixels in breadth-first order: a sweep reaches the farthest."""
    n = len(near)
    heat = np.zeros(n + 1)
    heat[0] = 1.0
    for i in range(2 * sweeps):
        for j in range(1, n):
            k = j if i % 2 == 0 else n - j
            at = near[k]
            faces = heat[at[0]] + heat[at[1]] + heat[at[2]] + heat[at[3]]
            corners = heat[at[4]] + heat[at[5]] + heat[at[6]] + heat[at[7]]
            heat[k] = (faces + corners / 2) / 6
    return heat


@njit(cache=True, nogil=True)
def _directions(near: np.ndarray, heat: np.ndarray, pixels: np.ndarray, flow: np.ndarray) -> None:
    """Unit gradients; where heat is below what a float holds, the step back towards the middle. 0 in the middle itself."""
    width = flow.shape[2]
    for k in range(1, len(pixels)):
        at, scale = near[k], heat[k]
        dy, dx, length = 0.0, 0.0, 0.0
        if scale > 1e-290:
            dy, dx = (heat[at[3]] - heat[at[0]]) / scale, (heat[at[2]] - heat[at[1]]) / scale
            length = (dy * dy + dx * dx) ** 0.5
        if length < 1e-9:
            first = np.argmin(at)
            dy, dx = float(_Y[first]), float(_X[first])
            length = (dy * dy + dx * dx) ** 0.5
        flow[0, pixels[k] // width, pixels[k] % width] = dy / length
        flow[1, pixels[k] // width, pixels[k] % width] = dx / length


@njit(cache=True, nogil=True)
def _flow(labels: np.ndarray, depth: np.ndarray, sweeps: int, flow: np.ndarray) -> None:
    piece = np.zeros(labels.shape, np.int64)
    order = np.full(labels.size, -1, np.int64)
    starts = _pieces(labels, piece, order)
    rank = np.zeros(labels.shape, np.int32)
    width = labels.shape[1]
    for i in range(len(starts) - 1):
        pixels = order[starts[i] : starts[i + 1]]
        middle = _middle(pixels, depth)
        _spread(labels, piece, -1 - i, middle // width, middle % width, order, starts[i])  # numbers that no piece has
        for k in range(len(pixels)):
            rank[pixels[k] // width, pixels[k] % width] = k
        near = _neighbours(labels, pixels, rank)
        _directions(near, _heat(near, sweeps), pixels, flow)


def flow_to_middle(labels: np.ndarray, depth: np.ndarray | None = None, sweeps: int = SWEEPS) -> np.ndarray:
    """Unit vectors that lead from every pixel of an object to its middle, after Cellpose (Stringer et al. 2021).

    Heat flows from the middle and is lost at the object's border; the flow is its gradient. Heat that starts at 0 and is
    averaged with what it has around it stays below that average, so that it has no peak but the middle: no way ends elsewhere,
    however bent the object is. At its border the flow points inwards, and so away from an object that touches. A label in
    several pieces has a middle in each. Heat is mirrored at the image's border and at unlabelled pixels: the middle is that of
    what can be seen.

    Args:
        labels: (y, x) integers, 0 in the background, < 0 where nobody said.
        depth: as `depth_in_objects` gives it; made where it is missing.
        sweeps: of Gauss-Seidel, there and back.

    Returns:
        (2, y, x) float32, (y, x) components; 0 outside objects and in the middle.
    """
    labels = np.ascontiguousarray(labels)
    flow = np.zeros((2, *labels.shape), np.float32)
    _flow(labels, depth_in_objects(labels) if depth is None else depth, sweeps, flow)
    return flow
