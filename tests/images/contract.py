"""What every driver promises. A driver's test subclasses `SourceContract` and gives the fixture `opened`."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.images import Source

Opened = tuple[Source, np.ndarray]


def inner(shape: tuple[int, ...]) -> Box:
    """A box inside `shape` that is aligned to nothing."""
    return Box(tuple(min(n // 3, 7) for n in shape), tuple(max(1, n // 2) for n in shape))


class SourceContract:
    @pytest.fixture
    def opened(self) -> Opened:
        """The source, and its level 0 as (channel, *spatial), made without malpighi."""
        raise NotImplementedError

    def test_it_describes_what_it_reads(self, opened: Opened) -> None:
        source, truth = opened
        assert (len(source.channels), *source.shape) == truth.shape
        assert source.dtype == truth.dtype
        assert source.space.rank == truth.ndim - 1
        assert all(isinstance(name, str) for name in source.channels)

    def test_the_whole_is_the_truth(self, opened: Opened) -> None:
        source, truth = opened
        whole = source.read(Box.of_shape(source.shape))
        assert whole.dtype == source.dtype
        np.testing.assert_array_equal(whole, truth)

    def test_a_box_inside(self, opened: Opened) -> None:
        source, truth = opened
        box = inner(source.shape)
        np.testing.assert_array_equal(source.read(box), truth[(slice(None), *box.slices)])

    def test_single_voxels_at_the_corners(self, opened: Opened) -> None:
        source, truth = opened
        ones = (1,) * len(source.shape)
        np.testing.assert_array_equal(source.read(Box((0,) * len(ones), ones)).ravel(), truth[(..., *(0,) * len(ones))])
        last = tuple(n - 1 for n in source.shape)
        np.testing.assert_array_equal(source.read(Box(last, ones)).ravel(), truth[(..., *last)])

    @pytest.mark.parametrize(("pad", "mode"), [("reflect", "reflect"), ("edge", "edge"), (7, "constant")])
    def test_padding_is_numpys(self, opened: Opened, pad: str | int, mode: str) -> None:
        source, truth = opened
        margin = 5
        values = {"constant_values": pad} if mode == "constant" else {}
        expected = np.pad(truth, [(0, 0)] + [(margin, margin)] * len(source.shape), mode=mode, **values)
        np.testing.assert_array_equal(source.read(Box.of_shape(source.shape).grow(margin), pad=pad), expected)

    def test_a_box_outside_is_all_padding(self, opened: Opened) -> None:
        source, _ = opened
        tile = source.read(Box(source.shape, (3,) * len(source.shape)), pad=9)
        assert (tile == 9).all()

    def test_an_empty_box(self, opened: Opened) -> None:
        source, _ = opened
        sides = (0,) * len(source.shape)
        assert source.read(Box(sides, sides)).shape == (len(source.channels), *sides)

    def test_every_level_has_the_shape_it_claims(self, opened: Opened) -> None:
        source, _ = opened
        for level, shape in enumerate(source.space.shapes):
            tile = source.read(Box.of_shape(shape), level)
            assert tile.shape == (len(source.channels), *shape)
            assert tile.dtype == source.dtype

    def test_a_level_or_rank_that_is_not_there(self, opened: Opened) -> None:
        source, _ = opened
        with pytest.raises(DataError, match="levels are 0 to"):
            source.read(Box.of_shape(source.shape), source.space.levels)
        with pytest.raises(DataError, match="axes"):
            source.read(Box.of_shape((*source.shape, 1)))

    def test_what_is_read_is_the_callers_own(self, opened: Opened) -> None:
        source, truth = opened
        box = inner(source.shape)
        source.read(box)[:] = 0
        np.testing.assert_array_equal(source.read(box), truth[(slice(None), *box.slices)])

    @pytest.mark.parametrize("factor", [1.0, 2.0, 1.7, 0.6])
    def test_a_voxel_does_not_depend_on_the_box_it_is_read_with(self, opened: Opened, factor: float) -> None:
        source, _ = opened
        spacing = source.space.spacing.times(factor)
        whole = Box.of_shape(min(n, 200) for n in source.space.shape_at(spacing))
        part = inner(whole.size)
        larger = source.read_at(whole, spacing)
        np.testing.assert_array_equal(source.read_at(part, spacing), larger[(slice(None), *part.slices)])

    def test_eight_threads_read_what_one_reads(self, opened: Opened) -> None:
        source, truth = opened
        generator = np.random.default_rng(0)
        starts = [tuple(int(generator.integers(0, n)) for n in source.shape) for _ in range(64)]
        boxes = [Box(start, (9,) * len(start)).clip(source.shape) for start in starts]
        with ThreadPoolExecutor(8) as pool:
            for box, tile in zip(boxes, pool.map(source.read, boxes), strict=True):
                np.testing.assert_array_equal(tile, truth[(slice(None), *box.slices)])

    def test_it_closes(self, opened: Opened) -> None:
        source, _ = opened
        with source:
            source.read(inner(source.shape))
