"""How a vessel tree grows: terminals join one by one where they add least volume, at Murray's angles.

Constrained constructive optimisation (Schreiner & Buxbaum 1993; Karch et al. 1999), simplified: a terminal tries the
segments nearest to it; each would be split at the point that makes Σ r² · length least, radii being Murray's
(r₀³ = r₁³ + r₂³); the cheapest split, all segments up to the root counted, is made. The point is the weighted Fermat point
of its three neighbours, and there the angles are those of minimum work: cos θ₁ = (r₀⁴ + r₁⁴ − r₂⁴) / (2 r₀² r₁²)
(Murray 1926; Zamir 1976).
"""

from __future__ import annotations

import numpy as np
from numba import njit

NEAREST = 12  # segments that a terminal tries
ROOM = 1.5  # a segment is at least so many radii of its parent long when it is made: else it would drown in it


def grow(
    candidates: np.ndarray, flows: np.ndarray, root: np.ndarray, volume: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grow one tree.

    Args:
        candidates: (n, 3) float64 places for terminals in the order in which they are tried, µm; far more than are used.
        flows: (k,) r³ of the k terminals wanted, µm³.
        root: (3,) where the tree begins.
        volume: of what the tree is to fill, µm³: sets how far apart terminals begin.

    Returns:
        positions (m, 3) of the nodes, the root first; parent (m,) of each node, -1 for the root; flow (m,), the r³ of the
        segment that ends in each node.
    """
    position, parent, flow = _grow(np.ascontiguousarray(candidates), flows, root, volume)
    return position, parent, flow


@njit(cache=True)
def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return np.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2)


@njit(cache=True)
def _to_segment(p: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    along = 0.0
    length = 0.0
    for d in range(3):
        along += (p[d] - a[d]) * (b[d] - a[d])
        length += (b[d] - a[d]) ** 2
    t = min(1.0, max(0.0, along / length)) if length > 0 else 0.0
    total = 0.0
    for d in range(3):
        total += (p[d] - a[d] - t * (b[d] - a[d])) ** 2
    return np.sqrt(total)


@njit(cache=True)
def _fermat(a: np.ndarray, b: np.ndarray, c: np.ndarray, wa: float, wb: float, wc: float, out: np.ndarray) -> None:
    """The point with the least wa·|pa| + wb·|pb| + wc·|pc|, by Weiszfeld's steps."""
    total = wa + wb + wc
    for d in range(3):
        out[d] = (wa * a[d] + wb * b[d] + wc * c[d]) / total
    for _ in range(24):
        ka = wa / (_distance(out, a) + 1e-9)
        kb = wb / (_distance(out, b) + 1e-9)
        kc = wc / (_distance(out, c) + 1e-9)
        for d in range(3):
            out[d] = (ka * a[d] + kb * b[d] + kc * c[d]) / (ka + kb + kc)


@njit(cache=True)
def _has_room(p: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray, r0: float) -> bool:
    least = ROOM * r0
    return _distance(p, a) >= least and _distance(p, b) >= least and _distance(p, c) >= least


@njit(cache=True)
def _best_split(
    p: np.ndarray,
    q: float,
    position: np.ndarray,
    parent: np.ndarray,
    flow: np.ndarray,
    near: np.ndarray,
    point: np.ndarray,
    best_point: np.ndarray,
) -> int:
    """The segment, of those in `near`, that takes a terminal at `p` at the least cost; -1 where none has room."""
    best = -1
    least = np.inf
    for k in range(len(near)):
        i = near[k]
        if i < 1:
            continue
        up = parent[i]
        thick, thin, new = (flow[i] + q) ** (2 / 3), flow[i] ** (2 / 3), q ** (2 / 3)
        _fermat(position[up], position[i], p, thick, thin, new, point)
        if not _has_room(point, position[up], position[i], p, (flow[i] + q) ** (1 / 3)):
            continue
        cost = thick * _distance(point, position[up]) + thin * _distance(point, position[i]) + new * _distance(point, p)
        cost -= thin * _distance(position[up], position[i])
        j = up
        while j > 0:
            cost += ((flow[j] + q) ** (2 / 3) - flow[j] ** (2 / 3)) * _distance(position[j], position[parent[j]])
            j = parent[j]
        if cost < least:
            least = cost
            best = i
            best_point[:] = point
    return best


@njit(cache=True)
def _nearest(p: np.ndarray, position: np.ndarray, parent: np.ndarray, n: int, near: np.ndarray, far: np.ndarray) -> float:
    """Fill `near` with the segments nearest to `p`, nearest first; the least distance."""
    near[:] = -1
    far[:] = np.inf
    for i in range(1, n):
        d = _to_segment(p, position[parent[i]], position[i])
        if d < far[-1]:
            k = len(near) - 1
            while k > 0 and far[k - 1] > d:
                far[k], near[k] = far[k - 1], near[k - 1]
                k -= 1
            far[k], near[k] = d, i
    return far[0]


@njit(cache=True)
def _relax(position: np.ndarray, parent: np.ndarray, kids: np.ndarray, flow: np.ndarray, n: int, point: np.ndarray) -> None:
    """Move every bifurcation towards the best place between its neighbours, many times."""
    for _ in range(30):
        for i in range(1, n):
            a, b = kids[i, 0], kids[i, 1]
            if a < 0:
                continue
            up = parent[i]
            wa, wb, wc = flow[i] ** (2 / 3), flow[a] ** (2 / 3), flow[b] ** (2 / 3)
            _fermat(position[up], position[a], position[b], wa, wb, wc, point)
            for d in range(3):
                point[d] = 0.4 * position[i, d] + 0.6 * point[d]
            if _has_room(point, position[up], position[a], position[b], flow[i] ** (1 / 3)):
                position[i] = point


@njit(cache=True)
def _grow(
    candidates: np.ndarray, flows: np.ndarray, root: np.ndarray, volume: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    wanted = len(flows)
    position = np.empty((2 * wanted + 1, 3))
    parent = np.full(2 * wanted + 1, -1)
    kids = np.full((2 * wanted + 1, 2), -1)
    flow = np.zeros(2 * wanted + 1)
    near, far = np.empty(NEAREST, np.int64), np.empty(NEAREST)
    point, best_point = np.empty(3), np.empty(3)
    position[0] = root
    position[1] = candidates[0]
    parent[1], kids[0, 0], flow[1] = 0, 1, flows[0]
    n, done, failed, spread = 2, 1, 0, 0.9
    due = 16  # terminals at which all bifurcations move to better places next
    for c in range(1, len(candidates)):
        if done == wanted:
            break
        p, q = candidates[c], flows[done]
        best = -1
        if _nearest(p, position, parent, n, near, far) >= spread * (volume / (done + 1)) ** (1 / 3):
            best = _best_split(p, q, position, parent, flow, near, point, best_point)
        if best < 0:
            failed += 1
            if failed == 8:
                spread *= 0.95
                failed = 0
            continue
        up = parent[best]
        middle, tip = n, n + 1
        position[middle], position[tip] = best_point, p
        parent[middle], parent[tip], parent[best] = up, middle, middle
        kids[middle, 0], kids[middle, 1] = best, tip
        kids[up, 0 if kids[up, 0] == best else 1] = middle
        flow[middle], flow[tip] = flow[best], q
        j = middle
        while j > 0:
            flow[j] += q
            j = parent[j]
        n += 2
        done += 1
        if done >= due:
            _relax(position, parent, kids, flow, n, point)
            due += due // 2
        failed = 0
        spread = min(0.9, spread * 1.02)
    _relax(position, parent, kids, flow, n, point)
    return position[:n], parent[:n], flow[:n]
