"""The page of augmentations: which rows there are, which tiles are chosen, what is refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from malpighi.errors import DataError, RecipeError
from malpighi.sampling.augment import PRESETS, AugmentOptions
from malpighi.sampling.cases import Case
from malpighi.tasks.augmentations import _spread, show_augmentations, transforms
from sampling.stained import HE, PAS, stained


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    for structure, stain, vectors, seed in (("tuft", "pas", PAS, 0), ("tuft", "he", HE, 1), ("capsule", "pas", PAS, 2)):
        mask = np.zeros((64, 64), np.uint8)
        mask[20:40, 20:44] = 255
        for folder, array in (("images", stained(vectors, 64, seed).transpose(1, 2, 0)), ("masks", mask)):
            path = tmp_path / "tiles" / structure / stain / folder / "im_1_0.png"
            path.parent.mkdir(parents=True)
            cv2.imwrite(str(path), array)
    return tmp_path / "tiles"


def test_each_transform_stands_alone_and_is_certain() -> None:
    names = {}
    for name, words, alone in transforms(AugmentOptions(distort=0.2, cutout=0.1, mixup=0.2), everything=False):
        assert alone.chance == 1
        assert words
        names[name] = alone
    assert list(names) == [
        "flips", "rotate", "scale", "shift", "shear", "elastic", "distort", "tone", "hue", "saturation", "stain", "blur", "noise",
        "cutout, black", "mixup",
    ]  # fmt: skip
    assert names["tone"].tone == 0.2
    assert names["tone"].hue == names["tone"].rotate == 0
    assert names["mixup"].mixup == 1
    assert not list(transforms(PRESETS["none"]))
    every = [name for name, _, _ in transforms(AugmentOptions(cutout=0.1, transfer=0.1), everything=True)]
    assert every[-6:] == [f"cutout, {f}" for f in ("black", "mean", "white")] + [
        f"transfer, {b}" for b in ("reinhard", "macenko", "vahadane")
    ]


def test_cases_that_differ_are_shown() -> None:
    cases = [Case(str(i), Path("x"), attributes={"stain": s}) for i, s in enumerate(("HE", "HE", "HE", "PAS", "DAB"))]
    assert [case.id for case in _spread(cases, 4)] == ["0", "3", "4", "1"]
    assert len(_spread(cases, 9)) == 5


@pytest.mark.slow
def test_without_a_recipe_every_transform_is_shown(tiles: Path, tmp_path: Path) -> None:
    told = show_augmentations(tiles, tmp_path / "out" / "sheet.png", overrides=["data.tile=48"])
    picture = cv2.imread(str(tmp_path / "out" / "sheet.png"))
    assert len(picture) == len(told["transforms"]) * (6 * 48 + 26)
    for name in ("clahe", "cutout, white", "transfer, vahadane", "match", "blend", "cutmix", "mixup", "all together"):
        assert name in told["transforms"]


def test_a_recipe_shows_its_own_and_what_is_set(tiles: Path, tmp_path: Path) -> None:
    told = show_augmentations(
        tiles,
        tmp_path / "page.html",
        recipe="auto",
        overrides=["data.tile=32", "augment.clahe=3", "augment.tone=0"],
        only={"stain": ["PAS"]},
    )
    assert len(told["cases"]) == 2
    assert "clahe" in told["transforms"]
    assert "tone" not in told["transforms"]
    assert "match" not in told["transforms"]
    page = (tmp_path / "page.html").read_text()
    assert page.count("<img") == len(told["transforms"])
    assert "tuft/pas/im_1_0 (PAS, kidney)" in page


def test_what_cannot_be_shown_is_refused(tiles: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"\.html"):
        show_augmentations(tiles, tmp_path / "page.pdf")
    with pytest.raises(RecipeError, match="single cells"):
        show_augmentations(tiles, tmp_path / "page.html", recipe="cells")
    with pytest.raises(DataError, match="no image there"):
        show_augmentations(
            tiles,
            tmp_path / "page.html",
            recipe="auto",
            overrides=["data.tile=32", "augment.match=1", "augment.transfer_to=nowhere"],
        )
    assert not (tmp_path / "page.html").exists()


def test_a_recipe_that_asks_for_stains_gets_batches_that_know_them(tiles: Path) -> None:
    from contextlib import ExitStack

    from malpighi.recipes.load import build, read_raw
    from malpighi.sampling.folds import Fold
    from malpighi.sampling.layouts import find_cases
    from malpighi.tasks.material import gather
    from malpighi.tasks.talk import Talk

    said: list[str] = []
    table = find_cases(tiles)
    sets = ["data.unit=px", "data.tile=32", "train.precision=float32", "train.channels_last=false", "augment.transfer=1.0"]
    with ExitStack() as stack:
        for bank, images in (("", 2), (str(tiles / "tuft/he/images"), 1)):
            recipe = build(read_raw("demo", [*sets, f"augment.transfer_to={bank}" if bank else "augment.match=0.5"]))
            material = gather(table, Fold((0, 1), (2,)), recipe, stack, Talk(said.append))
            assert material.batches.stains is not None
            assert (len(material.batches.stains.own), len(material.batches.stains.bank)) == (2, images)
            assert material.batches.make(0).images.shape == (8, 3, 32, 32)
        plain = gather(table, Fold((0, 1), (2,)), build(read_raw("demo", sets[:-1])), stack, Talk())
        assert plain.batches.stains is None
