"""Batches by number: the same from any thread, in 2-D and 3-D, registered, mirrored at borders like their images."""

from dataclasses import replace

import numpy as np
import pytest

from malpighi.annotations.masks import MaskAnnotation
from malpighi.geometry import Box, Spacing
from malpighi.images.array import ArraySource
from malpighi.sampling.augment import PRESETS
from malpighi.sampling.boxes import SamplerOptions, sampler
from malpighi.sampling.cases import Case, OpenCase
from malpighi.sampling.dataset import TileBatches
from malpighi.sampling.foreground import find_foreground
from malpighi.sampling.turned import turned


def _case(rank, seed=0):
    """An image whose voxels are 200 where the label is and 20 elsewhere."""
    rng = np.random.default_rng(seed)
    shape = (48, 60) if rank == 2 else (20, 24, 28)
    label = (rng.random(tuple(n // 4 for n in shape)) > 0.6).repeat(4, 0).repeat(4, 1)
    label = (label.repeat(4, 2) if rank == 3 else label).astype(np.uint8)
    image = np.where(label, 200, 20).astype(np.uint8)
    source = ArraySource(image[None])
    mask = MaskAnnotation(ArraySource(label[None]), source.space, ("cell",))
    return OpenCase(Case(f"c{seed}", "none"), source, mask)


def _batches(rank, augmentation="standard", threads=1, context=1.5, seed=3):
    cases = [_case(rank, n) for n in range(3)]
    tile = (16,) * rank
    spacing = Spacing.pixels(rank)
    foreground = [find_foreground(case.annotation, spacing, tile) for case in cases]
    draw = sampler(SamplerOptions(), [case.source.shape for case in cases], tile, seed, foreground)
    return TileBatches(cases, draw, spacing, tile, context, PRESETS[augmentation], batch=4, seed=seed, threads=threads)


def _first(batches, n, start=0):
    stream = batches(start)
    out = [next(stream) for _ in range(n)]
    stream.close()
    return out


@pytest.mark.parametrize("rank", [2, 3])
def test_shapes_and_types(rank):
    images, targets, _ = _first(_batches(rank), 1)[0]
    assert images.shape == targets.shape == (4, 1, *(16,) * rank)
    assert images.dtype == targets.dtype == np.uint8
    assert set(np.unique(targets)) <= {0, 1, 255}


@pytest.mark.parametrize("rank", [2, 3])
def test_batch_n_is_the_same_from_any_start_and_number_of_threads(rank):
    whole = _first(_batches(rank, threads=1), 5)
    later = _first(_batches(rank, threads=3), 2, start=3)
    for expected, got in zip(whole[3:], later, strict=True):
        np.testing.assert_array_equal(expected.images, got.images)
        np.testing.assert_array_equal(expected.targets, got.targets)


@pytest.mark.parametrize("rank", [2, 3])
def test_image_and_target_stay_registered(rank):
    images, targets, _ = _first(_batches(rank, "flips"), 1)[0]
    np.testing.assert_array_equal(images > 100, targets == 1)


def test_beyond_the_border_the_target_is_mirrored_as_the_image_is():
    case = _case(2)
    batches = _batches(2, "none", context=1.0)
    image, target = TileBatches([case], lambda n: (0, Box((-10, -10), (16, 16))), *_rest(batches)).read(0)
    np.testing.assert_array_equal(image > 100, target == 1)
    assert target[0, :10].any()


def _rest(batches):
    names = ("spacing", "tile", "context", "augmentation", "batch", "seed", "threads")
    return [getattr(batches, name) for name in names]


def test_errors_of_the_reading_threads_reach_the_caller():
    def broken(n):
        raise RuntimeError("the disk went away")

    batches = TileBatches([_case(2)], broken, *_rest(_batches(2)))
    with pytest.raises(RuntimeError, match="went away"):
        _first(batches, 1)


def _volume_batches(case, tile, options, box_at=(8, 8, 8), batch=3):
    return TileBatches([case], lambda n: (0, Box(box_at, tile)), Spacing.pixels(3), tile, 1.25, options, batch, seed=1)


TILTED = replace(PRESETS["none"], flips=True, rotate=40, tilt=40, elastic=0.1, chance=1.0)


@pytest.mark.parametrize("tile", [(12, 12, 12), (1, 12, 16), (3, 16, 16)])
@pytest.mark.parametrize("options", [TILTED, replace(TILTED, tilt=0.0)])
def test_tiles_of_any_thickness_stay_registered(tile, options):
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in (40, 44, 48)), indexing="ij")
    ball = (np.square(axes).sum(0) < 0.5).astype(np.uint8)
    source = ArraySource(ball[None] * np.uint16(1000))
    case = OpenCase(Case("ball", "none"), source, MaskAnnotation(ArraySource(ball[None]), source.space, ("cell",)))
    images, targets, _ = _volume_batches(case, tile, options, (10, 12, 12)).make(0)
    assert images.shape == targets.shape == (3, 1, *tile)
    assert images.dtype == np.uint16
    assert ((images > 500) == targets).mean() > 0.97


def test_slices_that_stay_slices_are_read_alone():
    case = _case(3)
    asked = []

    class Watched(ArraySource):
        def _read(self, box, level):
            asked.append(box)
            return super()._read(box, level)

    watched = OpenCase(case.case, Watched(case.source._array), case.annotation)
    options = replace(PRESETS["standard"], flips=False)
    _volume_batches(watched, (3, 12, 12), options, (7, 6, 8)).make(0)
    assert {(box.start[0], box.size[0]) for box in asked} == {(7, 3)}
    asked.clear()
    _volume_batches(watched, (3, 12, 12), PRESETS["flips"], (7, 6, 8)).make(0)
    assert set(asked) == {Box((7, 6, 8), (3, 12, 12))}


def test_turned_cases_are_drawn_from_as_any():
    case = _case(3)
    tile = (1, 16, 16)
    views = [turned(case, axis) for axis in "zyx"]
    spacing = Spacing.pixels(3)
    foreground = [find_foreground(view.annotation, spacing, tile) for view in views]
    draw = sampler(SamplerOptions(), [view.source.shape for view in views], tile, 0, foreground)
    assert {draw(n)[0] for n in range(40)} == {0, 1, 2}
    batches = TileBatches(views, draw, spacing, tile, 1.0, PRESETS["flips"], 16, seed=0)
    images, targets, _ = batches.make(0)
    np.testing.assert_array_equal(images > 100, targets == 1)
    assert targets.any()


def test_what_is_unlabelled_stays_so_through_a_tilt():
    source = ArraySource(np.zeros((1, 30, 30, 30), np.uint16))

    class Half(MaskAnnotation):
        def _rasterise(self, box, spacing):
            z = np.arange(box.start[0], box.stop[0])[None, :, None, None]
            return np.broadcast_to(np.where(z < 15, 255, 0), (1, *box.size)).astype(np.uint8)

    mask = Half(ArraySource(np.zeros((1, 30, 30, 30), np.uint8)), source.space, ("cell",))
    _, targets, _ = _volume_batches(OpenCase(Case("half", "none"), source, mask), (14, 14, 14), TILTED).make(0)
    assert set(np.unique(targets)) == {0, 255}
