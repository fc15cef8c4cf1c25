import networkx
import numpy as np
import pytest

from malpighi.geometry import Box, Spacing
from malpighi.objects.density import count_density, density_table, summarise_distances
from malpighi.objects.distance import DistanceMap
from malpighi.objects.graph import VesselGraph, build_graph
from malpighi.objects.skeleton import skeletonise
from malpighi.objects.vessels import branch_table, measure_graph, node_table, point_table, write_graphml
from malpighi.phantoms.vessels import VesselPhantom
from objects.tubes import blocks


def graph_by_hand(ends, positions, points_each=5, radii=None) -> VesselGraph:
    """A graph of straight branches."""
    position = np.array(positions, float)
    lines = [np.linspace(position[a], position[b], points_each) for a, b in ends]
    radius = np.repeat(np.ones(len(ends)) if radii is None else radii, points_each).astype(np.float32)
    return VesselGraph(
        (100, 100, 100), Spacing.um(2, 3), False, position, np.full(len(position), 0.5), np.array(ends),
        np.arange(len(ends) + 1) * points_each, np.concatenate(lines), radius,
    )  # fmt: skip


TREE = graph_by_hand(
    [(0, 1), (1, 2), (1, 3), (3, 4), (3, 5)],
    [(0, 0, 0), (0, 0, 10), (0, 10, 10), (0, 0, 20), (0, 5, 30), (5, 0, 30)],
    radii=[3, 1, 2, 1, 1],
)


def test_a_tree_by_hand():
    measures = measure_graph(TREE)
    assert measures.length[:3] == pytest.approx([20, 20, 20])
    assert measures.tortuosity == pytest.approx(1)
    assert measures.root.tolist() == [0]
    assert measures.generation.tolist() == [0, 1, 1, 2, 2]
    assert measures.strahler.tolist() == [2, 1, 2, 1, 1]
    assert measures.degree.tolist() == [1, 3, 1, 3, 1, 1]


def test_strahler_rises_where_two_of_the_highest_meet():
    ends = [(0, 1), (1, 2), (1, 3), (2, 4), (2, 5), (3, 6), (3, 7)]
    graph = graph_by_hand(ends, np.random.default_rng(0).random((8, 3)) * 50, radii=[5, 2, 2, 1, 1, 1, 1])
    assert measure_graph(graph).strahler.tolist() == [3, 2, 2, 1, 1, 1, 1]


def test_tables_carry_units_and_what_is_measured():
    measures = measure_graph(TREE)
    nodes, branches, points = node_table(TREE, measures), branch_table(TREE, measures), point_table(TREE)
    assert nodes.column("x_um").to_pylist()[1] == 20
    assert nodes.column("x_px").to_pylist()[1] == 10
    assert nodes.column("root").to_pylist() == [True] + [False] * 5
    assert branches.column("length_um").to_pylist()[0] == pytest.approx(20)
    assert branches.schema.metadata[b"spacing"] == b"2 2 2"
    assert points.column("branch").to_pylist()[4:6] == [0, 1]
    assert points.column("place").to_pylist()[4:6] == [4, 0]


def test_graphml_is_read_back_with_parallel_branches_and_loops(tmp_path):
    graph = graph_by_hand([(0, 1), (0, 1), (1, 1)], [(0, 0, 0), (0, 0, 10)])
    measures = measure_graph(graph)
    write_graphml(tmp_path / "g.graphml", graph, measures)
    read = networkx.read_graphml(tmp_path / "g.graphml", node_type=int, force_multigraph=True)
    assert sorted(read.edges()) == [(0, 1), (0, 1), (1, 1)]
    assert read.nodes[1]["x_um"] == 20
    assert [data["length_um"] for _, _, data in read.edges(data=True)][:2] == pytest.approx([20, 20])


def test_density_by_hand():
    mask = np.zeros((10, 10, 40), bool)
    mask[4:7, 4:7, 5:35] = True
    held = blocks(mask, 16)
    graph = build_graph(skeletonise(held, (2, 2, 2)), Spacing.um(2, 3))
    tissue = np.ones_like(mask)
    tissue[:, :, 20:] = False
    for inside, volume, vessel in ((None, 4000, 270), (blocks(tissue, 16), 2000, 135)):
        density = count_density(held, graph, 20, inside)
        assert density.cell == (10, 10, 10)
        assert (density.tissue.sum(), density.vessel.sum()) == (volume, vessel)
    total = measure_graph(graph).length.sum()
    assert count_density(held, graph, 20).length.sum() == pytest.approx(total)
    rows = density_table(graph, density).to_pylist()
    assert len(rows) == 2
    assert rows[1]["vessel_fraction"] == pytest.approx(90 / 1000)
    assert rows[1]["length_density_mm_per_mm3"] == pytest.approx(
        20 / 8000 * 1e6, rel=0.11
    )  # one step of ten lies on the border


def test_summary_of_distances_is_that_of_the_whole():
    mask = np.random.default_rng(0).random((30, 30, 30)) > 0.999
    held = blocks(mask, 12)
    whole = DistanceMap(held, Spacing.um(3, 3))(Box.of_shape(mask.shape))
    values = whole[whole > 0]
    written = np.zeros(mask.shape)

    def write(box: Box, distances: np.ndarray) -> None:
        written[box.slices] = distances

    told = summarise_distances(DistanceMap(held, Spacing.um(3, 3)), held, write=write)
    np.testing.assert_allclose(written, whole)
    assert told["voxels"] == len(values)
    assert told["mean"] == pytest.approx(values.mean())
    assert told["max"] == pytest.approx(values.max())
    assert told["p50"] == pytest.approx(np.median(values), rel=0.02)
    assert sum(told["histogram"]) == len(values)


@pytest.mark.parametrize(("seed", "spacing"), [(0, 20.0), (1, (40.0, 20.0, 20.0))])
def test_a_kidney_phantom_gives_its_lengths_and_radii_back(seed, spacing):
    um = spacing if isinstance(spacing, tuple) else (spacing,) * 3
    shape = tuple(round(2400 / s) for s in um)
    phantom = VesselPhantom(shape, seed, spacing, trees=1, smallest=50.0, terminals=12)
    mask = phantom.truth_mask(Box.of_shape(shape)) > 0
    graph = build_graph(skeletonise(blocks(mask, 64), um), Spacing.um(um))
    measures = measure_graph(graph)
    tree = phantom.tree
    assert measures.length.sum() == pytest.approx(tree.total_length, rel=0.1)
    assert len(measures.length) == pytest.approx(len(tree), rel=0.15)
    expected = np.average(tree.radius, weights=tree.length)
    assert np.average(measures.mean_radius, weights=measures.length) == pytest.approx(
        expected, abs=max(0.1 * expected, max(um) / 2)
    )
