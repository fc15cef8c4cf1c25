"""Pictures of volumes for the reports of segment and evaluate."""

import numpy as np
import pytest

from malpighi.annotations.masks import MaskAnnotation
from malpighi.geometry import Spacing
from malpighi.images.array import ArraySource
from malpighi.reports.html import Report
from malpighi.tasks.pictures import comparison_picture, volume_pictures


@pytest.fixture
def volume():
    rng = np.random.default_rng(0)
    source = ArraySource.gray(rng.integers(0, 255, (8, 40, 40), np.uint8), Spacing.um((3, 1, 1), 3))
    truth = np.zeros((8, 40, 40), np.uint8)
    truth[2:6, 10:30, 10:20] = 1
    annotations = [
        MaskAnnotation(ArraySource.gray(array), source.space, ("vessel",)) for array in (truth, np.roll(truth, 3, axis=2))
    ]
    return source, *annotations


def test_a_prediction_alone_and_beside_the_truth(volume):
    source, truth, prediction = volume
    alone = volume_pictures(source, None, prediction)
    both = volume_pictures(source, truth, prediction, [("vessel", 0, 0)])
    assert len(alone) == len(both) == 3
    page = Report("p").section("A")
    for caption, picture in both.items():
        page.figure(picture, caption)
    html = page.html()
    assert html.count('data-view="slices"') >= 1
    assert '"too much"' in html
    assert "Vessel: in three dimensions" in html


def test_an_image_alone_has_slices_and_no_surfaces(volume):
    assert len(volume_pictures(volume[0])) == 2


def test_images_of_two_axes_have_no_such_views():
    assert volume_pictures(ArraySource.gray(np.zeros((8, 8), np.uint8))) == {}


def test_comparison_of_a_volume_is_a_sheet(volume):
    assert comparison_picture(*volume, {"vessel": (0, 0)}).startswith(b"\x89PNG")
