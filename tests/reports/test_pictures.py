"""Figures of pixels: what each panel shows, on arrays small enough to check by hand."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from malpighi.geometry import Spacing
from malpighi.reports.colors import FALSE_NEGATIVE, FALSE_POSITIVE, class_colors
from malpighi.reports.display import display_rgb, middle_slice, shrink
from malpighi.reports.embed import png
from malpighi.reports.pictures import agreement, augmented_samples, comparison, hatch, overlay, overview, round_length

GREY = np.full((8, 8, 3), 128, np.uint8)


def panels(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_eight_bit_colours_are_shown_as_they_are():
    image = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    assert (display_rgb(image) == np.moveaxis(image, 0, -1)).all()


def test_sixteen_bits_are_stretched_between_percentiles():
    image = np.linspace(1000, 3000, 10_000).reshape(1, 100, 100).astype(np.uint16)
    image[0, 0, 0] = 65535  # a hot pixel must not darken the rest
    shown = display_rgb(image)
    assert shown.shape == (100, 100, 3)
    assert shown[0, 1].tolist() == [0, 0, 0]
    assert shown[-1, -1].tolist() == [255, 255, 255]
    assert abs(int(shown[50, 0, 0]) - 128) <= 2


@pytest.mark.parametrize(
    ("channels", "channel", "color"),
    [(2, 0, (0, 255, 0)), (2, 1, (255, 0, 255)), (4, 0, (255, 0, 0)), (4, 2, (0, 0, 255)), (4, 3, (255, 255, 0))],
)
def test_channels_are_coloured_lights(channels, channel, color):
    image = np.zeros((channels, 4, 4), np.uint16)
    image[channel, 1:3, 1:3] = 500
    assert tuple(display_rgb(image)[1, 1]) == color


def test_normalised_colours_keep_their_order_and_nan_is_harmless():
    image = np.stack([np.full((4, 4), v, np.float32) for v in (-2.0, 0.0, 2.0)])
    image[0, 0, 0] = np.nan
    shown = display_rgb(image)
    assert shown[2, 2, 0] < shown[2, 2, 1] < shown[2, 2, 2]


def test_labels_shrink_without_new_values_and_images_by_area():
    labels = np.zeros((1, 100, 200), np.uint8)
    labels[:, :, 100:] = 1
    labels[:, 50:] = 255
    assert set(np.unique(shrink(labels, 50))) == {0, 1, 255}
    assert shrink(labels, 50).shape == (1, 25, 50)
    image = np.tile(np.array([0, 200], np.uint8), (3, 100, 50))
    assert (shrink(image, 50) == 100).all()
    assert shrink(image, 100) is image


def test_of_a_volume_the_slice_with_most_truth_is_shown():
    truth = np.zeros((1, 5, 4, 4), np.uint8)
    truth[0, 3, :2] = 1
    image = np.broadcast_to(np.arange(5, dtype=np.uint8)[None, :, None, None], (1, 5, 4, 4))
    assert (middle_slice(image, truth, truth)[0] == 3).all()
    assert (middle_slice(image, truth * 0, truth)[0] == 2).all()
    assert comparison(image, truth, truth, ["vessel"]).axes


def test_agreement_paints_each_kind_of_error():
    truth = np.zeros((1, 8, 8), np.uint8)
    truth[0, :4] = 1
    truth[0, :, 6:] = 255
    prediction = np.zeros((1, 8, 8), bool)
    prediction[0, 2:6] = True
    shown = agreement(GREY, truth, prediction).astype(int)
    background = shown[7, 0]
    assert np.abs(shown[0, 0] - FALSE_NEGATIVE).max() < 40
    assert np.abs(shown[5, 0] - FALSE_POSITIVE).max() < 40
    assert (shown[3, 0] != background).any()
    assert (shown[:, 6:] == background).all()  # unlabelled: neither right nor wrong


def test_wrong_in_one_class_beats_right_in_another():
    truth = np.stack([np.ones((8, 8)), np.zeros((8, 8))]).astype(np.uint8)
    shown = agreement(GREY, truth, np.ones((2, 8, 8), bool)).astype(int)
    assert np.abs(shown[0, 0] - FALSE_POSITIVE).max() < 40


def test_overlay_edges_are_the_classes_colour_and_the_rest_only_fades():
    mask = np.zeros((1, 20, 20), bool)
    mask[0, 4:16, 4:16] = True
    shown = overlay(np.full((20, 20, 3), 128, np.uint8), mask, [(10, 20, 30)])
    assert shown[4, 4].tolist() == shown[15, 10].tolist() == [10, 20, 30]
    assert shown[0, 0].tolist() == [154, 154, 154]  # 128 · .75 + 235 · .25
    assert 10 < shown[10, 10, 0] < 154


def test_masks_that_reach_the_border_have_no_edge_there():
    shown = overlay(GREY, np.ones((1, 8, 8), bool), [(255, 0, 0)])
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 1


def test_hatch_changes_only_what_is_unlabelled():
    where = np.zeros((8, 8), bool)
    where[:, 4:] = True
    shown = hatch(GREY, where)
    assert (shown[:, :4] == 128).all()
    assert len(np.unique(shown[:, 4:].reshape(-1, 3), axis=0)) == 2  # stripe and gap


def test_comparison_says_what_the_truth_speaks_of():
    image = np.zeros((3, 16, 16), np.uint8)
    truth = np.stack([np.ones((16, 16)), np.full((16, 16), 255)]).astype(np.uint8)
    figure = comparison(image, truth, truth == 1, ["tuft", "capsule"], caption="case <1>")
    assert titles(figure) == ["Image", "Truth of tuft", "Prediction", "Agreement"]
    assert legend(figure) == ["tuft", "capsule", "right", "too much", "missed"]
    assert figure.get_suptitle() == "case <1>"


def test_comparison_hatches_where_no_class_is_labelled():
    truth = np.full((1, 16, 16), 255, np.uint8)
    truth[0, :8] = 0
    figure = comparison(np.zeros((1, 16, 16), np.uint16), truth, truth * 0, ["cell"])
    assert legend(figure)[-1] == "not labelled"
    assert len(np.unique(panels(figure)[1][8:].reshape(-1, 3), axis=0)) > 1


def test_scale_bar_only_where_the_size_is_known():
    image, mask = np.zeros((3, 50, 100), np.uint8), np.zeros((1, 50, 100), np.uint8)
    written = {
        spacing: [text.get_text() for text in comparison(image, mask, mask, ["a"], spacing=spacing).axes[0].texts]
        for spacing in (None, Spacing.pixels(2), Spacing.um(0.5), Spacing.um(500))
    }
    assert list(written.values()) == [[], [], ["10 µm"], ["10 mm"]]


def test_scale_bar_is_as_long_as_it_says_after_shrinking():
    image, mask = np.zeros((3, 640, 1280), np.uint8), np.zeros((1, 640, 1280), np.uint8)
    axes = comparison(image, mask, mask, ["a"], spacing=Spacing.um(0.5)).axes[0]
    assert axes.texts[0].get_text() == "100 µm"
    assert axes.patches[-1].get_width() == pytest.approx(100 / (0.5 * 2))  # 1,280 pixels shown as 640


@pytest.mark.parametrize(("about", "length"), [(1, 1), (1.99, 1), (2, 2), (4.9, 2), (5, 5), (99, 50), (100, 100), (0.07, 0.05)])
def test_round_length(about, length):
    assert round_length(about) == pytest.approx(length)


def test_augmented_samples_before_over_after():
    images = np.zeros((8, 3, 16, 16), np.uint8)
    targets = np.zeros((8, 1, 16, 16), np.uint8)
    assert len(panels(augmented_samples(images, targets))) == 6
    both = augmented_samples(images, targets, before=images, limit=3)
    assert len(panels(both)) == 6
    assert [title for title in titles(both) if title] == ["Before", "After"]
    assert len(panels(augmented_samples(images[:1], targets[:1]))) == 1
    assert len(panels(augmented_samples(np.zeros((2, 1, 4, 16, 16), np.float32), np.zeros((2, 1, 4, 16, 16), np.uint8)))) == 2


def test_of_thin_and_thick_tiles_the_central_slice_is_shown_before_and_after():
    for depth in (5, 6):
        images = np.zeros((1, 3, depth, 16, 16), np.uint8)
        images[0, :, depth // 2] = 200
        targets = np.zeros((1, 1, depth, 16, 16), np.uint8)
        targets[0, 0, 0] = 1  # not the slice with most truth
        before, after = panels(augmented_samples(images, targets, before=images))
        assert (before == 200).all()
        assert (after == 200).all()


def test_overview_draws_every_ring_in_its_colour():
    ring = np.array([[2, 2], [8, 2], [8, 8]])
    figure = overview(np.zeros((3, 20, 30), np.uint8), {"tuft": [ring, ring + 5], "capsule": []}, spacing=Spacing.um(10))
    assert legend(figure) == ["tuft", "capsule"]
    drawn = [c.get_paths() for c in figure.axes[0].collections]
    assert [len(paths) for paths in drawn] == [2, 2, 0, 0]  # white under colour
    assert drawn[0][0].vertices[0].tolist() == drawn[0][0].vertices[-1].tolist()


def test_pictures_render_with_a_transparent_ground():
    data = png(comparison(np.zeros((3, 16, 16), np.uint8), *[np.zeros((1, 16, 16), np.uint8)] * 2, ["a"]), dpi=60)
    rendered = np.asarray(Image.open(io.BytesIO(data)))
    assert rendered.shape[-1] == 4
    assert rendered[0, -1, 3] == 0


def test_class_colours_are_distinct_and_keep_their_place():
    names = [f"class {i}" for i in range(25)]
    colors = class_colors(names)
    assert len(set(colors.values())) == 25
    assert class_colors(names[:3]) == {name: colors[name] for name in names[:3]}
    assert all(0 <= value <= 255 for color in colors.values() for value in color)


@pytest.mark.real_data
def test_a_real_gland_image_against_itself_is_all_right(real):
    path = sorted((real / "colon_glands" / "masks").iterdir())[0]
    mask = (np.asarray(Image.open(path).convert("L")) > 127).astype(np.uint8)[None]
    image = np.moveaxis(np.asarray(Image.open(path.parents[1] / "images" / path.name).convert("RGB")), -1, 0)
    shown = panels(comparison(image, mask, mask, ["gland"]))
    assert (shown[1] == shown[2]).all()
    for color in (FALSE_POSITIVE, FALSE_NEGATIVE):
        assert not (np.abs(shown[3].astype(int) - color).max(axis=-1) < 40).any()
