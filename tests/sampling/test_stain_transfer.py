"""From one image's stains to another's: to itself nothing changes; to others what was promised agrees."""

import numpy as np
import pytest
from skimage.exposure import match_histograms

from malpighi.sampling.colour import Colour, apply_colour, toned
from malpighi.sampling.stain_fit import AXES, densities, fit_staining
from malpighi.sampling.stain_transfer import after, blended, matching, transfer
from sampling.stained import HE, PAS, degrees, pixels, stained

BY = ["macenko", "vahadane", "reinhard"]


def shown(image: np.ndarray, colour: Colour) -> np.ndarray:
    changed = np.array(image.transpose(1, 2, 0), order="C")  # a copy
    apply_colour(changed, colour)
    return changed.transpose(2, 0, 1)


@pytest.mark.parametrize("by", BY)
def test_to_itself_nothing_changes(by: str) -> None:
    image = stained(HE)
    one = fit_staining(pixels(image), by)
    density = transfer(one, one)
    assert density is not None
    np.testing.assert_allclose(density, np.eye(3, 4), atol=1e-9)
    assert np.abs(shown(image, Colour(density)).astype(int) - image).max() <= 1


@pytest.mark.parametrize("by", ["macenko", "vahadane"])
def test_tissue_then_has_the_stains_of_the_target(by: str) -> None:
    source, target = stained(HE, seed=1), stained(PAS, seed=2, strength=0.8)
    a, b = fit_staining(pixels(source), by), fit_staining(pixels(target), by)
    density = transfer(a, b)
    assert density is not None
    again = fit_staining(pixels(shown(source, Colour(density))), by)
    assert degrees(again.vectors, PAS).max() < 3
    np.testing.assert_allclose(again.amounts, b.amounts, rtol=0.08)
    glass = source.min(0) > 250
    assert shown(source, Colour(density))[:, glass].min() > 240  # glass stays glass


def test_reinhard_gives_tissue_the_moments_of_the_target() -> None:
    a, b = (fit_staining(pixels(stained(v, seed=s)), "reinhard") for v, s in ((HE, 1), (PAS, 2)))
    density = transfer(a, b)
    assert density is not None
    image = pixels(stained(HE, seed=1))
    tissue = image[densities(image).mean(1) > 0.15]
    changed = toned(tissue.T / 255, Colour(density), np)
    moved = -np.log((changed.T * 255 + 1) / 256) @ AXES.T
    np.testing.assert_allclose(moved.mean(0), b.centre, atol=1e-6)
    np.testing.assert_allclose(moved.std(0), b.spread, atol=1e-6)


def test_reinhard_lies_near_the_published_one_of_cone_responses() -> None:
    """Reinhard et al. 2001, equations 4 to 9: RGB → LMS → logarithm → l, α, β, moments matched, and back."""
    cones = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
    source, target = (pixels(stained(v, seed=s)) for v, s in ((HE, 1), (PAS, 2)))
    density = transfer(fit_staining(source, "reinhard"), fit_staining(target, "reinhard"))
    assert density is not None
    tissue, wanted = (image[densities(image).mean(1) > 0.15] for image in (source, target))
    ours = np.clip(toned(tissue.T / 255, Colour(density), np).T * 255, 0, 255)
    there, goal = (np.log10((image + 1) / 256 @ cones.T) @ AXES.T for image in (tissue, wanted))
    moved = (there - there.mean(0)) * goal.std(0) / there.std(0) + goal.mean(0)
    published = np.clip(10 ** (moved @ AXES) @ np.linalg.inv(cones).T * 256 - 1, 0, 255)
    assert np.abs(published - tissue).mean() > 15
    assert np.abs(ours - published).mean() < 5


def test_an_image_without_stains_neither_takes_nor_gives() -> None:
    some = fit_staining(pixels(stained(HE)), "macenko")
    none = fit_staining(np.full((4000, 3), 250, np.uint8), "macenko")
    assert transfer(some, none) is None
    assert transfer(none, some) is None


def test_faint_tissue_is_not_blown_up() -> None:
    faint, strong = (fit_staining(pixels(stained(HE, strength=s)), "macenko") for s in (0.35, 4.0))
    assert faint.vectors is not None
    assert transfer(strong, faint) is not None
    assert transfer(faint, strong) is None


@pytest.mark.parametrize("seed", range(3))
def test_matching_is_that_of_scikit_image(seed: int) -> None:
    source, target = stained(HE, seed=seed), stained(PAS, seed=seed + 9, strength=0.7)
    counts = [fit_staining(pixels(image), "reinhard").counts for image in (source, target)]
    expected = match_histograms(source, target, channel_axis=0)  # which cuts off what follows the point
    for table, channel, matched in zip(matching(*counts), source, expected, strict=True):
        np.testing.assert_array_equal(np.floor(table + 1e-9)[channel], matched)
    np.testing.assert_array_equal(shown(source, Colour(tables=blended(matching(counts[0], counts[0]), 1.0))), source)


def test_a_blend_of_none_is_the_tile_itself() -> None:
    tables = np.zeros((3, 256))
    np.testing.assert_array_equal(blended(tables, 0.0), np.broadcast_to(np.arange(256), (3, 256)))
    np.testing.assert_array_equal(blended(tables, 0.5)[0, [0, 100, 200]], [0, 50, 100])


def test_two_maps_in_one_are_one_after_the_other() -> None:
    rng = np.random.default_rng(0)
    first, values = rng.normal(size=(3, 4)), rng.normal(size=(3, 5))
    once = first[:, :3] @ values + first[:, 3:]
    for then in (None, rng.normal(size=(1, 2)), rng.normal(size=(3, 4))):
        both = after(first, then)
        if then is None:
            expected = once
        elif len(then) == 1:
            expected = once * then[0, 0] + then[0, 1]
        else:
            expected = then[:, :3] @ once + then[:, 3:]
        np.testing.assert_allclose(both[:, :3] @ values + both[:, 3:], expected)


def test_tensors_are_stained_and_matched_alike() -> None:
    torch = pytest.importorskip("torch")
    from malpighi.sampling.colour_torch import apply_colour as on_tensors

    image = stained(HE)
    a, b = fit_staining(pixels(image), "macenko"), fit_staining(pixels(stained(PAS)), "macenko")
    colour = Colour(transfer(a, b), tables=blended(matching(a.counts, b.counts), 0.5))
    expected = shown(image, colour)
    got = on_tensors(torch.from_numpy(image)[None], [colour])[0].numpy()
    assert np.abs(got.astype(int) - expected).max() <= 1
