"""The slide phantom: a function of place, with exact truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import box as rectangle

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.phantoms import SlidePhantom

SMALL = SlidePhantom((1600, 1600), seed=3)


@settings(max_examples=12, deadline=None)
@given(st.tuples(st.integers(-60, 1000), st.integers(-60, 1000)), st.tuples(st.integers(1, 200), st.integers(1, 200)))
def test_a_pixel_does_not_depend_on_the_box_it_is_rendered_with(start, size):
    whole = Box((-60, -60), (1300, 1300))
    box = Box(start, size)
    expected = SMALL.render(whole)[(slice(None), *box.relative_to(whole.start).slices)]
    np.testing.assert_array_equal(SMALL.render(box), expected)


def test_blocks_fit_together():
    picture = SMALL.render(Box((400, 400), (300, 800))).astype(int)
    step = np.abs(np.diff(picture, axis=2)).mean(axis=(0, 1))
    seam = 1024 - 400 - 1  # between the last column of one block and the first of the next
    assert step[seam] < 1.5 * np.median(step)


def test_the_same_seed_gives_the_same_slide_and_another_another():
    box = Box((500, 500), (200, 200))
    again = SlidePhantom((1600, 1600), seed=3)
    np.testing.assert_array_equal(SMALL.render(box), again.render(box))
    assert [s.id for s in SMALL.truth()] == [s.id for s in again.truth()]
    other = SlidePhantom((1600, 1600), seed=4)
    assert (SMALL.render(box) != other.render(box)).mean() > 0.5
    assert [s.geometry.wkt for s in SMALL.truth()] != [s.geometry.wkt for s in other.truth()]


@pytest.mark.parametrize("period", [None, 4096])
def test_outlines_are_valid_disjoint_and_on_the_slide(period):
    phantom = SlidePhantom((9000, 7000), seed=1, period=period)
    shapes = [s.geometry for s in phantom.truth()]
    assert len(shapes) > 100
    assert all(g.is_valid for g in shapes)
    assert all(rectangle(0, 0, 7000, 9000).contains(g) for g in shapes)
    from shapely import STRtree

    left, right = STRtree(shapes).query(shapes, predicate="dwithin", distance=20)
    assert (left == right).all()
    diameters = [2 * np.sqrt(g.area / np.pi) for g in shapes]
    assert 130 < min(diameters) <= max(diameters) < 215  # µm, as in human kidney


def test_a_tuft_lies_within_its_glomerulus():
    phantom = SlidePhantom((5000, 5000), seed=2)
    pairs = list(zip(phantom.truth("glomerulus"), phantom.truth("tuft"), strict=True))
    assert pairs
    assert all(g.geometry.contains(t.geometry) for g, t in pairs)


@pytest.mark.parametrize("label", ["glomerulus", "tuft"])
def test_mask_and_outlines_are_the_same_geometry(label):
    from skimage.draw import polygon2mask

    box = Box((300, 250), (900, 1000))
    expected = np.zeros(box.size, bool)
    for shape in SMALL.truth(label):
        x, y = shape.geometry.exterior.coords.xy
        expected |= polygon2mask(box.size, np.stack([np.array(y) - 300.5, np.array(x) - 250.5], 1))
    mask = SMALL.truth_mask(box, label)
    assert mask.any()
    assert (mask.astype(bool) != expected).sum() < 1e-3 * expected.sum()  # chords instead of arcs


def test_what_is_drawn_lies_where_the_truth_says():
    """Bowman's space, between capsule and tuft, is glass-bright; tuft and tubules are not."""
    picture = SMALL.render(Box((0, 0), (1600, 1600))).min(0)
    box = Box((0, 0), (1600, 1600))
    whole, tuft = SMALL.truth_mask(box, "glomerulus").astype(bool), SMALL.truth_mask(box, "tuft").astype(bool)
    from scipy.ndimage import binary_erosion

    space = binary_erosion(whole, iterations=7) & ~tuft
    assert np.median(picture[space]) > 200
    assert np.median(picture[tuft]) < 160
    capsule = whole & ~binary_erosion(whole, iterations=3)
    assert np.median(picture[capsule]) < np.median(picture[space]) - 20


def test_a_colour_threshold_does_not_find_glomeruli():
    """Some scar, vessel and tubule is as dark as a tuft: no grey level separates the classes."""
    box = Box((0, 0), (1600, 1600))
    grey, tuft = SMALL.render(box).mean(0), SMALL.truth_mask(box, "tuft").astype(bool)
    dice = [2 * (tuft & (grey < t)).sum() / (tuft.sum() + (grey < t).sum()) for t in range(60, 220, 10)]
    assert max(dice) < 0.6


@pytest.mark.parametrize("shape", [(8000, 8000), (40000, 20000), (100_000, 100_000)])
def test_glass_is_a_third_to_a_half_of_a_large_slide(shape):
    layout = SlidePhantom(shape, seed=6).layout
    y, x = (np.linspace(0, n, 200) for n in shape)
    assert 0.3 < (layout.depth(y[:, None], x[None]) < 0).mean() < 0.55


def test_glass_is_near_white_and_beyond_the_slide_too():
    for start in [(0, 0), (-700, -900), (5000, 5000)]:
        assert SlidePhantom((5000, 5000)).render(Box(start, (64, 64))).min() > 215


def test_with_a_period_the_inside_repeats():
    phantom = SlidePhantom((9000, 9000), seed=5, period=2048)
    a, b = (phantom.render(Box((2500 + d, 3000), (600, 900))) for d in (0, 2048))
    np.testing.assert_array_equal(a, b)
    masks = [phantom.truth_mask(Box((2500 + d, 3000), (600, 900))) for d in (0, 2048)]
    np.testing.assert_array_equal(*masks)
    assert masks[0].any()


def test_with_a_period_truth_is_exact_where_blocks_are_copies():
    phantom = SlidePhantom((9000, 9000), seed=5, period=2048)
    box = Box((3900, 3900), (800, 800))
    tuft = phantom.truth_mask(box, "tuft").astype(bool)
    ring = phantom.truth_mask(box, "glomerulus").astype(bool) & ~tuft
    picture = phantom.render(box).min(0)
    assert np.median(picture[ring]) > np.median(picture[tuft]) + 40


def test_micrometres_per_pixel_scale_what_is_drawn():
    coarse, fine = (
        [s.geometry.area * u * u for s in SlidePhantom((int(4000 / u),) * 2, seed=1, spacing=u).truth()] for u in (2.0, 0.5)
    )
    np.testing.assert_allclose(np.median(coarse), np.median(fine), rtol=0.02)


def test_stains_differ_in_colour():
    box = Box((600, 600), (256, 256))
    dab, pas = (
        SlidePhantom((1600, 1600), seed=3, stain=stain, variation=0).render(box).astype(float).mean((1, 2))
        for stain in ("dab", "pas")
    )
    assert pas[1] < min(pas[0], pas[2]) - 15  # purple: green is absorbed
    assert abs(dab[1] - dab[0]) < 15  # brown and blue on near-white: green is not


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"shape": (10,)}, "height, width"),
        ({"stain": "giemsa"}, "pas, he, dab"),
        ({"spacing": 0.0}, "0.2 to 4"),
        ({"density": 2.0}, "0 to 0.95"),
        ({"period": 1000}, "multiple of 1024"),
    ],
)
def test_wrong_options_say_what_is_allowed(wrong, says):
    with pytest.raises(DataError, match=says):
        SlidePhantom(**({"shape": (100, 100)} | wrong))


def test_unknown_class_is_named():
    with pytest.raises(DataError, match="glomerulus, tuft"):
        SMALL.truth_mask(Box((0, 0), (4, 4)), "tubule")
