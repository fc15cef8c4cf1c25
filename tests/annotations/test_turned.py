import numpy as np
import pytest

from malpighi.annotations.base import UNLABELLED, Annotation
from malpighi.annotations.masks import MaskAnnotation
from malpighi.annotations.turned import TurnedAnnotation
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.array import ArraySource

LABELS = np.random.default_rng(0).integers(0, 4, (5, 6, 7)).astype(np.uint8)
ORDER = {"z": (0, 1, 2), "y": (1, 0, 2), "x": (2, 0, 1)}


def mask(labels: np.ndarray, classes: tuple[str, ...] = ("vessel",)) -> MaskAnnotation:
    return MaskAnnotation(ArraySource(labels[None]), Space.of_shape(labels.shape, Spacing.um((2, 1, 1))), classes)


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_layers_and_objects_are_turned_as_numpy_turns(axis: str) -> None:
    turned = TurnedAnnotation(mask(LABELS), axis)
    expected = LABELS.transpose(ORDER[axis])
    whole = Box.of_shape(expected.shape)
    assert turned.space.shape == expected.shape
    assert turned.has_objects
    np.testing.assert_array_equal(turned.rasterise(whole)[0], expected > 0)
    np.testing.assert_array_equal(turned.instances(whole), expected)
    part = Box((-1, 2, 1), (4, 3, 9))  # over the border
    inside = np.pad(expected, 9)[tuple(slice(a + 9, b + 9) for a, b in zip(part.start, part.stop, strict=True))]
    np.testing.assert_array_equal(turned.rasterise(part)[0], inside > 0)
    np.testing.assert_array_equal(turned.instances(part), inside)


def test_coarser_voxels_are_those_of_the_volume() -> None:
    volume, coarse = mask(LABELS), TurnedAnnotation(mask(LABELS), "y")
    there = volume.rasterise(Box((0, 0, 0), (2, 3, 3)), Spacing.um((4, 2, 2)))
    here = coarse.rasterise(Box((0, 0, 0), (3, 2, 3)), Spacing.um((2, 4, 2)))
    np.testing.assert_array_equal(here, there.transpose(0, 2, 1, 3))


def test_what_nobody_said_stays_unsaid_inside_and_outside() -> None:
    class Unsaid(Annotation):
        def rasterise(self, box: Box, spacing: Spacing | None = None) -> np.ndarray:
            return np.full((2, *box.size), UNLABELLED, np.uint8)

        def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
            raise AssertionError

    turned = TurnedAnnotation(Unsaid("sparse", Space.of_shape((3, 4, 5)), ("a", "b")), "x")
    assert (turned.rasterise(Box((-2, -2, -2), (3, 3, 3))) == UNLABELLED).all()


def test_a_wrong_axis_and_outlines_are_refused() -> None:
    with pytest.raises(DataError, match="along 'c'"):
        TurnedAnnotation(mask(LABELS), "c")
    with pytest.raises(DataError, match="not outlines"):
        TurnedAnnotation(mask(LABELS), "y").shapes()
