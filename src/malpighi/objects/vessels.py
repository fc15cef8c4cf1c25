"""What a vessel graph tells: lengths, radii, tortuosity, generations; as tables and as GraphML."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.geometry import Spacing
from malpighi.objects.graph import VesselGraph

if TYPE_CHECKING:
    import networkx
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class Measures:
    """Of every branch and node of a graph; lengths in the unit of its spacing.

    Attributes:
        length: (branch,) along the smoothed centre line.
        span: (branch,) straight distance of the two end nodes.
        tortuosity: (branch,) length / span; NaN for loops.
        mean_radius, min_radius, max_radius: (branch,) along the line where it lies outside the balls of its two end nodes, so
            that a side branch is not given the radius of the vessel it leaves; all along it where nothing lies outside.
        generation: (branch,) junctions between the branch and the root of its component.
        strahler: (branch,) Strahler's order: 1 for the last branches; where two of the highest order meet, one more. Of a loop the
            branch that closes it (seen from the root) has the lower order of its two ends and counts for nothing else.
        component: (branch,) number of its piece, 0 is the longest.
        node_component: (node,)
        degree: (node,) branches that end there; a loop ends twice.
        root: (component,) node: the free end of the thickest end branch; without free ends the widest node.
    """

    length: np.ndarray
    span: np.ndarray
    tortuosity: np.ndarray
    mean_radius: np.ndarray
    min_radius: np.ndarray
    max_radius: np.ndarray
    generation: np.ndarray
    strahler: np.ndarray
    component: np.ndarray
    node_component: np.ndarray
    degree: np.ndarray
    root: np.ndarray


def measure_graph(graph: VesselGraph) -> Measures:
    """Measure every branch; see `Measures`."""
    scale = np.array(graph.spacing.values)
    points = graph.points * scale
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    run = np.concatenate([[0.0], np.cumsum(steps)]) if len(points) else np.zeros(1)
    length = run[graph.offset[1:] - 1] - run[graph.offset[:-1]] if len(graph.ends) else np.empty(0)
    first, second = graph.position[graph.ends[:, 0]] * scale, graph.position[graph.ends[:, 1]] * scale
    span = np.linalg.norm(first - second, axis=1)
    loop = graph.ends[:, 0] == graph.ends[:, 1]
    tortuosity = np.divide(length, span, out=np.full(len(length), np.nan), where=~loop & (span > 0))
    radii = _radii(graph, points, scale)
    degree = np.bincount(graph.ends.ravel(), minlength=len(graph.position))
    node_component, component = _components(graph, length)
    root = _roots(graph, degree, node_component, radii[:, 0])
    generation, strahler = _orders(graph, root)
    mean, least, most = radii.T
    return Measures(length, span, tortuosity, mean, least, most, generation, strahler, component, node_component, degree, root)


def _radii(graph: VesselGraph, points: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Mean, smallest and largest radius of every branch, (branch, 3)."""
    branch = np.repeat(np.arange(len(graph.ends)), np.diff(graph.offset))
    outside = np.ones(len(points), bool)
    for side in (0, 1):
        node = graph.ends[branch, side]
        outside &= np.linalg.norm(points - graph.position[node] * scale, axis=1) > graph.node_radius[node]
    outside |= (np.bincount(branch, outside, len(graph.ends)) == 0)[branch]
    found = np.zeros((len(graph.ends), 3))
    starts = np.searchsorted(branch[outside], np.arange(len(graph.ends)))
    if len(found):
        radius = graph.point_radius[outside].astype(float)
        found[:, 0] = np.add.reduceat(radius, starts) / np.bincount(branch[outside], minlength=len(found))
        found[:, 1], found[:, 2] = np.minimum.reduceat(radius, starts), np.maximum.reduceat(radius, starts)
    return found


def _components(graph: VesselGraph, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Component of every node and branch, the longest first."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    n = len(graph.position)
    joined = csr_array((np.ones(len(graph.ends)), (graph.ends[:, 0], graph.ends[:, 1])), shape=(n, n))
    count, piece = connected_components(joined, directed=False) if n else (0, np.empty(0, np.int64))
    total = np.bincount(piece[graph.ends[:, 0]], length, count)
    rank = np.empty(count, np.int64)
    rank[np.argsort(-total, kind="stable")] = np.arange(count)
    return rank[piece], rank[piece[graph.ends[:, 0]]]


def _roots(graph: VesselGraph, degree: np.ndarray, component: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """The node that every component is counted from."""
    weight = graph.node_radius.astype(float)
    thickest = np.zeros(len(weight))
    for side in (0, 1):
        np.maximum.at(thickest, graph.ends[:, side], radius)
    weight = np.where(degree == 1, thickest + 1e6 * (weight.max(initial=0) + 1), weight)  # free ends before all others
    order = np.lexsort([-weight, component])
    return order[np.unique(component[order], return_index=True)[1]]


def _orders(graph: VesselGraph, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Generation and Strahler order of every branch, by a walk that goes outwards from the roots."""
    n, m = len(graph.position), len(graph.ends)
    at: list[list[int]] = [[] for _ in range(n)]
    for k, (a, b) in enumerate(graph.ends.tolist()):
        at[a].append(k)
        if a != b:
            at[b].append(k)
    depth = np.full(n, -1, np.int64)
    depth[root] = 0
    reached: list[tuple[int, int]] = []  # branch and the node it led to, in order
    waiting = deque(root.tolist())
    while waiting:
        node = waiting.popleft()
        for k in at[node]:
            a, b = graph.ends[k]
            other = int(b if a == node else a)
            if depth[other] < 0:
                depth[other] = depth[node] + 1
                reached.append((k, other))
                waiting.append(other)
    generation = np.minimum(depth[graph.ends[:, 0]], depth[graph.ends[:, 1]])
    strahler = np.zeros(m, np.int64)
    highest, ties = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for k, node in reversed(reached):
        order = max(1, int(highest[node]) + int(ties[node] > 1))
        strahler[k] = order
        a, b = graph.ends[k]
        base = int(b if a == node else a)
        if order > highest[base]:
            highest[base], ties[base] = order, 1
        elif order == highest[base]:
            ties[base] += 1
    of_node = np.maximum(1, highest + (ties > 1))
    closing = strahler == 0
    strahler[closing] = of_node[graph.ends[closing]].min(axis=1)
    return generation, strahler


def node_table(graph: VesselGraph, measures: Measures) -> pa.Table:
    """Columns: id, position (voxels, and µm where known), radius, degree, component, root."""
    import pyarrow as pa

    unit = unit_of(graph.spacing)
    columns: dict[str, Any] = {"id": np.arange(len(graph.position))} | _positions(graph, graph.position)
    columns |= {f"radius_{unit}": graph.node_radius, "degree": measures.degree, "component": measures.node_component}
    columns["root"] = np.isin(np.arange(len(graph.position)), measures.root)
    return pa.table(columns).replace_schema_metadata(_about(graph))


def branch_table(graph: VesselGraph, measures: Measures) -> pa.Table:
    """Columns: id, both nodes, what `Measures` holds, and the number of points of the centre line."""
    import pyarrow as pa

    unit = unit_of(graph.spacing)
    columns: dict[str, Any] = {"id": np.arange(len(graph.ends)), "node_a": graph.ends[:, 0], "node_b": graph.ends[:, 1]}
    for name in ("length", "span", "mean_radius", "min_radius", "max_radius"):
        columns[f"{name}_{unit}"] = getattr(measures, name)
    for name in ("tortuosity", "generation", "strahler", "component"):
        columns[name] = getattr(measures, name)
    columns["points"] = np.diff(graph.offset)
    return pa.table(columns).replace_schema_metadata(_about(graph))


def point_table(graph: VesselGraph) -> pa.Table:
    """The centre lines, point by point: branch, place in it, position, radius."""
    import pyarrow as pa

    count = np.diff(graph.offset)
    columns: dict[str, Any] = {
        "branch": np.repeat(np.arange(len(count)), count),
        "place": np.arange(len(graph.points)) - np.repeat(graph.offset[:-1], count),
    }
    columns |= _positions(graph, graph.points) | {f"radius_{unit_of(graph.spacing)}": graph.point_radius}
    return pa.table(columns).replace_schema_metadata(_about(graph))


def to_networkx(graph: VesselGraph, measures: Measures) -> networkx.MultiGraph:
    """Nodes and branches with the columns of their tables as attributes; parallel branches and loops are kept."""
    import networkx

    net = networkx.MultiGraph()
    for row in node_table(graph, measures).to_pylist():
        net.add_node(row.pop("id"), **row)
    for row in branch_table(graph, measures).to_pylist():
        a, b = row.pop("node_a"), row.pop("node_b")
        if row["tortuosity"] != row["tortuosity"]:
            del row["tortuosity"]  # NaN is read by few
        net.add_edge(a, b, key=row["id"], weight=row[f"length_{unit_of(graph.spacing)}"], **row)
    return net


def write_graphml(path: Path, graph: VesselGraph, measures: Measures) -> None:
    """Write the graph for networkx, Gephi, igraph or Cytoscape."""
    import networkx

    networkx.write_graphml_xml(to_networkx(graph, measures), path)


def unit_of(spacing: Spacing) -> str:
    """The unit as column names have it."""
    return "um" if spacing.physical else "px"


def _positions(graph: VesselGraph, points: np.ndarray) -> dict[str, np.ndarray]:
    axes = [(1, "y"), (2, "x")] if graph.flat else [(0, "z"), (1, "y"), (2, "x")]
    found = {f"{name}_px": points[:, axis] for axis, name in axes}
    if graph.spacing.physical:
        found |= {f"{name}_um": points[:, axis] * graph.spacing.values[axis] for axis, name in axes}
    return found


def _about(graph: VesselGraph) -> dict[str, str]:
    from importlib.metadata import version

    values = graph.spacing.values[1:] if graph.flat else graph.spacing.values
    return {"malpighi": version("malpighi"), "spacing": " ".join(f"{v:g}" for v in values), "spacing_unit": graph.spacing.unit}
