"""Mixing and stains inside batches: partners are read and varied, a batch is the same whenever it is asked for."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from malpighi.annotations.masks import MaskAnnotation
from malpighi.errors import RecipeError
from malpighi.geometry import Spacing
from malpighi.images.array import ArraySource
from malpighi.sampling.augment import PRESETS, AugmentOptions
from malpighi.sampling.boxes import random_boxes
from malpighi.sampling.cases import Case, OpenCase
from malpighi.sampling.dataset import TileBatches
from malpighi.sampling.stain_bank import fit_stains
from sampling.stained import HE, PAS, stained

NONE = PRESETS["none"]
PIXELS = Spacing.pixels(2)
LEVELS = (20, 120, 220)  # grey value of every pixel of a case


def case(image: np.ndarray, organ: str, label: int) -> OpenCase:
    source = ArraySource(image)
    mask = MaskAnnotation(ArraySource(np.full((1, *image.shape[1:]), label, np.uint8)), source.space, ("thing",))
    return OpenCase(Case(organ, Path("none"), attributes={"organ": organ}), source, mask)


def flat() -> list[OpenCase]:
    """Two kidneys, one of them all object, and a lung."""
    kinds = zip(LEVELS, ("kidney", "kidney", "lung"), (0, 1, 0), strict=True)
    return [case(np.full((3, 64, 64), level, np.uint8), organ, label) for level, organ, label in kinds]


def batches(options: AugmentOptions, cases: list[OpenCase], **more: object) -> TileBatches:
    draw = random_boxes([c.source.shape for c in cases], (32, 32), 0)
    return TileBatches(cases, draw, PIXELS, (32, 32), 1.25, options, 8, 5, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["blend", "cutmix", "mixup"])
def test_a_batch_is_the_same_from_any_start_and_mixes_only_what_is_alike(name: str) -> None:
    made = batches(dataclasses.replace(NONE, **{name: 1.0}), flat())
    images, targets, _ = made.make(3)
    np.testing.assert_array_equal(images, batches(made.augmentation, flat(), threads=3).make(3).images)
    assert images.shape == (8, 3, 32, 32)
    assert targets.shape == (8, 1, 32, 32)
    assert targets.dtype == (np.float32 if name == "mixup" else np.uint8)
    organs = [made.cases[made.draw(n)[0]].case.value("organ") for n in range(24, 32)]
    mixed = 0
    for image, target, organ in zip(images, targets, organs, strict=True):
        if organ == "lung":
            assert (image == LEVELS[2]).all()
        else:
            assert image.max() <= LEVELS[1]
            mixed += int(len(np.unique(target)) > 1 or 0 < target.min() < 1)
    assert mixed >= 1


def test_shares_of_mixup_follow_the_images_weights() -> None:
    images, targets, _ = batches(dataclasses.replace(NONE, mixup=1.0), flat()[:2]).make(0)
    weight = (images[:, 0].astype(float) - LEVELS[0]) / (LEVELS[1] - LEVELS[0])
    np.testing.assert_allclose(targets[:, 0], weight, atol=0.006)


def test_batches_where_no_tile_happens_to_be_mixed_hold_shares_too() -> None:
    made = batches(dataclasses.replace(NONE, mixup=1e-9), flat()).make(0)
    assert made.targets.dtype == np.float32


def test_of_two_tiles_in_one_only_what_is_true_of_both_is_told() -> None:
    options = dataclasses.replace(NONE, cutmix=0.7, same="")
    told = {"organ": ("kidney", "lung")}
    spacings = (PIXELS, PIXELS, PIXELS.times(2))  # of the lung
    cases = flat()
    made = batches(options, cases, tells=("organ", "pixel_size"), told=told, spacings=spacings)
    organs = [made.cases[made.draw(n)[0]].case.value("organ") for n in range(80)]
    seen = set()
    for first in range(0, 80, 8):
        images, _, facts = made.make(first // 8)
        for image, organ, said, size in zip(images, organs[first:], facts["organ"], facts["pixel_size"], strict=False):
            levels = set(np.unique(image))
            if LEVELS[2] in levels and len(levels) > 1:
                assert said == -1
                assert np.isnan(size)
                seen.add("both")
            elif len(levels) > 1:  # two kidneys
                assert (said, size) == (0, 0)
                seen.add("alike")
            elif said != -1:  # alone, or with another of its kind
                assert (said, size) == ((1, 1) if organ == "lung" else (0, 0))
                seen.add(organ)
    assert seen == {"both", "alike", "kidney", "lung"}


def test_everything_at_once_on_stained_tissue() -> None:
    cases = [case(stained(v, 96, k), "kidney", k % 2) for k, v in enumerate((HE, PAS, HE))]
    options = AugmentOptions(
        chance=1.0, aspect=0.2, clahe=2.0, cutout=0.2, cutout_fill="white", transfer=0.5, match=0.5, blend=0.5, mixup=0.5
    )
    stains = fit_stains(cases, PIXELS, options)
    first = batches(options, cases, stains=stains).make(1)
    again = batches(options, cases, stains=stains, threads=2)(1)
    np.testing.assert_array_equal(first.images, next(again).images)
    again.close()
    assert first.images.std() > 5
    plain = batches(dataclasses.replace(options, transfer=0.0, match=0.0), cases, stains=stains).make(1)
    assert (plain.images != first.images).mean() > 0.2


def test_stains_that_were_not_looked_for_and_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="fit_stains"):
        batches(dataclasses.replace(NONE, transfer=1.0), flat()).make(0)
    with pytest.raises(RecipeError, match="no whole objects"):
        batches(dataclasses.replace(NONE, blend=1.0), flat(), instances="flow")
