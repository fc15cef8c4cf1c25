"""The bank: what is read of an image, which target a sample gets, what is refused."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from malpighi.errors import DataError
from malpighi.geometry import Box, Spacing
from malpighi.images.array import ArraySource
from malpighi.sampling.augment import PRESETS
from malpighi.sampling.cases import Case, OpenCase
from malpighi.sampling.colour import Colour, apply_colour
from malpighi.sampling.stain_bank import bank_images, fit_stains, glass_white, needs_stains, staining_of
from malpighi.sampling.stain_fit import densities
from sampling.stained import HE, PAS, degrees, stained

PIXELS = Spacing.pixels(2)
TRANSFER = dataclasses.replace(PRESETS["none"], transfer=1.0)


def case(image: np.ndarray, name: str = "c") -> OpenCase:
    return OpenCase(Case(name, Path("none")), ArraySource(image), None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k, vectors in enumerate((PAS, PAS, HE)):
        cv2.imwrite(str(tmp_path / f"tile_{k}.png"), stained(vectors, seed=k).transpose(1, 2, 0)[..., ::-1])
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_images_of_a_folder_or_a_pattern(folder: Path) -> None:
    assert [path.name for path in bank_images(str(folder))] == ["tile_0.png", "tile_1.png", "tile_2.png"]
    assert [path.name for path in bank_images(str(folder / "*_[12].png"))] == ["tile_1.png", "tile_2.png"]
    for nothing in (folder / "*.svs", folder / "notes.txt", folder / "none"):
        with pytest.raises(DataError, match="no image there"):
            bank_images(str(nothing))


def test_samples_take_the_stains_of_the_bank(folder: Path) -> None:
    options = dataclasses.replace(TRANSFER, transfer_to=str(folder / "tile_[01].png"))
    looked: list[int] = []
    stains = fit_stains([case(stained(HE))], PIXELS, options, lambda: looked.append(1))
    assert len(stains.own) == 1
    assert len(stains.bank) == 2
    assert len(looked) == 3
    drawn = [stains.restain(seed, 0, options) for seed in range(40)]
    assert len({one.density.tobytes() for one in drawn}) == 2  # type: ignore[union-attr]
    assert all(one.tables is None for one in drawn)
    again = stains.restain(5, 0, options)
    np.testing.assert_array_equal(again.density, drawn[5].density)


def test_a_tile_is_made_like_its_target_once() -> None:
    both = dataclasses.replace(TRANSFER, transfer=0.5, match=0.5)
    cases = [case(stained(HE, seed=1)), case(stained(PAS, seed=2, strength=1.4))]
    stains = fit_stains(cases, PIXELS, both)
    wanted = densities(cases[1].source.read(Box.of_shape((120, 120)), 0).reshape(3, -1).T).mean(0)
    ways = {(False, False): 0, (True, False): 0, (False, True): 0}
    for seed in range(60):
        drawn = stains.restain(seed, 0, dataclasses.replace(both, match_blend=1.0))
        ways[drawn.density is not None, drawn.tables is not None] += 1
        if drawn.density is not None or drawn.tables is not None:
            tile = np.array(stained(HE, seed=1).transpose(1, 2, 0), order="C")
            apply_colour(tile, Colour(drawn.density, tables=drawn.tables))
            np.testing.assert_allclose(densities(tile.reshape(-1, 3)).mean(0), wanted, atol=0.03)
    assert min(ways.values()) >= 8


def test_training_images_are_made_like_one_another_never_like_themselves() -> None:
    cases = [case(stained(vectors, seed=k)) for k, vectors in enumerate((HE, PAS, HE))]
    stains = fit_stains(cases, PIXELS, TRANSFER)
    for seed in range(20):
        density = stains.restain(seed, 1, TRANSFER).density
        assert density is not None
        assert np.abs(density - np.eye(3, 4)).max() > 0.05
    alone = fit_stains(cases[:1], PIXELS, TRANSFER)
    np.testing.assert_allclose(alone.restain(0, 0, TRANSFER).density, np.eye(3, 4), atol=1e-9)


def test_a_case_without_stains_is_remarked_on_once_and_keeps_its_own() -> None:
    lines: list[str] = []
    white = case(np.full((3, 80, 80), 245, np.uint8), "white")
    stains = fit_stains([white, case(stained(HE))], PIXELS, TRANSFER, remark=lines.append)
    assert len(lines) == 1
    assert "no stains for macenko in 1 of 2 images" in lines[0]
    assert stains.restain(0, 0, TRANSFER).density is None
    assert stains.restain(0, 1, TRANSFER).density is None


def test_white_is_the_colour_of_glass_or_of_what_is_brightest() -> None:
    image = stained(HE, side=200)
    image[:, :, :100] = np.array([236, 232, 228], np.uint8)[:, None, None]
    assert glass_white(ArraySource(image)) == (236, 232, 228)  # 200 × 100 in one piece
    tissue = stained(HE, side=100) // 2
    assert 90 < min(glass_white(ArraySource(tissue))) <= max(glass_white(ArraySource(tissue))) <= 127


def test_a_slide_larger_than_a_look_is_sampled_where_there_is_tissue() -> None:
    slide = np.full((3, 1300, 1300), 240, np.uint8)
    slide[:, 300:900, 300:900] = stained(HE, side=600)
    found = staining_of(ArraySource(slide), PIXELS, "macenko")
    assert found.counts.sum() < 3 * 1300**2
    assert degrees(found.vectors, HE).max() < 2
    assert found.white == (240, 240, 240)


def test_other_images_are_refused() -> None:
    for image in (np.zeros((1, 20, 20), np.uint8), np.zeros((3, 20, 20), np.uint16), np.zeros((3, 4, 20, 20), np.uint8)):
        with pytest.raises(DataError, match="8-bit RGB"):
            staining_of(ArraySource(image), Spacing.pixels(image.ndim - 1), "macenko")


def test_only_what_asks_for_stains_needs_them() -> None:
    none = PRESETS["none"]
    assert not needs_stains(PRESETS["standard"])
    assert not needs_stains(dataclasses.replace(none, cutout=0.2))
    assert needs_stains(dataclasses.replace(none, cutout=0.2, cutout_fill="white"))
    assert needs_stains(dataclasses.replace(none, match=0.2))
