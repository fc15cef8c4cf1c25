"""Probabilities as labels: what they say of each voxel, soft and hard, and through the wrappers that labels go through."""

import json

import numpy as np
import pytest

from malpighi.annotations.base import UNLABELLED
from malpighi.annotations.combined import CombinedAnnotation
from malpighi.annotations.probabilities import NAME, ProbabilityAnnotation
from malpighi.annotations.region import within_region
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.write import ZarrWriter
from malpighi.sampling.cases import Case, Labels, open_labels
from malpighi.sampling.inclasses import InClasses

VALUES = np.array([[0, 51, 128, 255], [102, 153, 204, 230]], np.uint8)  # 0, .2, .502, 1; .4, .6, .8, .902
WHOLE = Box.of_shape((2, 4))


def written(folder, layers, spacing=None, thresholds=None):
    """Probabilities as a prediction holds them: layers are {class: (y, x) uint8}."""
    spacing = spacing or Spacing.pixels(2)
    arrays = np.stack(list(layers.values()))
    writer = ZarrWriter(folder / NAME, arrays.shape[1:], spacing, np.uint8, channels=tuple(layers))
    writer.write(Box.of_shape(arrays.shape[1:]), arrays)
    writer.finish()
    told = {"spacing": {"values": spacing.values, "unit": spacing.unit}, "classes": thresholds or {}}
    (folder / "manifest.json").write_text(json.dumps(told))
    return folder / NAME


@pytest.fixture
def path(tmp_path):
    return written(tmp_path, {"tuft": VALUES, "capsule": 255 - VALUES}, thresholds={"tuft": 0.7, "capsule": 0.5})


def space(shape=(2, 4)):
    return Space.of_shape(shape, Spacing.pixels(2))


def test_soft_labels_are_the_probabilities_and_their_masks_begin_at_a_half(path):
    labels = ProbabilityAnnotation(path, space(), ("capsule", "tuft"))
    assert labels.soft
    found = labels.probabilities(WHOLE)
    np.testing.assert_allclose(found[1], VALUES / 255, atol=1e-6)
    np.testing.assert_array_equal(labels.rasterise(WHOLE)[1], [[0, 0, 1, 1], [0, 1, 1, 1]])


def test_between_sure_and_its_complement_nobody_says(path):
    labels = ProbabilityAnnotation(path, space(), ("tuft",), 0.8)
    u = UNLABELLED
    np.testing.assert_array_equal(labels.rasterise(WHOLE)[0], [[0, 0, u, 1], [u, u, 1, 1]])
    np.testing.assert_array_equal(np.isnan(labels.probabilities(WHOLE)[0]), labels.rasterise(WHOLE)[0] == u)


def test_hard_labels_take_the_predictions_thresholds(path):
    labels = ProbabilityAnnotation(path, space(), ("tuft",), soft=False)
    assert not labels.soft
    np.testing.assert_array_equal(labels.probabilities(WHOLE)[0], [[0, 0, 0, 1], [0, 0, 1, 1]])


def test_a_box_that_hangs_over_is_background_there(path):
    labels = ProbabilityAnnotation(path, space(), ("tuft",), 0.8)
    found = labels.probabilities(Box((1, 3), (2, 2)))
    np.testing.assert_allclose(found[0], [[230 / 255, 0], [0, 0]], atol=1e-6)


def test_coarser_probabilities_are_interpolated_between_their_centres(tmp_path):
    path = written(tmp_path, {"tuft": np.array([[0, 255]], np.uint8)}, Spacing.pixels(2, 4))
    row = ProbabilityAnnotation(path, space((4, 8)), ("tuft",)).probabilities(Box((0, 0), (1, 8)))[0, 0]
    np.testing.assert_allclose(row, [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1], atol=1 / 255)


def test_softness_passes_through_region_classes_and_files_side_by_side(path):
    soft = ProbabilityAnnotation(path, space(), ("tuft",))
    told = within_region(soft, Box((0, 0), (1, 4)))
    seen = InClasses(told, ("vessel", "tuft"))
    assert told.soft
    assert seen.soft
    found = seen.probabilities(WHOLE)
    assert np.isnan(found[0]).all()
    assert np.isnan(found[1, 1]).all()
    np.testing.assert_allclose(found[1, 0], VALUES[0] / 255, atol=1e-6)
    other = ProbabilityAnnotation(path, space(), ("tuft", "capsule"), soft=False)
    both = CombinedAnnotation("both", (soft, other))
    assert both.soft
    np.testing.assert_allclose(both.probabilities(WHOLE)[0, 0], [0, 0.2, 128 / 255, 1], atol=1e-6)


def test_labels_that_are_no_probabilities_draw_as_0_1_and_nothing():
    from malpighi.annotations.masks import MaskAnnotation
    from malpighi.images.array import ArraySource

    mask = MaskAnnotation(ArraySource(np.array([[[0, 2, 255]]], np.uint8)), space((1, 3)), ("a", "b"))
    assert not mask.soft
    nan = np.nan
    np.testing.assert_array_equal(mask.probabilities(Box.of_shape((1, 3))), [[[0, 0, nan]], [[0, 1, nan]]])


def test_a_case_opens_them(path, tmp_path):
    case = Case("s", tmp_path / "s.png", (Labels(path, ("tuft",), soft=True, sure=0.8),))
    with_soft = open_labels(case, space(), ("tuft",))
    assert with_soft.soft
    hard = open_labels(Case("s", tmp_path / "s.png", (Labels(path, ("tuft",)),)), space(), ("tuft",))
    assert not hard.soft
    np.testing.assert_array_equal(hard.rasterise(WHOLE)[0], [[0, 0, 0, 1], [0, 0, 1, 1]])


def test_what_does_not_fit_is_refused(path, tmp_path):
    with pytest.raises(DataError, match="another image"):
        ProbabilityAnnotation(path, space((4, 4)), ("tuft",))
    with pytest.raises(DataError, match="none of vessel"):
        ProbabilityAnnotation(path, space(), ("vessel",))
    with pytest.raises(DataError, match="every voxel is labelled"):
        ProbabilityAnnotation(path, space(), ("tuft",), 0.3)
    with pytest.raises(DataError, match="does not exist"):
        ProbabilityAnnotation(tmp_path / "none" / NAME, space())
