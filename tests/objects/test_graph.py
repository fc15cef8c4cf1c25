import numpy as np
import pytest

from malpighi.errors import RecipeError
from malpighi.geometry import Spacing
from malpighi.objects.graph import VesselGraph, build_graph
from malpighi.objects.skeleton import skeletonise
from malpighi.objects.tracing import trace
from malpighi.objects.vessels import measure_graph
from objects.tubes import blocks, tube


def graph_of(mask: np.ndarray, spacing=(1.0, 1.0, 1.0), block: int | None = None, prune: float = 1.5) -> VesselGraph:
    flat = mask.ndim == 2
    scale = (1.0, *spacing) if flat else spacing
    return build_graph(skeletonise(blocks(mask, block), scale), Spacing.um(spacing), prune, flat)


def test_tracing_a_letter_t_by_hand():
    drawn = ["xxxxx", "..x..", "..x.."]
    voxels = np.array([(0, y, x) for y, row in enumerate(drawn) for x, sign in enumerate(row) if sign == "x"])
    traced = trace(voxels, (1, 3, 5))
    assert len(traced.ends) == 3
    assert traced.node.max() == 3


def test_a_ring_of_voxels_gets_one_node():
    voxels = np.array([(0, 0, 1), (0, 1, 0), (0, 1, 2), (0, 2, 1)])
    traced = trace(voxels, (1, 3, 3))
    assert traced.ends.tolist() == [[0, 0]]
    assert len(traced.path) == 5


@pytest.mark.parametrize("radius", [1.3, 2, 4, 6])
@pytest.mark.parametrize("seed", range(4))
def test_a_straight_tube_has_its_length_and_radius_at_any_angle(radius, seed):
    way = np.random.default_rng(seed).normal(size=3)
    way *= 26 / np.linalg.norm(way)
    centre = np.array([36.2, 35.9, 36.4])
    graph = graph_of(tube((72, 72, 72), [centre - way, centre + way], radius))
    measures = measure_graph(graph)
    assert len(graph.ends) == 1
    assert measures.length[0] == pytest.approx(52, rel=0.1)
    assert measures.mean_radius[0] == pytest.approx(radius, abs=max(0.5, 0.1 * radius))
    assert measures.tortuosity[0] == pytest.approx(1, abs=0.03)


def test_lengths_are_physical_where_voxels_are_not_cubes():
    spacing = (3.0, 1.0, 1.0)
    line = [(20, 15, 15), (70, 55, 60)]
    graph = graph_of(tube((30, 70, 75), line, 5, spacing), spacing)
    assert measure_graph(graph).length.sum() == pytest.approx(np.linalg.norm(np.subtract(*line)), rel=0.1)


def test_a_y_has_three_branches_of_known_lengths_radii_and_angles():
    fork, stem = np.array([45.0, 45, 40]), np.array([45.0, 45, 8])
    tips = fork + np.array([[0, 28, 28], [0, -20, 34.6]])
    shape = (90, 90, 90)
    mask = tube(shape, [stem, fork], 5) | tube(shape, [fork, tips[0]], 3) | tube(shape, [fork, tips[1]], 2)
    graph = graph_of(mask)
    measures = measure_graph(graph)
    by_radius = np.argsort(-measures.mean_radius)
    assert measures.length[by_radius] == pytest.approx([32, 39.6, 40], rel=0.1)
    assert measures.mean_radius[by_radius] == pytest.approx(
        [5, 3, 2], abs=0.6
    )  # the axis lies between four voxels: the worst case
    assert measures.generation[by_radius].tolist() == [0, 1, 1]
    assert measures.strahler[by_radius].tolist() == [2, 1, 1]
    assert graph.position[measures.root[0]] == pytest.approx(stem, abs=2)
    ways = [np.diff(graph.points[graph.line(k)][[6, -6]], axis=0)[0] for k in by_radius[1:]]
    cosine = abs(ways[0] @ ways[1]) / np.linalg.norm(ways[0]) / np.linalg.norm(ways[1])
    assert np.degrees(np.arccos(cosine)) == pytest.approx(75, abs=5)


@pytest.mark.parametrize("block", [None, 26])
def test_a_ring_is_one_loop_of_its_length(block):
    angle = np.linspace(0, 2 * np.pi, 60)
    ring = np.stack([20 + 0 * angle, 30 + 18 * np.cos(angle), 30 + 18 * np.sin(angle)], 1)
    graph = graph_of(tube((40, 60, 60), ring, 3), block=block)
    measures = measure_graph(graph)
    assert graph.ends.tolist() == [[0, 0]]
    assert measures.length[0] == pytest.approx(2 * np.pi * 18, rel=0.03)
    assert np.isnan(measures.tortuosity[0])


def test_a_spiral_has_its_length():
    angle = np.linspace(0, 4 * np.pi, 160)
    spiral = np.stack([8 + 14 * angle / (2 * np.pi), 35 + 20 * np.cos(angle), 35 + 20 * np.sin(angle)], 1)
    length = np.linalg.norm(np.diff(spiral, axis=0), axis=1).sum()
    measures = measure_graph(graph_of(tube((46, 70, 70), spiral, 3)))
    assert measures.length.sum() == pytest.approx(length, rel=0.05)
    assert measures.tortuosity[0] > 5


def test_a_bump_is_pruned_and_a_branch_is_not():
    shape = (40, 50, 80)
    stem = tube(shape, [(20, 20, 8), (20, 20, 72)], 5)
    bump, branch = tube(shape, [(20, 20, 40), (20, 25.5, 40)], 1.5), tube(shape, [(20, 20, 40), (20, 40, 40)], 1.5)
    assert len(graph_of(stem | bump).ends) == 1
    assert len(graph_of(stem | branch).ends) == 3
    assert len(graph_of(stem | branch, prune=6).ends) == 1


def test_blocks_give_the_graph_of_the_whole():
    shape = (80, 80, 80)
    mask = tube(shape, [(40, 40, 5), (40, 42, 40)], 5) | tube(shape, [(40, 42, 40), (60, 65, 70)], 3.5)
    mask |= tube(shape, [(40, 42, 40), (20, 20, 72)], 3) | tube(shape, [(60, 65, 70), (70, 30, 72)], 2)
    whole = measure_graph(graph_of(mask))
    parts = measure_graph(graph_of(mask, block=32))
    assert len(parts.length) == len(whole.length)
    assert np.sort(parts.length) == pytest.approx(np.sort(whole.length), abs=1)
    assert np.sort(parts.mean_radius) == pytest.approx(np.sort(whole.mean_radius), abs=0.1)


def test_pieces_are_numbered_by_length_and_a_speck_is_a_node():
    mask = tube((20, 20, 60), [(5, 5, 4), (5, 5, 20)], 2) | tube((20, 20, 60), [(14, 14, 4), (14, 14, 55)], 2)
    mask[1, 18, 58] = True
    measures = measure_graph(graph := graph_of(mask))
    assert measures.component.tolist() == [1, 0] or measures.component.tolist() == [0, 1]
    assert measures.length[measures.component == 0] > measures.length[measures.component == 1]
    assert len(measures.root) == 3
    assert (measures.degree == 0).sum() == 1
    assert len(graph.position) == 5


def test_prune_must_be_a_number_of_0_or_more():
    with pytest.raises(RecipeError, match="prune = -1"):
        graph_of(np.ones((3, 3, 3), bool), prune=-1)
