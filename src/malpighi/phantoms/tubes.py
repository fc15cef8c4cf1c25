"""Vessels drawn box by box: exact distances to round cones, found through a grid of buckets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from malpighi.geometry import Box
from malpighi.phantoms.tree import VesselTree

MARGIN = 1.0
"""Voxels beyond the wall up to which distances are known; further away they are this."""


@dataclass(frozen=True)
class Tubes:
    """The straight pieces of a vessel tree, each a round cone, and where to look for them.

    Attributes:
        cones: (s, 8): z, y, x, radius of both ends, µm.
        tree: (s,) which tree each belongs to.
        spacing: µm per voxel (z, y, x).
        buckets: first (g + 1,) and members: the cones that may reach into each bucket of `side` µm, `grid` of them by axis.
    """

    cones: np.ndarray
    tree: np.ndarray
    spacing: tuple[float, ...]
    side: float
    grid: tuple[int, ...]
    first: np.ndarray
    members: np.ndarray

    @classmethod
    def of(cls, vessels: VesselTree, spacing: tuple[float, ...], size: tuple[float, ...], branches: np.ndarray) -> Tubes:
        """The cones of the `branches` (b,) bool of a tree in a volume of `size` µm."""
        pieces = vessels.segments[branches[vessels.segment_branch]]
        ends = np.concatenate([vessels.points, vessels.radii[:, None]], 1)
        cones = np.concatenate([ends[pieces], ends[pieces + 1]], 1)
        tree = vessels.tree[vessels.segment_branch][branches[vessels.segment_branch]]
        side = max(max(size) / 64, 4 * max(spacing))
        grid = tuple(int(n / side) + 1 for n in size)
        reach = MARGIN * max(spacing)
        low = np.minimum(cones[:, :3] - cones[:, 3:4], cones[:, 4:7] - cones[:, 7:]) - reach
        high = np.maximum(cones[:, :3] + cones[:, 3:4], cones[:, 4:7] + cones[:, 7:]) + reach
        top = np.array(grid) - 1
        a, b = (np.clip(np.floor(v / side).astype(np.int64), 0, top) for v in (low, high))
        first, members = _fill_buckets(a, b, np.array(grid))
        return cls(cones, tree, spacing, side, grid, first, members)

    def near(self, box: Box) -> np.ndarray:
        """Indices, ascending, of the cones that may reach into `box` (voxels)."""
        margin = MARGIN + 0.5
        low = [int((a - margin) * s / self.side) for a, s in zip(box.start, self.spacing, strict=True)]
        high = [int((b + margin) * s / self.side) for b, s in zip(box.stop, self.spacing, strict=True)]
        spans = [range(min(max(a, 0), g - 1), min(max(b, 0), g - 1) + 1) for a, b, g in zip(low, high, self.grid, strict=True)]
        found = [
            self.members[self.first[k] : self.first[k + 1]]
            for z in spans[0]
            for y in spans[1]
            for k in ((z * self.grid[1] + y) * self.grid[2] + x for x in spans[2])
        ]
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)

    def draw(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """How deep voxel centres lie in a vessel.

        Returns:
            (z, y, x) float32 depth below the nearest wall in units of the smallest voxel side, -`MARGIN` or less
            outside; (z, y, x) uint8 tree of the vessel whose depth it is.
        """
        depth = np.full(box.size, -MARGIN, np.float32)
        tree = np.zeros(box.size, np.uint8)
        near = self.near(box)
        start, spacing = np.array(box.start), np.array(self.spacing)
        _draw(self.cones[near], self.tree[near], start, spacing, min(self.spacing), depth, tree)
        return depth, tree


@njit(cache=True)
def _fill_buckets(low: np.ndarray, high: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counting sort of all (cone, bucket) pairs by bucket."""
    first = np.zeros(grid[0] * grid[1] * grid[2] + 1, np.int64)
    members = np.empty(0, np.int64)
    at = first.copy()
    for turn in range(2):
        for i in range(len(low)):
            for z in range(low[i, 0], high[i, 0] + 1):
                for y in range(low[i, 1], high[i, 1] + 1):
                    for x in range(low[i, 2], high[i, 2] + 1):
                        k = (z * grid[1] + y) * grid[2] + x
                        if turn == 0:
                            first[k + 1] += 1
                        else:
                            members[at[k]] = i
                            at[k] += 1
        if turn == 0:
            first = np.cumsum(first)
            at = first.copy()
            members = np.empty(first[-1], np.int64)
    return first, members


@njit(cache=True)
def _inside_cone(p: tuple[float, float, float], cone: np.ndarray) -> float:
    """Depth below the surface of a round cone, negative outside: the convex hull of two balls (I. Quilez, sdRoundCone)."""
    r1, r2 = cone[3], cone[7]
    bz, by, bx = cone[4] - cone[0], cone[5] - cone[1], cone[6] - cone[2]
    pz, py, px = p[0] - cone[0], p[1] - cone[1], p[2] - cone[2]
    l2 = bz * bz + by * by + bx * bx
    rr = r1 - r2
    a2 = l2 - rr * rr
    pp = pz * pz + py * py + px * px
    if a2 <= 0:  # one ball holds the other
        if r1 >= r2:
            return float(r1 - np.sqrt(pp))
        return float(r2 - np.sqrt((pz - bz) ** 2 + (py - by) ** 2 + (px - bx) ** 2))
    y = pz * bz + py * by + px * bx
    z = y - l2
    x2 = max(0.0, pp * l2 * l2 - y * y * l2)
    y2, z2 = y * y * l2, z * z * l2
    k = np.sign(rr) * rr * rr * x2
    if np.sign(z) * a2 * z2 > k:
        return float(r2 - np.sqrt(x2 + z2) / l2)
    if np.sign(y) * a2 * y2 < k:
        return float(r1 - np.sqrt(x2 + y2) / l2)
    return float(r1 - (np.sqrt(x2 * a2 / l2) + y * rr) / l2)


@njit(cache=True, nogil=True)
def _draw(
    cones: np.ndarray,
    trees: np.ndarray,
    start: np.ndarray,
    spacing: np.ndarray,
    unit: float,
    depth: np.ndarray,
    tree: np.ndarray,
) -> None:
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for i in range(len(cones)):
        c = cones[i]
        for d in range(3):
            a = min(c[d] - c[3], c[4 + d] - c[7]) - MARGIN * unit
            b = max(c[d] + c[3], c[4 + d] + c[7]) + MARGIN * unit
            low[d] = max(0, int(np.floor(a / spacing[d] - 0.5)) - start[d])
            high[d] = min(depth.shape[d], int(np.ceil(b / spacing[d] - 0.5)) + 1 - start[d])
        for z in range(low[0], high[0]):
            for y in range(low[1], high[1]):
                for x in range(low[2], high[2]):
                    p = (
                        (start[0] + z + 0.5) * spacing[0],
                        (start[1] + y + 0.5) * spacing[1],
                        (start[2] + x + 0.5) * spacing[2],
                    )
                    deep = np.float32(_inside_cone(p, c) / unit)
                    if deep > depth[z, y, x]:
                        depth[z, y, x] = deep
                        tree[z, y, x] = trees[i]
