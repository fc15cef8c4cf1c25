"""The organ that vessels fill: its outline, how deep a place lies, and the trees grown in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from malpighi.phantoms.course import push_apart, spline, wind
from malpighi.phantoms.growth import grow
from malpighi.phantoms.tree import VesselTree

POWER = 3.0  # of the outline |z|ᵖ + |y|ᵖ + |x|ᵖ < 1: between an ellipsoid (2) and a box
FILL = 0.96  # half the volume's sides that the organ takes
TAPER = 0.05  # a branch begins this much thicker than its radius, and ends this much thinner
SCATTER = 0.35  # of the radii of tips: from 1 to 1 + this
TRIES = 60  # places tried for each terminal at most


@dataclass(frozen=True)
class Organ:
    """A rounded body with a hilum on its x = 0 side where vessels enter. Lengths are µm.

    Attributes:
        size: of the volume it lies in.
        seed: of all that is random here.
        trees: how many vessels enter.
        smallest: radius of the thinnest tips.
        terminals: tips of each tree.
        tortuosity: how far branches leave the straight line, in their lengths.
    """

    size: tuple[float, float, float]
    seed: int
    trees: int
    smallest: float
    terminals: int
    tortuosity: float

    def depth(self, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """0 at the surface, 1 in the middle, negative outside; positions in µm, which broadcast."""
        half = [n / 2 for n in self.size]
        total = sum((np.abs(v - h) / (FILL * h)) ** POWER for v, h in zip((z, y, x), half, strict=True))
        return np.asarray(1 - total ** (1 / POWER))

    @cached_property
    def vessels(self) -> VesselTree:
        """The trees, grown once."""
        rng = np.random.default_rng([self.seed, 1])
        grown = [self._grow(number, rng) for number in range(self.trees)]
        return _build(grown, self.smallest, self.tortuosity, rng)

    @property
    def volume(self) -> float:
        """Of the organ, roughly, µm³."""
        return 0.75 * float(np.prod(self.size))

    def _grow(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions, parents and radii of one tree's nodes."""
        flows = (self.smallest * (1 + SCATTER * rng.random(self.terminals))) ** 3
        places = self._places(TRIES * self.terminals, rng)
        angle = 2 * np.pi * (number / max(1, self.trees)) + rng.uniform(0, 1)
        spread = 0.0 if self.trees == 1 else 0.3
        half = np.array(self.size) / 2
        root = half * (1 + spread * np.array([np.sin(angle), np.cos(angle), 0])) * np.array([1, 1, 0])
        inner = half + 0.3 * half * np.array([rng.normal(), rng.normal(), 0])  # the first terminal: the stem runs inwards
        position, parent, flow = grow(np.concatenate([inner[None], places]), flows, root, self.volume)
        return position, parent, np.cbrt(flow)

    def _places(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(about `count`, 3) places in the organ, twice as dense in the cortex."""
        places = rng.random((2 * count, 3)) * np.array(self.size)
        depth = self.depth(*places.T)
        kept = (depth > 0.04) & (rng.random(2 * count) < np.where(depth < 0.4, 1, 0.5))
        return places[kept][:count]


def _build(
    grown: list[tuple[np.ndarray, np.ndarray, np.ndarray]], smallest: float, tortuosity: float, rng: np.random.Generator
) -> VesselTree:
    """Centre lines and tables of trees that are nodes so far."""
    before = np.cumsum([0, *(len(p) for p, _, _ in grown)])
    nodes = np.concatenate([p for p, _, _ in grown])
    parent = np.concatenate([np.where(q >= 0, q + b, -1) for (_, q, _), b in zip(grown, before, strict=False)])
    radius = np.concatenate([r for _, _, r in grown])
    tree = np.repeat(np.arange(len(grown)), np.diff(before))
    points, path = wind(nodes, parent, radius, tortuosity, rng)
    _separate(points, path, nodes, parent, radius, smallest)
    return _table(points[: len(nodes)], points, path, parent, radius, tree)


def _separate(
    points: np.ndarray, path: np.ndarray, nodes: np.ndarray, parent: np.ndarray, radius: np.ndarray, smallest: float
) -> None:
    ends = np.stack([parent, np.arange(len(parent))], 1)
    branch = np.zeros(len(points), np.int64)
    branch[: len(nodes)] = np.arange(len(nodes))
    stops = np.flatnonzero(path < 0)
    for start, stop in zip([0, *(stops[:-1] + 1)], stops, strict=True):
        branch[path[start + 1 : stop - 1]] = path[stop - 1]
    thick = radius.copy()
    thick[parent < 0] = smallest
    fixed = np.zeros(len(points), bool)
    fixed[: len(nodes)] = parent < 0
    cell = max(4 * smallest, float(np.ptp(points, axis=0).max()) / 96)
    push_apart(points, path, ends, thick[branch], branch, fixed, 1.5 * smallest, cell)


def _table(
    nodes: np.ndarray, points: np.ndarray, path: np.ndarray, parent: np.ndarray, radius: np.ndarray, tree: np.ndarray
) -> VesselTree:
    """Branches in the order of their generation."""
    generation = np.full(len(nodes), -1)  # as it stays for roots: the stem is 0
    for node in range(len(nodes)):  # a node's parent may have been made after it
        way = [node]
        while parent[way[-1]] >= 0 and generation[way[-1]] < 0:
            way.append(int(parent[way[-1]]))
        known = generation[way[-1]]
        for up, step in enumerate(reversed(way)):
            generation[step] = known + up
    stops = np.flatnonzero(path < 0)
    lines = {int(path[b - 1]): path[a:b] for a, b in zip([0, *(stops[:-1] + 1)], stops, strict=True)}
    order = sorted(lines, key=lambda i: (generation[i], i))
    drawn = [spline(points[lines[i]]) for i in order]
    number = {node: k for k, node in enumerate(order)}
    counts = [len(line) for line in drawn]
    swell = np.concatenate([np.linspace(1 + TAPER, 1 - TAPER, n) for n in counts])
    return VesselTree(
        nodes=nodes,
        ends=np.array([[parent[i], i] for i in order]),
        points=np.concatenate(drawn),
        radii=swell * np.repeat(radius[order], counts),
        offsets=np.cumsum([0, *counts]),
        radius=radius[order],
        generation=generation[order],
        tree=tree[order],
        parent=np.array([number.get(int(parent[i]), -1) for i in order]),
    )
