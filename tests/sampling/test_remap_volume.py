"""Volumes on the CPU: what slices get is what images get, what is tilted equals `grid_sample`, and nothing needless is read."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malpighi.geometry import Box
from malpighi.images.array import ArraySource
from malpighi.sampling.augment import PRESETS, AugmentOptions, augment
from malpighi.sampling.remap import warp_item
from malpighi.sampling.remap_volume import warp_read, warp_volume
from malpighi.sampling.seeds import stream
from malpighi.sampling.warp import Warp, crop_start, draw_warp

NONE = PRESETS["none"]
FLAT = AugmentOptions(flips=False, rotate=170.0, chance=1.0)
TILTED = dataclasses.replace(FLAT, tilt=60.0, distort=0.2)
TILES = [(16, 16, 16), (3, 24, 24), (1, 20, 28)]


def volume(shape: tuple[int, ...], channels: int = 1, dtype: type = np.uint16) -> tuple[np.ndarray, np.ndarray]:
    axes = np.meshgrid(*(np.linspace(0, 3 + axis, n) for axis, n in enumerate(shape)), indexing="ij")
    waves = np.stack([sum(np.sin(a + c) for a in axes) for c in range(channels)])
    image = ((waves + 3) * 1000).astype(dtype)
    return image, (image[:1] > 3300).astype(np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_every_slice_is_warped_as_an_image_is(seed: int) -> None:
    image, target = volume((3, 40, 44), channels=2)
    warp = draw_warp(stream(seed), FLAT, (3, 32, 32))
    assert warp.slices is not None
    new, labels = warp_volume(image, target, warp, (3, 32, 32), crop_start(image.shape[1:], (3, 32, 32)), "reflect")
    for z in range(3):
        out, marks = np.empty((32, 32, 2), np.uint16), np.empty((32, 32, 1), np.uint8)
        warp_item(image[:, z], target[:, z], warp.slices.plane, out, marks, "reflect")
        np.testing.assert_array_equal(new[:, z], out.transpose(2, 0, 1))
        np.testing.assert_array_equal(labels[:, z], marks.transpose(2, 0, 1))


@pytest.mark.parametrize(
    "options", [FLAT, TILTED, dataclasses.replace(FLAT, flips=True), dataclasses.replace(TILTED, flips=True)]
)
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("outside", ["reflect", "unlabelled"])
def test_it_agrees_with_grid_sample(options: AugmentOptions, tile: tuple[int, ...], outside: str) -> None:
    torch = pytest.importorskip("torch")
    from malpighi.sampling.remap_torch import warp_batch

    shape = tuple(n + 5 for n in tile)
    image, target = volume(shape, channels=2, dtype=np.float32)
    for seed in range(3):
        warp = draw_warp(stream(seed), options, tile, (2.0, 1.0, 1.0))
        new, labels = warp_volume(image, target, warp, tile, crop_start(shape, tile), outside)
        other, marks = warp_batch(torch.from_numpy(image)[None], torch.from_numpy(target)[None], [warp], tile, outside)
        assert np.abs(new - other[0].numpy()).max() < 12  # of 6000: OpenCV rounds positions to 1/32 pixel
        assert (labels != marks[0].numpy()).mean() < 5e-3


def test_linear_and_nearest_by_hand() -> None:
    image = np.arange(8, dtype=np.uint16).reshape(1, 2, 2, 2) * 10
    half = Warp(np.eye(3) * 0.999999, np.array([0.5, 0.0, 0.25]))  # not whole: goes voxel by voxel
    new, labels = warp_volume(image, image.astype(np.uint8), half, (1, 1, 1), (0, 0, 0), "reflect")
    assert new.item() == 23  # half of the way to the next plane (+ 40 / 2), a quarter to the next column (+ 10 / 4), rounded
    assert labels.item() in (0, 40)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float64, np.uint8])
@pytest.mark.parametrize("options", [FLAT, TILTED])
def test_values_of_any_type_keep_it(dtype: type, options: AugmentOptions) -> None:
    image = np.full((1, 6, 20, 20), -7 if np.dtype(dtype).kind != "u" else 7).astype(dtype)
    target = np.ones((1, 6, 20, 20), np.uint8)
    new, labels = augment(image[None], target[None], dataclasses.replace(options, tone=0, blur=0, noise=0), (4, 16, 16), [1])
    assert new.dtype == dtype
    assert (new == image.flat[0]).all()
    assert (labels == 1).all()


def test_without_tilt_slices_stay_slices_whatever_the_pose() -> None:
    options = AugmentOptions(chance=1.0, distort=0.3)
    axes = set()
    for seed in range(40):
        slices = draw_warp(stream(seed), options, (16, 16, 16)).slices
        assert slices is not None
        axes.add((slices.axis, slices.mirrored))
    assert len(axes) == 6
    thin = [draw_warp(stream(seed), options, (3, 16, 16)).slices for seed in range(20)]
    assert {slices.axis for slices in thin if slices is not None} == {0}


def test_tilt_is_drawn_by_chance() -> None:
    options = dataclasses.replace(TILTED, chance=0.3)
    tilted = sum(draw_warp(stream(seed), options, (3, 16, 16)).slices is None for seed in range(400))
    assert tilted == pytest.approx(120, abs=30)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([*TILES, (12, 20, 24), (2, 2, 2)]), st.booleans())
def test_the_box_that_is_needed_is_enough_and_hardly_more(seed: int, tile: tuple[int, ...], tilted: bool) -> None:
    options = dataclasses.replace(TILTED if tilted else FLAT, distort=0.0, flips=True)
    warp = draw_warp(stream(seed), options, tile, (1.5, 1.0, 1.0))
    needed = warp.needed(tile)
    where = [np.concatenate(axis) for axis in zip(*(strip for _, strip in warp.strips((0, 0, 0), tile, 1)), strict=True)]
    for axis, start, stop in zip(where, needed.start, needed.stop, strict=True):
        assert start - 2e-3 <= axis.min()
        assert axis.max() <= stop - 1 + 2e-3
        assert start + 1 > axis.min() - 2e-3
        assert axis.max() + 2e-3 > stop - 2


@pytest.mark.parametrize("options", [FLAT, TILTED])
@pytest.mark.parametrize("tile", TILES)
def test_from_the_needed_box_comes_what_comes_from_the_whole(options: AugmentOptions, tile: tuple[int, ...]) -> None:
    image, target = volume((60, 64, 68))
    place = (22, 20, 21)
    for seed in range(3):
        warp = draw_warp(stream(seed), options, tile)
        box = warp.needed(tile).shift(place)
        if box.clip(image.shape[1:]) != box:
            continue
        whole = warp_volume(image, target, warp, tile, place, "unlabelled")
        part = tuple(array[(slice(None), *box.slices)] for array in (image, target))
        start = Box(place, tile).relative_to(box.start).start
        for a, b in zip(whole, warp_volume(*part, warp, tile, start, "reflect"), strict=True):
            assert np.abs(a.astype(float) - b).max() <= 2  # positions are float32, counted from another corner
            assert (a != b).mean() < 0.02


@pytest.mark.parametrize("options", [FLAT, TILTED, NONE])
@pytest.mark.parametrize("tile", [(16, 16, 16), (3, 112, 100), (1, 70, 130)])
def test_read_piece_by_piece_it_is_the_same(options: AugmentOptions, tile: tuple[int, ...]) -> None:
    image, target = volume((60, 130, 140))
    sources = ArraySource(image), ArraySource(target)
    warp = draw_warp(stream(7), dataclasses.replace(options, distort=0), tile)
    place, asked = (30, 10, 5), []

    def read(box: Box) -> tuple[np.ndarray, np.ndarray]:
        asked.append(box)
        pixels, classes = (source.read(box.shift(place)) for source in sources)
        return pixels, classes

    needed = warp.needed(tile)
    whole = warp_volume(*read(needed), warp, tile, tuple(-a for a in needed.start), "reflect")
    asked.clear()
    for a, b in zip(whole, warp_read(read, warp, tile, "reflect"), strict=True):
        assert a.dtype == b.dtype
        assert np.abs(a.astype(float) - b).max() <= 2
        assert (a != b).mean() < 0.02
    tilted = warp.slices is None and not warp.exact
    assert (len(asked) > 1) == (tilted and min(tile) < 16)
    if len(asked) > 1:  # and it is much less than the box around it all
        assert sum(box.volume for box in asked) < 0.75 * needed.volume


def test_a_single_slice_may_be_turned_every_way() -> None:
    image, target = volume((1, 24, 24), dtype=np.float32)
    for options in (AugmentOptions(chance=1.0, distort=0.3), dataclasses.replace(TILTED, tilt=30.0)):
        new, labels = augment(image[None], target[None], options, (1, 24, 24), [5])
        assert new.shape == labels.shape == (1, 1, 1, 24, 24)
        assert np.isfinite(new).all()


def test_blur_and_noise_of_volumes() -> None:
    image = np.zeros((1, 1, 9, 9, 9), np.float32)
    image[..., 4, 4, 4] = 1
    target = np.zeros(image.shape, np.uint8)
    blurred, _ = augment(image, target, dataclasses.replace(NONE, blur=1.0, chance=1.0), (9, 9, 9), [3])
    assert blurred.sum() == pytest.approx(1, abs=1e-3)
    for axis in range(3):  # alike along all three
        np.testing.assert_allclose(blurred[0, 0], np.swapaxes(blurred[0, 0], 0, axis), atol=1e-5)
    ramp = np.broadcast_to(np.linspace(0, 1, 32, dtype=np.float32), (1, 1, 32, 32, 32))
    noisy, _ = augment(ramp, np.zeros(ramp.shape, np.uint8), dataclasses.replace(NONE, noise=0.1, chance=1.0), (32,) * 3, [3])
    assert 0.001 < (noisy - ramp).std() < 0.1
    assert abs((noisy - ramp).mean()) < 0.002
