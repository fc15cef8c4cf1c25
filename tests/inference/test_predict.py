import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.toys import ArraySource, collect, identity, mean3, noise, ones, place
from malpighi.errors import DataError, TileError
from malpighi.geometry import Box, Spacing
from malpighi.inference.options import PredictOptions
from malpighi.inference.predict import predict
from malpighi.inference.progress import Progress

WINDOWS = ["center", "gaussian", "pyramid"]


def small(**more) -> PredictOptions:
    return PredictOptions(**{"tile": 8, "overlap": 0.25, "batch": 3, "readers": 2, **more})


def whole_answer(forward, source: ArraySource) -> np.ndarray:
    return forward(source.array[None])[0]


def reading_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("malpighi")]


# -- by hand -------------------------------------------------------------------------------------------------------
def test_center_pastes_each_tile_where_it_owns_the_image():
    # 4 × 4 image, tiles of 2 without overlap; the network says which of its voxels is which
    source = ArraySource(np.ones((1, 4, 4), np.float32))
    corner = np.array([[1, 2], [3, 4]], np.float32)
    result, times = collect(lambda tiles: tiles * corner, source, small(tile=2, overlap=0, window="center"))
    np.testing.assert_array_equal(result[0], [[1, 2, 1, 2], [3, 4, 3, 4], [1, 2, 1, 2], [3, 4, 3, 4]])
    assert (times == 1).all()


def test_pyramid_blends_the_overlap():
    # 1 × 4 image, tile 4, step 2: tile 0 covers -1:3, tile 1 covers 1:5. Profile ½ 1½ 1½ ½.
    # Voxels 1 and 2 belong to both: ¾ of the nearer tile and ¼ of the other.
    tiles_seen = iter([10.0, 20.0])

    def numbered(tiles):
        return np.full(tiles.shape, next(tiles_seen), np.float32)

    source = ArraySource(np.zeros((1, 1, 4), np.float32))
    options = small(tile=(1, 4), overlap=0.5, window="pyramid", batch=1)
    result, _ = collect(numbered, source, options)
    np.testing.assert_allclose(result[0, 0], [10, 12.5, 17.5, 20])


# -- what it gives -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(37, 29), (11, 13, 9)])
@pytest.mark.parametrize("window", WINDOWS)
def test_identity_gives_the_image_back(shape, window):
    source = noise(*shape)
    result, times = collect(identity, source, small(window=window), align=(10,) * len(shape))
    np.testing.assert_allclose(result, source.array, atol=5e-7)
    assert (times == 1).all()


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 1), (1, 1)])
@pytest.mark.parametrize("window", WINDOWS)
def test_an_image_smaller_than_a_tile(shape, window):
    source = noise(*shape)
    result, _ = collect(identity, source, small(window=window))
    np.testing.assert_allclose(result, source.array, atol=5e-7)


@pytest.mark.parametrize("shape", [(40, 31), (14, 12, 17)])
def test_tiled_is_whole_for_a_network_that_looks_less_far_than_the_margin(shape):
    source = noise(*shape)
    result, _ = collect(mean3, source, small(window="center", overlap=0.5))
    expected = whole_answer(mean3, source)
    inner = (slice(None), *(slice(1, -1) for _ in shape))  # the border differs: the network pads, predict reflects
    np.testing.assert_allclose(result[inner], expected[inner], rtol=1e-6)


def test_classes_and_channels_may_differ():
    source = ArraySource(np.arange(2 * 9 * 9, dtype=np.uint8).reshape(2, 9, 9))

    def three(tiles):
        assert tiles.dtype == np.uint8
        assert tiles.shape[1] == 2
        first, second = tiles[:, 0].astype(np.float32), tiles[:, 1].astype(np.float32)
        return np.stack([first, second, first + second], axis=1)

    result, _ = collect(three, source, small(window="center"), classes=3)
    whole = source.array.astype(np.float32)
    np.testing.assert_array_equal(result, np.stack([whole[0], whole[1], whole[0] + whole[1]]))


def test_a_coarser_working_spacing():
    source = ArraySource(np.arange(16, dtype=np.float32).reshape(1, 4, 4))
    boxes = list(predict(identity, source, Spacing.pixels(2, 2), 1, small(window="center")))
    ((box, values),) = boxes
    assert box == Box((0, 0), (2, 2))
    np.testing.assert_allclose(values[0], [[2.5, 4.5], [10.5, 12.5]])


@pytest.mark.real_data
def test_a_real_slide_comes_back_pixel_by_pixel(real):
    from malpighi.images.open import open_image

    def green(tiles):
        return tiles[:, 1:2].astype(np.float32)

    with open_image(real / "formats" / "CMU-1-Small-Region.svs") as source:
        region = Box((500, 300), (900, 1100))
        spacing = source.space.spacing
        for box, values in predict(green, source, spacing, 1, PredictOptions(tile=256), region=region, align=(512, 512)):
            np.testing.assert_allclose(values[0], source.read(box)[1], atol=1e-4)


# -- the same however it is cut ------------------------------------------------------------------------------------
@settings(deadline=None, max_examples=30)
@given(st.data(), st.sampled_from(WINDOWS), st.sampled_from([(33, 27), (9, 14, 11)]))
def test_a_region_is_the_same_region_of_the_whole_bit_for_bit(data, window, shape):
    source = noise(*shape)
    options = small(window=window, overlap=data.draw(st.sampled_from([0, 0.25, 0.6])))
    keep = data.draw(st.sampled_from([None, lambda box: sum(box.start) % 3 > 0]))
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    region = Box.of_bounds(start, tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)))
    align = tuple(data.draw(st.integers(5, 40)) for _ in shape)

    whole, _ = collect(place, source, options, keep=keep)
    part, times = collect(place, source, options, keep=keep, region=region, align=align)
    inside = (slice(None), *region.slices)
    assert whole[inside].tobytes() == part[inside].tobytes()
    assert times[region.slices].all()
    assert times.sum() == region.volume


@pytest.mark.parametrize("shape", [(30, 300), (20, 60, 60)])
def test_columns_leave_no_seam(shape, monkeypatch):
    source = noise(*shape)
    align = (16,) * len(shape)
    whole, _ = collect(place, source, small(), align=align)
    monkeypatch.setattr(PredictOptions, "budget", lambda self, rank: 1)
    progress = Progress()
    narrow, times = collect(place, source, small(), align=align, progress=progress)
    assert narrow.tobytes() == whole.tobytes()
    assert (times == 1).all()
    assert progress.total > len(small().grid(shape))  # tiles on the columns' borders are predicted twice


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("readers", [1, 3])
def test_batches_and_readers_change_nothing(batch, readers):
    source = noise(30, 40)
    expected, _ = collect(place, source, small())
    result, _ = collect(place, source, small(batch=batch, readers=readers))
    assert result.tobytes() == expected.tobytes()


def test_boxes_that_are_done_do_not_come_again_and_their_tiles_are_not_read():
    source = noise(40, 40)
    align = (10, 10)
    everything = dict(predict(place, source, Spacing.pixels(2), 1, small(), align=align))
    wanted = {Box((10, 20), (10, 10)), Box((30, 0), (10, 10))}
    source.reads.clear()
    again = dict(predict(place, source, Spacing.pixels(2), 1, small(), align=align, done=set(everything) - wanted))
    assert set(again) == wanted
    for box in wanted:
        assert again[box].tobytes() == everything[box].tobytes()
    reach = [box.grow(8) for box in wanted]
    assert all(any(box.overlaps(r) for r in reach) for box in source.reads)


def test_batches_are_all_of_one_size():
    sizes = set()

    def sized(tiles):
        sizes.add(len(tiles))
        return identity(tiles)

    collect(sized, noise(20, 20), small(batch=4))  # 4 × 4 tiles + 0 … and below a number that 4 does not divide
    collect(sized, noise(20, 13), small(batch=4))
    assert sizes == {4}


# -- glass ---------------------------------------------------------------------------------------------------------
def test_tiles_not_kept_are_not_read_and_add_nothing():
    source = noise(40, 40)
    progress = Progress()
    result, times = collect(
        ones, source, small(window="center"), keep=lambda box: box.start[0] >= 18, align=(12, 12), progress=progress
    )
    assert (result[0, :18] == 0).all()
    assert (result[0, 18:] == 1).all()
    assert (times == 1).all()
    assert progress.skipped == 3 * 7
    assert progress.tiles == 4 * 7
    assert min(box.start[0] for box in source.reads) >= 17  # the margin of 1 around a core


def test_nothing_but_glass_runs_no_network():
    def never(tiles):
        raise AssertionError("the network ran")

    result, times = collect(never, noise(40, 40), small(), keep=lambda box: False)
    assert (result == 0).all()
    assert (times == 1).all()


# -- when things go wrong ------------------------------------------------------------------------------------------
class Broken(ArraySource):
    error: Exception

    def _read(self, box, level):
        if box.overlaps(Box((16, 16), (1, 1))):
            raise self.error
        return super()._read(box, level)


@pytest.mark.parametrize(
    ("error", "kind"), [(TileError("toy: bad tile"), TileError), (OSError("gone"), DataError), (ValueError("odd"), DataError)]
)
def test_a_reader_error_names_the_box_and_stops_the_threads(error, kind):
    source = Broken(np.zeros((1, 64, 64), np.float32))
    source.error = error
    with pytest.raises(kind, match=r"toy: .*\[1[0-9]:[0-9]+, 1[0-9]:[0-9]+\]"):
        collect(identity, source, small())
    assert not reading_threads()


def test_a_consumer_that_stops_early_leaves_no_threads():
    found = predict(identity, noise(64, 64), Spacing.pixels(2), 1, small(), align=(8, 8))
    next(found)
    assert reading_threads()
    found.close()
    assert not reading_threads()


def test_an_interrupt_in_the_network_leaves_no_threads():
    def interrupted(tiles):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(interrupted, noise(64, 64), small())
    assert not reading_threads()


def test_a_network_of_another_size_is_told_so():
    with pytest.raises(ValueError, match=r"expected \(3, 2, 8, 8\) float32"):
        collect(identity, noise(20, 20), small(), classes=2)


# -- memory and progress -------------------------------------------------------------------------------------------
def test_memory_depends_on_neither_height_nor_width():
    class Endless(ArraySource):
        """Zeros of any shape."""

        def _read(self, box, level):
            return np.zeros((1, *box.size), np.uint8)

    def peak(height, width):
        source = Endless(np.broadcast_to(np.uint8(0), (1, height, width)))
        options = PredictOptions(tile=128, overlap=0.25, memory_mb=1)
        tracemalloc.start()
        for _ in predict(identity, source, Spacing.pixels(2), 1, options, align=(256, 256)):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    base = peak(1024, 768)  # one column, as wide as the budget allows: what wider images are cut into
    assert base < 6e6
    assert peak(4096, 768) < 1.2 * base
    assert peak(1024, 4096) < 1.2 * base


def test_progress_ends_with_every_tile_accounted_for():
    progress, shares = Progress(), []
    collect(
        identity,
        noise(40, 40),
        small(),
        keep=lambda box: box.start != (0, 0),
        progress=progress,
        on_progress=lambda p: shares.append(p.share),
    )
    assert progress.tiles + progress.skipped == progress.total == 49
    assert progress.skipped == 1
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert set(progress.seconds) == {"read", "wait", "forward", "blend", "yield"}
