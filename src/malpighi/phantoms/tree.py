"""VesselTree: nodes and branches of a vasculature, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True)
class VesselTree:
    """Trees of vessels as arrays. Positions are µm, (z, y, x), voxel i covering [i, i + 1) · spacing.

    Attributes:
        nodes: (m, 3) bifurcations, roots and tips.
        ends: (b, 2) node where each branch begins (towards the root) and where it ends.
        points: (n, 3) centre lines, branch after branch, both nodes included; straight between points.
        radii: (n,) at the points; linear between them. Each branch tapers a little around its `radius`.
        offsets: (b + 1,) branch k has the points offsets[k] to offsets[k + 1].
        radius: (b,) of each branch: r₀³ = r₁³ + r₂³ where branch 0 parts into 1 and 2.
        generation: (b,) bifurcations between the root and the branch.
        tree: (b,) which tree the branch belongs to.
        parent: (b,) the branch it came from, -1 at a root. Parents come before their children.
    """

    nodes: np.ndarray
    ends: np.ndarray
    points: np.ndarray
    radii: np.ndarray
    offsets: np.ndarray
    radius: np.ndarray
    generation: np.ndarray
    tree: np.ndarray
    parent: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def line(self, branch: int) -> np.ndarray:
        """(k, 3) centre line of a branch."""
        return np.asarray(self.points[self.offsets[branch] : self.offsets[branch + 1]])

    @cached_property
    def segments(self) -> np.ndarray:
        """(s,) index of the point with which each straight piece begins; it ends with the next."""
        inner = np.ones(len(self.points), bool)
        inner[self.offsets[1:] - 1] = False
        return np.flatnonzero(inner)

    @cached_property
    def segment_branch(self) -> np.ndarray:
        """(s,) branch of each straight piece."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets) - 1)

    @cached_property
    def length(self) -> np.ndarray:
        """(b,) along the centre line, µm."""
        return self._sum(self._pieces)

    @cached_property
    def volume(self) -> np.ndarray:
        """(b,) of the cone frusta of each branch, µm³: what overlaps at nodes counts twice, round ends do not count."""
        r0, r1 = self.radii[self.segments], self.radii[self.segments + 1]
        return self._sum(np.pi / 3 * (r0 * r0 + r0 * r1 + r1 * r1) * self._pieces)

    @cached_property
    def tortuosity(self) -> np.ndarray:
        """(b,) length over the straight distance of both ends."""
        chord = self.nodes[self.ends[:, 1]] - self.nodes[self.ends[:, 0]]
        return np.asarray(self.length / np.linalg.norm(chord, axis=1))

    @property
    def total_length(self) -> float:
        """Of all branches, µm."""
        return float(self.length.sum())

    @property
    def bifurcations(self) -> list[tuple[int, tuple[int, ...]]]:
        """(branch, the branches it parts into) for all that do not end."""
        children: dict[int, list[int]] = {}
        for branch, parent in enumerate(self.parent.tolist()):
            if parent >= 0:
                children.setdefault(parent, []).append(branch)
        return [(branch, tuple(found)) for branch, found in children.items()]

    def to_networkx(self) -> Any:
        """An undirected `networkx.Graph`: nodes with `position` (µm), edges with length, radius, generation, tree, points."""
        import networkx

        graph = networkx.Graph()
        for index, position in enumerate(self.nodes):
            graph.add_node(index, position=tuple(position.tolist()))
        for k, (a, b) in enumerate(self.ends.tolist()):
            facts = {"length": float(self.length[k]), "radius": float(self.radius[k])}
            facts |= {"generation": int(self.generation[k]), "tree": int(self.tree[k])}
            graph.add_edge(a, b, **facts, points=self.line(k))
        return graph

    @cached_property
    def _pieces(self) -> np.ndarray:
        return np.asarray(np.linalg.norm(self.points[self.segments + 1] - self.points[self.segments], axis=1))

    def _sum(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.segment_branch, values, len(self))
