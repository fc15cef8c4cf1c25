"""Two tiles in one: seams, shares, partners."""

import dataclasses

import numpy as np
import pytest

from malpighi.errors import RecipeError
from malpighi.sampling.augment import PRESETS, AugmentOptions
from malpighi.sampling.mix import Mix, check_mixing, cutmix_box, draw_mix, mix, mix_pair, pyramid_blend
from malpighi.sampling.seeds import stream

NONE = PRESETS["none"]


def tile(seed: int, shape: tuple[int, ...] = (64, 64), channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (channels, *shape)).astype(dtype)


@pytest.mark.parametrize("shape", [(64, 64), (65, 97), (33, 70), (9, 11)])
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("upright", [True, False])
def test_equal_images_give_the_very_image(shape: tuple[int, ...], channels: int, upright: bool) -> None:
    image = tile(0, shape, channels)
    np.testing.assert_array_equal(pyramid_blend(image, image, upright), image)


@pytest.mark.parametrize("shape", [(256, 256), (255, 301)])
@pytest.mark.parametrize("upright", [True, False])
def test_far_from_the_seam_each_half_is_its_source(shape: tuple[int, ...], upright: bool) -> None:
    first, second = tile(1, shape), tile(2, shape)
    joined = pyramid_blend(first, second, upright).astype(int)
    n = shape[1] if upright else shape[0]
    ends = (np.s_[:, :, : n // 8], np.s_[:, :, -(n // 8) :]) if upright else (np.s_[:, : n // 8], np.s_[:, -(n // 8) :])
    assert np.abs(joined[ends[0]] - first[ends[0]]).max() <= 1
    assert np.abs(joined[ends[1]] - second[ends[1]]).max() <= 1


def test_a_seam_is_smooth_where_a_cut_is_a_step() -> None:
    dark, bright = np.full((1, 128, 128), 40, np.uint8), np.full((1, 128, 128), 200, np.uint8)
    joined = pyramid_blend(dark, bright, True)[0].astype(int)
    steps = np.diff(joined, axis=1)
    assert steps.max() < 20
    assert joined.min() >= 40
    assert joined.max() <= 200
    assert abs(joined[64, 60:68].mean() - 120) < 10  # the seam lies in the middle
    np.testing.assert_array_equal(joined, joined[:1].repeat(128, 0))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_other_types_are_kept(dtype: type) -> None:
    first, second = tile(1, dtype=dtype) * 10, tile(2, dtype=dtype) * 10
    joined = pyramid_blend(first, second, False)
    assert joined.dtype == dtype
    assert joined.shape == first.shape


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("upright", [True, False])
def test_targets_of_a_blend_are_half_and_half(first: bool, upright: bool) -> None:
    own = (tile(1), np.zeros((2, 64, 64), np.uint8))
    other = (tile(2), np.full((2, 64, 64), 255, np.uint8))
    _, target = mix_pair(own, other, Mix("blend", 1, upright, first))
    halves = (target[..., :32], target[..., 32:]) if upright else (target[:, :32], target[:, 32:])
    mine, theirs = halves if first else halves[::-1]
    assert (mine == 0).all()
    assert (theirs == 255).all()


def test_cutmix_puts_a_box_of_image_and_target_in() -> None:
    one = Mix("cutmix", 1, share=0.75, place=(0.5, 0.5))
    rows, columns = cutmix_box((40, 80), one)
    assert (rows, columns) == (slice(10, 30), slice(20, 60))  # a quarter of the area, in the middle
    own, other = (tile(1, (40, 80)), np.zeros((1, 40, 80), np.uint8)), (tile(2, (40, 80)), np.ones((1, 40, 80), np.uint8))
    kept = own[0].copy()
    image, target = mix_pair(own, other, one)
    assert target.sum() == 20 * 40
    inside = target[0] == 1
    np.testing.assert_array_equal(image[:, inside], other[0][:, inside])
    np.testing.assert_array_equal(image[:, ~inside], kept[:, ~inside])
    np.testing.assert_array_equal(own[0], kept)


def test_mixup_is_the_weighted_mean_and_unlabelled_where_either_is() -> None:
    image, image2 = np.full((1, 2, 2), 100, np.uint8), np.full((1, 2, 2), 200, np.uint8)
    target = np.array([[[1, 0], [1, np.nan]]], np.float32)
    target2 = np.array([[[1, 1], [np.nan, 0]]], np.float32)
    mean, share = mix_pair((image, target), (image2, target2), Mix("mixup", 1, share=0.75))
    assert (mean == 125).all()
    np.testing.assert_array_equal(share, np.array([[[1, 0.25], [np.nan, np.nan]]], np.float32))
    with pytest.raises(ValueError, match="float32 shares"):
        mix_pair((image, np.nan_to_num(target).astype(np.uint8)), (image2, target2), Mix("mixup", 1))


def test_partners_follow_the_tiles_in_a_batch() -> None:
    images = np.stack([np.full((1, 8, 8), v, np.uint8) for v in (10, 20, 30, 40, 50)])
    targets = np.zeros((5, 1, 8, 8), np.float32)
    mixes = [None, Mix("mixup", 7, share=0.5), Mix("mixup", 9, share=0.5)]
    new, labels = mix(images, targets, mixes)
    assert new[:, 0, 0, 0].tolist() == [10, 30, 40]
    assert labels.shape == (3, 1, 8, 8)


ORGANS = ("kidney", "lung", "lung", "spleen", "unknown")


def organ(number: int) -> str:
    return ORGANS[number % len(ORGANS)]


def test_a_partner_is_another_sample_with_the_same_value_and_always_the_same_one() -> None:
    options = dataclasses.replace(NONE, blend=1.0)
    for number in range(20):
        drawn = draw_mix(options, 3, number, organ)
        assert drawn == draw_mix(options, 3, number, organ)
        if drawn is not None:  # a rare value may not be met
            assert number < drawn.partner <= number + 4096  # so that the rounds of a shuffled grid need not all be made
            assert organ(number) in ("unknown", organ(drawn.partner))
    partners = {draw_mix(options, 3, 4, organ), draw_mix(options, 4, 4, organ)}
    assert len(partners) == 2


def test_a_tile_whose_value_no_other_has_stays_unmixed_and_none_is_asked_for_where_any_will_do() -> None:
    options = dataclasses.replace(NONE, cutmix=1.0)
    assert draw_mix(options, 0, 0, lambda n: "kidney" if n == 0 else "lung") is None

    def never(_: int) -> str:
        raise AssertionError

    assert draw_mix(dataclasses.replace(options, same=""), 0, 0, never) is not None


def test_chances_are_kept_and_the_first_hit_wins() -> None:
    options = dataclasses.replace(NONE, blend=0.25, cutmix=0.5, same="")
    how = [one.how if one else "" for one in (draw_mix(options, 0, n, organ) for n in range(800))]
    assert how.count("blend") / 800 == pytest.approx(0.25, abs=0.05)
    assert how.count("cutmix") / 800 == pytest.approx(0.375, abs=0.05)
    assert draw_mix(NONE, 0, 0, organ) is None
    seams = {
        draw_mix(dataclasses.replace(NONE, blend=1.0, same="", blend_seam="vertical"), 0, n, organ).upright for n in range(9)
    }
    assert seams == {True}


@pytest.mark.parametrize("key", range(1, 7))
def test_which_tiles_are_mixed_does_not_follow_from_how_their_boxes_were_drawn(key: int) -> None:
    options = dataclasses.replace(NONE, blend=0.5, same="")
    mixed = [draw_mix(options, 9, n, organ) is not None for n in range(600)]
    drawn = [stream(9, n, key).random() < 0.5 for n in range(600)]  # as samplers draw with a share of a half
    assert np.equal(mixed, drawn).mean() == pytest.approx(0.5, abs=0.08)


def test_objects_and_volumes_are_refused() -> None:
    for name in ("blend", "cutmix", "mixup"):
        options = AugmentOptions(**{name: 0.5})
        check_mixing(options, "none")
        with pytest.raises(RecipeError, match=rf"augment\.{name} = 0\.5 with instances\.kind 'flow'"):
            check_mixing(options, "flow")
