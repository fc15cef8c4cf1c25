import numpy as np
import pytest

from malpighi.annotations.masks import MaskAnnotation
from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Box, Spacing
from malpighi.images.array import ArraySource
from malpighi.sampling.cases import Case, OpenCase
from malpighi.sampling.foreground import find_foreground
from malpighi.sampling.turned import require_alike, turned

VOLUME = np.random.default_rng(0).integers(0, 9, (4, 5, 6)).astype(np.uint16)


def case() -> OpenCase:
    source = ArraySource.gray(VOLUME)
    mask = MaskAnnotation(ArraySource.gray((VOLUME > 4).astype(np.uint8)), source.space, ("vessel",))
    return OpenCase(Case("kidney", "none"), source, mask)  # type: ignore[arg-type]


@pytest.mark.parametrize(("axis", "order"), [("y", (1, 0, 2)), ("x", (2, 0, 1))])
def test_image_and_labels_turn_together(axis: str, order: tuple[int, ...]) -> None:
    side = turned(case(), axis)
    whole = Box.of_shape(side.source.shape)
    assert side.annotation is not None
    np.testing.assert_array_equal(side.source.read(whole)[0], VOLUME.transpose(order))
    np.testing.assert_array_equal(side.annotation.rasterise(whole)[0], VOLUME.transpose(order) > 4)
    assert side.case.id == "kidney"


def test_foreground_of_a_turned_case_lies_in_its_labels() -> None:
    side = turned(case(), "x")
    assert side.annotation is not None
    found = find_foreground(side.annotation, Spacing.pixels(3), (1, 8, 8))
    assert found.voxels["vessel"] == (VOLUME > 4).sum()
    assert all(VOLUME.transpose(2, 0, 1)[tuple(point)] > 4 for point in found.points["vessel"])


def test_the_first_axis_is_the_case_itself_and_unlabelled_cases_turn_too() -> None:
    straight = case()
    assert turned(straight, "z") is straight
    assert turned(OpenCase(straight.case, straight.source, None), "y").annotation is None
    with pytest.raises(DataError, match="along 't'"):
        turned(straight, "t")


def test_several_directions_need_cubes() -> None:
    require_alike(("z",), Spacing.um((5, 1, 1)))
    require_alike(("z", "y", "x"), Spacing.um(2, 3))
    with pytest.raises(RecipeError, match=r"data\.axes \['z', 'y'\] with data\.spacing \[5\.0, 1\.0, 1\.0\]"):
        require_alike(("z", "y"), Spacing.um((5, 1, 1)))
