"""Holes: where they lie, what fills them, and that targets stay."""

import dataclasses

import numpy as np
import pytest

from malpighi.errors import RecipeError
from malpighi.sampling.augment import PRESETS, AugmentOptions, augment
from malpighi.sampling.cutout import Holes, cut, draw_holes
from malpighi.sampling.seeds import stream
from malpighi.sampling.stain_transfer import Restain

HOLES = dataclasses.replace(PRESETS["none"], chance=1.0, cutout=0.25, cutout_holes=3)


def hole(fill: str, white: tuple[float, ...] = ()) -> Holes:
    return Holes(np.array([[0.0, 0.25, 0.5]]), np.array([[1.0, 0.5, 1.0]]), fill, white)


def test_a_hole_lies_where_its_parts_of_the_sides_say() -> None:
    assert hole("black").boxes((8, 4)) == [(slice(2, 4), slice(2, 4))]
    assert hole("black").boxes((2, 8, 4)) == [(slice(0, 2), slice(2, 4), slice(2, 4))]
    assert hole("black").boxes((1, 1)) == [(slice(0, 1), slice(0, 1))]


@pytest.mark.parametrize(("fill", "expected"), [("black", [0, 0, 0]), ("mean", [3, 20, 30]), ("white", [240, 230, 220])])
def test_fills_of_8_bit_images(fill: str, expected: list[int]) -> None:
    image = np.stack([np.full((4, 4), v, np.uint8) for v in (0, 20, 30)])
    image[0, 0, 0] = 48  # the mean of the first channel is 3
    kept = image.copy()
    cut(image, hole(fill, (240, 230, 220)))
    np.testing.assert_array_equal(image[:, 1:2, 2:], np.broadcast_to(np.array(expected)[:, None, None], (3, 1, 2)))
    image[:, 1:2, 2:] = kept[:, 1:2, 2:]
    np.testing.assert_array_equal(image, kept)


def test_black_of_other_types_is_the_darkest_value() -> None:
    image = np.linspace(-3, 5, 32, dtype=np.float32).reshape(2, 4, 4)
    cut(image, hole("black"))
    assert (image[:, 1, 2:] == -3).all()


def test_tensors_are_cut_alike() -> None:
    torch = pytest.importorskip("torch")
    for dtype in (np.uint8, np.float32):
        array = np.random.default_rng(0).integers(0, 255, (3, 8, 8)).astype(dtype)
        for fill in ("black", "mean", "white"):
            one, two = array.copy(), torch.from_numpy(array.copy())
            cut(one, hole(fill, (250.0, 240.0, 230.0)))
            cut(two, hole(fill, (250.0, 240.0, 230.0)))
            np.testing.assert_allclose(one, two.numpy(), rtol=1e-6)


def test_drawn_holes_are_at_most_as_large_and_as_many_as_asked() -> None:
    counts = set()
    for seed in range(30):
        holes = draw_holes(stream(seed), HOLES)
        counts.add(len(holes.low))
        assert ((holes.high - holes.low) <= 0.25 + 1e-9).all()
        assert holes.low.min() >= 0
        assert holes.high.max() <= 1
    assert counts == {1, 2, 3}


@pytest.mark.parametrize("shape", [(32, 32), (8, 16, 16)])
def test_targets_stay_and_the_image_outside_too(shape: tuple[int, ...]) -> None:
    images = np.full((2, 3, *shape), 100, np.uint8)
    targets = np.ones((2, 1, *shape), np.uint8)
    new, labels = augment(images, targets, HOLES, shape, [1, 2])
    np.testing.assert_array_equal(labels, targets)
    assert set(np.unique(new)) == {0, 100}
    assert 0 < (new == 0).mean() < 0.2


def test_white_is_that_of_each_slide() -> None:
    images, targets = np.full((2, 3, 32, 32), 100, np.uint8), np.ones((2, 1, 32, 32), np.uint8)
    options = dataclasses.replace(HOLES, cutout_fill="white")
    with pytest.raises(ValueError, match="restains"):
        augment(images, targets, options, (32, 32), [1, 2])
    given = [Restain(white=(240, 230, 220)), Restain(white=(250, 250, 250))]
    new, _ = augment(images, targets, options, (32, 32), [1, 2], restains=given)
    assert set(np.unique(new[0])) == {100, 220, 230, 240}
    assert set(np.unique(new[1])) == {100, 250}


def test_words_and_kinds_of_images_are_checked() -> None:
    with pytest.raises(RecipeError, match=r"cutout_fill is 'grey'; use 'black' or 'mean' or 'white'"):
        AugmentOptions(cutout_fill="grey")  # type: ignore[arg-type]
    volumes = np.zeros((1, 3, 4, 8, 8), np.uint8)
    with pytest.raises(RecipeError, match=r"8-bit RGB images; the images are 3 × uint8 with 3 axes"):
        augment(volumes, volumes, dataclasses.replace(HOLES, cutout_fill="white"), (4, 8, 8), [1])
