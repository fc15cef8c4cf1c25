import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from inference.test_window import grids
from malpighi.geometry import Box, Grid
from malpighi.inference.route import columns, open_voxels, route
from malpighi.inference.window import Window


def nothing_done(box):
    return False


def test_one_row_of_tiles_by_hand():
    # image 1 × 8, tiles of 4 each 4: tile 0 → 0:4, tile 1 → 4:8; output boxes of 3: 0:3, 3:6, 6:8
    window = Window(Grid((1, 8), (1, 4), (1, 4)), "gaussian")
    first, second = route(window, Box.of_shape((1, 8)), (1, 3), nothing_done)
    a, b, c = Box((0, 0), (1, 3)), Box((0, 3), (1, 3)), Box((0, 6), (1, 2))
    assert (first.index, first.feeds, first.finishes) == ((0, 0), (a, b), (a,))
    assert (second.index, second.feeds, second.finishes) == ((0, 1), (b, c), (b, c))


def test_tiles_that_feed_only_finished_boxes_are_left_out():
    window = Window(Grid((1, 8), (1, 4), (1, 4)), "gaussian")
    done = {Box((0, 0), (1, 3)), Box((0, 3), (1, 3))}
    (only,) = route(window, Box.of_shape((1, 8)), (1, 3), done.__contains__)
    assert only.index == (0, 1)
    assert only.feeds == only.finishes == (Box((0, 6), (1, 2)),)


@settings(deadline=None, max_examples=40)
@given(grids(rank=2), st.tuples(st.integers(2, 15), st.integers(2, 15)), st.sampled_from(["center", "gaussian"]), st.data())
def test_each_box_is_finished_once_by_the_last_tile_that_feeds_it(grid, align, kind, data):
    stop = tuple(data.draw(st.integers(1, n)) for n in grid.shape)
    start = tuple(data.draw(st.integers(0, b - 1)) for b in stop)
    region = Box.of_bounds(start, stop)
    window = Window(grid, kind)
    visits = list(route(window, region, align, nothing_done))

    assert [v.index for v in visits] == sorted(v.index for v in visits)
    finished = [box for visit in visits for box in visit.finishes]
    assert sorted(finished) == sorted(region.split(align))
    later: set[Box] = set()
    for visit in reversed(visits):
        assert set(visit.feeds) == {b for b in finished if b.overlaps(window.reach(visit.index))}
        assert not later & set(visit.finishes)
        later |= set(visit.feeds)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 100), st.integers(15, 60)), min_size=2, max_size=3),
    st.integers(1, 40_000),
)
def test_columns_partition_the_region_along_output_boxes_and_keep_to_the_budget(axes, budget):
    region = Box(tuple(a for a, _, _ in axes), tuple(n for _, n, _ in axes))
    align = tuple(s for _, _, s in axes)
    grid = Grid(region.stop, align, tuple(-(-s // 2) for s in align))
    found = columns(region, align, grid, 2, budget)

    assert sum(c.volume for c in found) == region.volume
    pieces = sorted(piece for c in found for piece in c.split(align))
    assert pieces == sorted(region.split(align))
    for column in found:
        assert column.size[0] == region.size[0]
        one_box = len(list(column.split((region.stop[0], *align[1:])))) == 1
        assert one_box or 4 * 2 * open_voxels(column.size[1:], column.size[0], align, grid) <= budget


def test_columns_are_as_equal_as_whole_boxes_allow():
    region = Box.of_shape((100_000, 100_000))
    grid = Grid(region.size, (512, 512), (384, 384))
    found = columns(region, (2048, 2048), grid, 1, 224_000_000)
    widths = [c.size[1] for c in found]
    assert widths == [20_480, 20_480, 20_480, 20_480, 18_080]


def test_a_volume_is_cut_along_one_axis_where_two_cuts_would_predict_more_tiles_twice():
    shape = (1024, 1024, 1024)
    grid = Grid(shape, (128,) * 3, (64,) * 3)
    found = columns(Box.of_shape(shape), (32, 256, 256), grid, 1, 256_000_000)
    assert [c.size for c in found] == [(1024, 1024, 512)] * 2


@settings(deadline=None, max_examples=40)
@given(grids(rank=3), st.tuples(st.integers(2, 9), st.integers(2, 9), st.integers(2, 9)))
def test_no_more_voxels_are_open_than_was_reckoned(grid, align):
    window, region = Window(grid, "gaussian"), Box.of_shape(grid.shape)
    begun: dict[Box, set[tuple[int, ...]]] = {}  # rows and places across that a tile has touched
    most = 0
    for visit in route(window, region, align, nothing_done):
        for box in visit.feeds:
            part = window.reach(visit.index).intersect(box)
            begun.setdefault(box, set()).update(itertools.product(*map(range, part.start, part.stop)))
        most = max(most, sum(map(len, begun.values())))
        for box in visit.finishes:
            begun.pop(box)
    assert most <= open_voxels(grid.shape[1:], grid.shape[0], align, grid)
