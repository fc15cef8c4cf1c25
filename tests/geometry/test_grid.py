"""Grids: cores partition the image, whatever the numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malpighi.geometry import Box, Grid


def test_a_grid_by_hand():
    grid = Grid((10,), (6,), (4,))
    assert [str(grid.tile_box(i)) for i in grid] == ["[-1:5]", "[3:9]", "[7:13]"]
    assert [str(grid.core_box(i)) for i in grid] == ["[0:4]", "[4:8]", "[8:10]"]


def test_an_image_smaller_than_a_tile_has_one_tile():
    grid = Grid((3, 5), (8, 8), (8, 8))
    assert list(grid) == [(0, 0)]
    assert grid.core_box((0, 0)) == Box((0, 0), (3, 5))


def test_a_step_larger_than_the_tile_would_miss_voxels():
    with pytest.raises(ValueError, match="missed"):
        Grid((10, 10), (4, 4), (5, 4))


@st.composite
def grids(draw):
    rank = draw(st.sampled_from([1, 2, 3]))
    shape = tuple(draw(st.integers(1, 25)) for _ in range(rank))
    tile = tuple(draw(st.integers(1, 12)) for _ in range(rank))
    step = tuple(draw(st.integers(1, t)) for t in tile)
    offset = tuple(draw(st.integers(0, s)) for s in step)
    return Grid(shape, tile, step, offset)


@given(grids())
@settings(max_examples=60)
def test_every_voxel_lies_in_exactly_one_core_and_in_its_tile(grid):
    seen = np.zeros(grid.shape, int)
    for index in grid:
        core = grid.core_box(index)
        assert grid.tile_box(index).contains(core)
        seen[core.slices] += 1
    assert (seen == 1).all()


@given(grids(), st.data())
@settings(max_examples=60)
def test_the_tiles_of_a_region_are_those_of_the_whole_that_meet_it(grid, data):
    start = tuple(data.draw(st.integers(0, n - 1)) for n in grid.shape)
    region = Box.of_bounds(start, tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, grid.shape, strict=True)))
    assert list(grid.owners(region)) == [i for i in grid if grid.core_box(i).overlaps(region)]
    assert list(grid.touching(region)) == [i for i in grid if grid.tile_box(i).overlaps(region)]
