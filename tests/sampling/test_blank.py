from pathlib import Path

import cv2
import numpy as np
import pytest

from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Box, Spacing
from malpighi.images.array import ArraySource
from malpighi.images.open import open_image
from malpighi.sampling.blank import TissueMask, tissue_mask


def slide(side: int = 1000) -> np.ndarray:
    """Glass with grain, a purple patch at 600 … 700."""
    rng = np.random.default_rng(0)
    rgb = (rng.normal(0, 2, (side, side, 3)) + np.array([235, 233, 238])).astype(np.uint8)
    rgb[600:700, 600:700] = (150, 80, 160)
    return rgb


def test_glass_is_left_out_and_tissue_kept_with_a_margin() -> None:
    mask = tissue_mask(ArraySource.rgb(slide()), Spacing.pixels(2, 4))
    one = Spacing.pixels(2)
    assert not mask.any(Box((0, 0), (500, 500)), one)
    assert mask.any(Box((650, 650), (8, 8)), one)
    assert mask.any(Box((590, 650), (4, 4)), one)  # within the margin of 16 pixels
    assert not mask.any(Box((570, 650), (8, 8)), one)
    assert mask.any(Box((325, 325), (2, 2)), Spacing.pixels(2, 2))  # at another spacing
    assert 0 < mask.fraction < 0.05


def test_pale_textured_or_coloured_or_dark_is_tissue() -> None:
    one, quarter = Spacing.pixels(2), Spacing.pixels(2, 4)
    for colour in ((235, 205, 230), (250, 250, 218), (200, 200, 200), (0, 0, 0)):
        rgb = slide()
        rgb[100:400, 100:400] = colour
        assert tissue_mask(ArraySource.rgb(rgb), quarter).any(Box((240, 240), (8, 8)), one)
    rgb = slide()
    rgb[100:400, 100:400][::8] = 205  # faint stripes
    assert tissue_mask(ArraySource.rgb(rgb), quarter).any(Box((240, 240), (8, 8)), one)


def test_a_lumen_inside_tissue_is_tissue() -> None:
    rgb = np.full((800, 800, 3), (150, 80, 160), np.uint8)
    rgb[300:500, 300:500] = 240
    assert tissue_mask(ArraySource.rgb(rgb), Spacing.pixels(2, 4)).fraction == 1


def test_what_is_blank_does_not_depend_on_the_blocks_it_is_read_in(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = slide()
    whole = tissue_mask(ArraySource.rgb(rgb), Spacing.pixels(2, 4)).tissue
    monkeypatch.setattr("malpighi.sampling.blank._BLOCK", 37)
    np.testing.assert_array_equal(tissue_mask(ArraySource.rgb(rgb), Spacing.pixels(2, 4)).tissue, whole)


def test_other_images_are_tissue_throughout_and_the_rule_can_be_switched_off() -> None:
    white = ArraySource.rgb(np.full((2000, 2000, 3), 240, np.uint8))
    box = Box((0, 0), (64, 64))
    assert not tissue_mask(white).any(box, Spacing.pixels(2))
    assert tissue_mask(white, rule="off").any(box, Spacing.pixels(2))
    fluorescence = ArraySource(np.full((4, 64, 64), 250, np.uint8))
    volume = ArraySource(np.full((3, 8, 64, 64), 250, np.uint8))
    assert tissue_mask(fluorescence).fraction == 1
    assert tissue_mask(volume).any(Box((0, 0, 0), (4, 8, 8)), Spacing.pixels(3))
    with pytest.raises(DataError, match="8-bit RGB"):
        tissue_mask(fluorescence, rule="brightfield")
    with pytest.raises(RecipeError, match="'auto', 'brightfield' or 'off'"):
        tissue_mask(white, rule="otsu")  # type: ignore[arg-type]


def kept(mask: TissueMask, image: Path, label: Path, side: int = 32) -> tuple[int, int]:
    """Tiles with annotated pixels, and how many of them the rule keeps."""
    with open_image(image) as source:
        spacing = source.space.spacing
    marked = cv2.imread(str(label), cv2.IMREAD_GRAYSCALE) > 0
    held = [box for box in Box.of_shape(marked.shape).split((side, side)) if marked[box.slices].any()]
    return len(held), sum(mask.any(box, spacing) for box in held)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("pattern", "factor"),
    [
        ("kidney_structures/*/*/images/*_1*.png", 4.0),
        ("kidney_structures/*/*/images/*_1*.png", 1.0),
        ("colon_glands/images/train_1*.png", 4.0),
        ("hubmap_kidney/tiles_reduced16/images/*.png", 1.0),  # already reduced 16-fold, as the mask's default is
    ],
)
def test_annotated_tissue_is_never_left_out(real: Path, pattern: str, factor: float) -> None:
    images = sorted(real.glob(pattern))
    assert images
    for image in images:
        label = image.parents[1] / "masks" / image.name
        with open_image(image) as source:
            mask = tissue_mask(source, source.space.spacing.times(factor), "brightfield")
        marked, held = kept(mask, image, label)
        assert held == marked, image


@pytest.mark.real_data
def test_brown_chromogen_section_is_kept_whole_and_a_slide_loses_only_its_glass(real: Path) -> None:
    with open_image(next((real / "kidney_dab").glob("*.jpg"))) as source:
        assert tissue_mask(source, source.space.spacing.times(4)).fraction == 1
    with open_image(real / "formats" / "CMU-1-Small-Region.svs") as source:
        spacing = source.space.spacing.times(8)
        mask = tissue_mask(source, spacing)
        rgb = source.read_at(Box.of_shape(source.space.shape_at(spacing)), spacing)
    assert 0.4 < mask.fraction < 0.7
    assert mask.tissue is not None
    assert rgb[:, ~mask.tissue].min() >= 215
    assert mask.tissue[:, 250:].any()
    coloured = (rgb.max(0).astype(int) - rgb.min(0)) > 40
    assert (coloured & ~mask.tissue).sum() == 0
