import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malpighi.geometry import Box, Grid
from malpighi.inference.options import PredictOptions
from malpighi.inference.window import Window, axis_weights


@st.composite
def grids(draw, rank=None):
    rank = rank or draw(st.integers(1, 3))
    longest = {1: 200, 2: 25, 3: 9}[rank]
    shape = tuple(draw(st.integers(1, longest)) for _ in range(rank))
    tile = tuple(draw(st.integers(1, 12)) for _ in range(rank))
    step = tuple(draw(st.integers(max(1, t // 4), t)) for t in tile)
    offset = tuple(draw(st.integers(0, s)) for s in step)
    return Grid(shape, tile, step, offset)


@settings(deadline=None, max_examples=60)
@given(grids(), st.sampled_from(["center", "gaussian", "pyramid"]))
def test_weights_sum_to_one_at_every_voxel(grid, kind):
    window = Window(grid, kind)
    total = np.zeros(grid.shape)
    for index in grid:
        reach, weights = window.reach(index), window.weights(index)
        inside = reach.relative_to(grid.tile_box(index).start).slices
        total[reach.slices] += 1 if weights is None else weights[inside]
    np.testing.assert_allclose(total, 1, atol=2e-6)


@settings(deadline=None, max_examples=60)
@given(grids())
def test_reach_is_the_core_for_center_and_the_tile_for_the_others(grid):
    whole = Box.of_shape(grid.shape)
    for index in grid:
        assert Window(grid, "center").reach(index) == grid.core_box(index)
        assert Window(grid, "gaussian").reach(index) == grid.tile_box(index).intersect(whole)


def test_pyramid_by_hand():
    # tile 4, step 2: profile ½ 1½ 1½ ½; with a neighbour on both sides every sum is 2
    np.testing.assert_allclose(axis_weights("pyramid", 4, 2, 1, 1), [0.25, 0.75, 0.75, 0.25])
    # nothing before it: its first half is its own
    np.testing.assert_allclose(axis_weights("pyramid", 4, 2, 0, 1), [1, 1, 0.75, 0.25])
    np.testing.assert_allclose(axis_weights("pyramid", 4, 2, 0, 0), [1, 1, 1, 1])


def test_gaussian_has_a_sigma_of_an_eighth_of_the_tile():
    weights = axis_weights("gaussian", 32, 16, 1, 1)
    place = np.arange(32) + 0.5
    bell = np.exp(-0.5 * ((place - 16) / 4) ** 2)
    np.testing.assert_allclose(weights[16:], bell[16:] / (bell[16:] + bell[:16]), rtol=1e-6)


def test_a_voxel_that_one_tile_alone_covers_counts_exactly_once():
    weights = axis_weights("gaussian", 512, 384, 1, 1)
    assert (weights[128:384] == 1).all()


@pytest.mark.parametrize("kind", ["gaussian", "pyramid"])
def test_few_weight_arrays_are_held(kind):
    window = Window(Grid((100, 100, 100), (10, 10, 10), (4, 4, 4)), kind)
    for index in window.grid:
        window.weights(index)
    assert len(window._arrays) <= 4


@pytest.mark.parametrize(("tile", "overlap"), [(1024, 0.5), (768, 1 / 3)])
def test_expansion_context_reads_a_tile_and_keeps_its_centre_of_512(tile, overlap):
    grid = PredictOptions(tile=tile, overlap=overlap, window="center").grid((1500, 2100))
    window = Window(grid, "center")
    margin, times = (tile - 512) // 2, np.zeros((1500, 2100), np.uint8)
    for index in grid:
        read, kept = grid.tile_box(index), window.reach(index)
        assert read.size == (tile, tile)
        assert window.weights(index) is None
        assert kept == Box(tuple(a + margin for a in read.start), (512, 512)).clip(grid.shape)
        times[kept.slices] += 1
    assert (times == 1).all()
