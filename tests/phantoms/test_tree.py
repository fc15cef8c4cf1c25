"""Vessel trees: Murray's law, lengths, generations."""

import numpy as np
import pytest

from malpighi.phantoms.growth import grow
from malpighi.phantoms.organ import Organ
from malpighi.phantoms.tree import VesselTree

ORGAN = Organ((2000.0, 3000.0, 3000.0), seed=4, trees=2, smallest=30.0, terminals=40, tortuosity=0.04)


def y_tree():
    """One stem of 30 µm that parts into two branches of 50 µm."""
    nodes = np.array([[0, 0, 0], [0, 0, 30], [0, 30, 70], [0, -30, 70.0]])
    ends = np.array([[0, 1], [1, 2], [1, 3]])
    return VesselTree(
        nodes=nodes,
        ends=ends,
        points=nodes[ends.ravel()],
        radii=np.array([2.0, 2, 1, 1, 1, 1]),
        offsets=np.array([0, 2, 4, 6]),
        radius=np.array([2.0, 1, 1]),
        generation=np.array([0, 1, 1]),
        tree=np.zeros(3, int),
        parent=np.array([-1, 0, 0]),
    )


def test_lengths_volumes_and_bifurcations_by_hand():
    tree = y_tree()
    np.testing.assert_allclose(tree.length, [30, 50, 50])
    np.testing.assert_allclose(tree.volume, np.pi * np.array([4 * 30, 50, 50]))
    np.testing.assert_allclose(tree.tortuosity, 1)
    assert tree.total_length == 130
    assert tree.bifurcations == [(0, (1, 2))]


def test_a_graph_of_networkx_says_the_same():
    graph = y_tree().to_networkx()
    assert sorted(graph.edges) == [(0, 1), (1, 2), (1, 3)]
    assert graph.edges[0, 1]["length"] == 30
    assert graph.edges[1, 2]["radius"] == 1
    assert graph.nodes[3]["position"] == (0, -30, 70)


def test_murrays_law_holds_at_every_bifurcation():
    tree = ORGAN.vessels
    parted = tree.bifurcations
    assert len(parted) == 2 * (40 - 1)
    for branch, children in parted:
        assert len(children) == 2
        assert tree.radius[branch] ** 3 == pytest.approx((tree.radius[list(children)] ** 3).sum())


def test_angles_are_those_of_least_work():
    """Where nothing is in the way, cos θ₁ = (r₀⁴ + r₁⁴ − r₂⁴) / (2 r₀² r₁²) (Zamir 1976)."""
    places = np.array([[0.0, 400, 1000], [0, -300, 900]])
    nodes, parent, flow = grow(places, np.array([8.0, 27.0]), np.zeros(3), 1e6)
    fork = int(np.flatnonzero(np.bincount(parent[parent >= 0]) == 2)[0])
    kids = np.flatnonzero(parent == fork)
    r0 = np.cbrt(flow[fork])
    stem = nodes[fork] - nodes[parent[fork]]
    for one, other in (kids, kids[::-1]):
        r1, r2 = np.cbrt(flow[one]), np.cbrt(flow[other])
        way = nodes[one] - nodes[fork]
        cosine = stem @ way / np.linalg.norm(stem) / np.linalg.norm(way)
        assert cosine == pytest.approx((r0**4 + r1**4 - r2**4) / (2 * r0**2 * r1**2), abs=5e-3)


def test_branches_meet_in_their_nodes_and_come_after_their_parents():
    tree = ORGAN.vessels
    for k, (a, b) in enumerate(tree.ends):
        np.testing.assert_allclose(tree.line(k)[[0, -1]], tree.nodes[[a, b]])
        up = tree.parent[k]
        assert up < k
        assert tree.generation[k] == (0 if up < 0 else tree.generation[up] + 1)
        assert up < 0 or (tree.ends[up, 1] == a and tree.tree[up] == tree.tree[k])
    assert (tree.tortuosity >= 1 - 1e-9).all()


def test_tips_reach_all_of_the_organ():
    """Every eighth of it holds tips of each tree."""
    tree = ORGAN.vessels
    tips = np.setdiff1d(tree.ends[:, 1], tree.ends[:, 0])
    assert len(tips) == 80
    eighth = (tree.nodes[tips] > np.array(ORGAN.size) / 2) @ [4, 2, 1]
    assert len(np.unique(eighth)) == 8
    assert (ORGAN.depth(*tree.nodes[tips].T) > -0.1).all()


def test_the_two_trees_seldom_touch():
    tree = ORGAN.vessels
    from scipy.spatial import cKDTree

    first = tree.segment_branch[np.searchsorted(tree.segments, np.arange(len(tree.points)), "right") - 1]
    which = tree.tree[first]
    a, b = (np.flatnonzero(which == k) for k in (0, 1))
    apart, near = cKDTree(tree.points[b]).query(tree.points[a])
    assert (apart < tree.radii[a] + tree.radii[b[near]]).mean() < 0.02
