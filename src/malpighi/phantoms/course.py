"""The course of vessels between bifurcations: winding, and out of one another's way."""

from __future__ import annotations

import numpy as np
from numba import njit

SWEEPS = 32  # of pushing vessels apart at most
ENOUGH = 0.002  # of the points still too close: those that have no way out


def wind(
    nodes: np.ndarray, parent: np.ndarray, radius: np.ndarray, strength: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Centre lines that leave the straight way between nodes by sines of random amplitude, both ends kept.

    Args:
        nodes: (m, 3), µm; parent: (m,), -1 for roots; radius: (m,) of the segment that ends in each node.
        strength: standard deviation of the first sine, in lengths of the branch.

    Returns:
        points (n, 3): the nodes, then what lies between them; path (k,): for one branch after the other the indices of
        its points from its parent's node to its own, each path closed by -1.
    """
    points, paths, used = [nodes], [], len(nodes)
    for i in np.flatnonzero(parent >= 0):
        a, b = nodes[parent[i]], nodes[i]
        length = float(np.linalg.norm(b - a))
        count = int(np.clip(np.ceil(length / max(radius[i], 1e-9)), 5, 48))
        t = np.arange(1, count)[:, None] / count
        side = _across((b - a) / max(length, 1e-9))
        waves = sum(np.sin(k * np.pi * t) * (rng.standard_normal(2) / k) for k in (1, 2, 3))
        points.append(a + t * (b - a) + strength * length * waves @ side)
        paths.append(np.concatenate([[parent[i]], used + np.arange(count - 1), [i], [-1]]))
        used += count - 1
    return np.concatenate(points), np.concatenate(paths)


def _across(direction: np.ndarray) -> np.ndarray:
    """Two unit vectors (2, 3) across `direction`."""
    helper = np.eye(3)[np.argmin(np.abs(direction))]
    one = np.cross(direction, helper)
    one /= np.linalg.norm(one)
    return np.stack([one, np.cross(direction, one)])


def push_apart(
    points: np.ndarray,
    path: np.ndarray,
    ends: np.ndarray,
    radius: np.ndarray,
    branch: np.ndarray,
    fixed: np.ndarray,
    gap: float,
    cell: float,
) -> int:
    """Move points, in place, so that branches that do not meet in a node keep `gap` between their walls.

    Args:
        points: (n, 3) µm; path: as `wind` gives it; ends: (m, 2) nodes of the branch that ends in each node.
        radius: (n,) µm; branch: (n,) the node in which the branch of each point ends; fixed: (n,) whether it stays.
        cell: side of the search grid's cells, µm.

    Returns:
        Pairs of points that were still too close when it began its last sweep.
    """
    clashes = 0
    for _ in range(SWEEPS):
        home = ((points - points.min(0)) / cell).astype(np.int64)
        shape = home.max(0) + 1
        flat = np.ravel_multi_index(tuple(home.T), tuple(shape))
        order = np.argsort(flat, kind="stable")
        first = np.searchsorted(flat[order], np.arange(np.prod(shape) + 1))
        move = np.zeros_like(points)
        clashes = int(_clash(points, home, shape, order, first, ends, branch, radius, gap, cell, move))
        if clashes <= ENOUGH * len(points):
            break
        for _ in range(3):
            _smooth(move, path)
        points[~fixed] += move[~fixed]
    return clashes


@njit(cache=True)
def _clash(
    points: np.ndarray,
    home: np.ndarray,
    shape: np.ndarray,
    order: np.ndarray,
    first: np.ndarray,
    ends: np.ndarray,
    branch: np.ndarray,
    radius: np.ndarray,
    gap: float,
    cell: float,
    move: np.ndarray,
) -> int:
    clashes = 0
    for i in range(len(points)):
        reach = int((2 * radius[i] + gap) / cell) + 1
        for z in range(max(0, home[i, 0] - reach), min(shape[0], home[i, 0] + reach + 1)):
            for y in range(max(0, home[i, 1] - reach), min(shape[1], home[i, 1] + reach + 1)):
                row = (z * shape[1] + y) * shape[2]
                x0, x1 = max(0, home[i, 2] - reach), min(shape[2], home[i, 2] + reach + 1)
                for k in range(first[row + x0], first[row + x1]):
                    j = order[k]
                    if radius[j] < radius[i] or (radius[j] == radius[i] and j > i):  # the thicker looks for the thinner
                        clashes += _push(points, ends[branch[i]], ends[branch[j]], i, j, radius, gap, move)
    return clashes


@njit(cache=True)
def _push(
    points: np.ndarray,
    one: np.ndarray,
    other: np.ndarray,
    i: int,
    j: int,
    radius: np.ndarray,
    gap: float,
    move: np.ndarray,
) -> int:
    """How far the two points should move, kept where it is the farthest yet; 1 where they are too close."""
    if one[0] == other[0] or one[0] == other[1] or one[1] == other[0] or one[1] == other[1]:
        return 0
    distance = 0.0
    for d in range(3):
        distance += (points[j, d] - points[i, d]) ** 2
    distance = np.sqrt(distance)
    missing = radius[i] + radius[j] + gap - distance
    if missing <= 0:
        return 0
    share = radius[j] / (radius[i] + radius[j])
    for d in range(3):
        push = missing * (points[j, d] - points[i, d]) / (distance + 1e-9)
        if abs(push * (1 - share)) > abs(move[j, d]):
            move[j, d] = push * (1 - share)
        if abs(push * share) > abs(move[i, d]):
            move[i, d] = -push * share
    return 1


@njit(cache=True)
def _smooth(move: np.ndarray, path: np.ndarray) -> None:
    for k in range(1, len(path) - 1):
        a, i, b = path[k - 1], path[k], path[k + 1]
        if a >= 0 and i >= 0 and b >= 0:
            for d in range(3):
                move[i, d] = 0.25 * move[a, d] + 0.5 * move[i, d] + 0.25 * move[b, d]


def spline(points: np.ndarray, parts: int = 3) -> np.ndarray:
    """A smooth line (n, 3) through `points`, `parts` pieces for each of their intervals (centripetal in effect: even steps).

    Cubic Hermite with the tangents of Catmull and Rom (1974).
    """
    padded = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    slope = (padded[2:] - padded[:-2]) / 2
    t = (np.arange(parts) / parts)[None, :, None]
    p0, p1, m0, m1 = points[:-1, None], points[1:, None], slope[:-1, None], slope[1:, None]
    line = (1 + 2 * t) * (1 - t) ** 2 * p0 + t * (1 - t) ** 2 * m0 + t * t * (3 - 2 * t) * p1 + t * t * (t - 1) * m1
    return np.concatenate([line.reshape(-1, 3), points[-1:]])
