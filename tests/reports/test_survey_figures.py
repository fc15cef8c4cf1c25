import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from malpighi.reports.survey_figures import count_bars, intensity_lines, labelled_picture, share_dots, size_scatter


def drawn(figure: Figure) -> Figure:
    figure.savefig(io.BytesIO(), format="png")  # layout problems show only when drawn
    return figure


def test_bars_stand_for_the_counts_and_the_rest_is_one_bar():
    figure = drawn(count_bars({f"donor {i}": 30 - i for i in range(10)}, most=4))
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [30, 29, 28, 27, 26 + 25 + 24 + 23 + 22 + 21]
    assert axes.get_yticklabels()[-1].get_text() == "6 others"


def test_one_dot_a_size():
    axes = drawn(size_scatter([(10, 20), (10, 20), (3, 1000)])).axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[1000, 3], [20, 10]]
    assert axes.get_xscale() == "log"


def test_intensities_add_up_to_all_pixels():
    values = [np.array([[0.0, 255, 255, 3], [9, 9, 9, np.nan]])]
    axes = drawn(intensity_lines(values, ("red", "green"), "uint8")).axes[0]
    outlines = [patch for patch in axes.patches if not patch.get_fill()]
    assert [round(patch.get_data().values.sum(), 6) for patch in outlines] == [100, 100]
    assert outlines[0].get_data().edges[-1] == 256


def test_share_dots_are_per_cent():
    axes = drawn(share_dots({"tuft": [0.1, 0.3], "capsule": [0.5]})).axes[0]
    np.testing.assert_allclose(axes.collections[0].get_offsets()[:, 0], [10, 30])


def test_pictures_show_labels_and_what_nobody_said():
    image = np.full((3, 40, 60), 200, np.uint8)
    layers = np.zeros((2, 40, 60), np.uint8)
    layers[0, 10:20, 10:20] = 1
    layers[1] = 255

    def picture(layers):
        return np.asarray(Image.open(io.BytesIO(labelled_picture(image, layers, [(0, 255, 0), (255, 0, 0)]))))

    plain, labelled, silent = picture(None), picture(layers), picture(np.full_like(layers, 255))
    assert (plain == 200).all()
    assert labelled[10, 10].tolist() == [0, 255, 0]
    assert labelled[9, 9].tolist() == [255, 255, 255]
    assert (labelled[30:, 30:] == 200).all()
    assert (silent != 200).any(axis=2).all()


def test_volumes_are_shown_by_their_fullest_slice():
    image = np.zeros((1, 5, 20, 30), np.uint8)
    image[0, 3] = np.arange(600).reshape(20, 30) % 200
    layers = np.zeros((1, 5, 20, 30), np.uint8)
    layers[0, 3, 2:4, 2:4] = 1
    picture = np.asarray(Image.open(io.BytesIO(labelled_picture(image, layers, [(0, 255, 0)]))))
    assert picture.shape == (20, 30, 3)
    assert picture[10:].std() > 10
