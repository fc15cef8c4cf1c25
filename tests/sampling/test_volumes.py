"""Volumes as cases: which folders are one, where their masks are, and what is not annotated."""

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from malpighi.errors import DataError
from malpighi.geometry import Box, Spacing
from malpighi.sampling.cases import Case, open_case
from malpighi.sampling.folds import make_folds
from malpighi.sampling.layouts import find_cases
from malpighi.sampling.survey import survey

SHAPE = (6, 8, 9)
WHOLE = Box.of_shape(SHAPE)
BY_AXIS = Spacing.um((2, 0.5, 0.5))
VOLUME = np.random.default_rng(0).integers(0, 60000, SHAPE).astype(np.uint16)
MASK = ((VOLUME > 30000) * 255).astype(np.uint8)


def slices(folder: Path, array: np.ndarray, numbers: range | None = None) -> Path:
    folder.mkdir(parents=True)
    for z, plane in zip(numbers or range(len(array)), array, strict=True):
        tifffile.imwrite(folder / f"{z:04d}.tif", plane)
    return folder


def drawn(case: Case, classes: tuple[str, ...] = ("object",)) -> np.ndarray:
    with open_case(case, classes) as opened:
        assert opened.annotation is not None
        return opened.annotation.rasterise(Box.of_shape(opened.source.shape))[0]


def test_numbered_images_are_images_until_the_user_says_that_they_are_a_volume(tmp_path: Path) -> None:
    slices(tmp_path / "images", VOLUME)
    flat = find_cases(tmp_path)
    assert len(flat) == 6
    assert "give --spacing by axis (z,y,x)" in flat.notes[-1]
    assert len(find_cases(tmp_path, spacing=Spacing.um(50, 1))) == 6
    deep = find_cases(tmp_path, spacing=BY_AXIS)
    assert [case.image for case in deep.cases] == [tmp_path / "images"]
    assert "slices of one volume" in deep.notes[0]
    with open_case(deep.cases[0], ()) as opened:
        assert (opened.source.shape, opened.source.space.spacing) == (SHAPE, BY_AXIS)


def test_stacks_are_no_slices_whatever_the_spacing(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for n in (1, 2):
        tifffile.imwrite(tmp_path / "images" / f"v_{n}.tif", VOLUME, photometric="minisblack")
        tifffile.imwrite(tmp_path / "masks" / f"v_{n}.tif", MASK, photometric="minisblack")
    table = find_cases(tmp_path, spacing=BY_AXIS)
    assert [case.id for case in table.cases] == ["v_1", "v_2"]
    np.testing.assert_array_equal(drawn(table.cases[1]), MASK > 0)


def test_folders_of_slices_within_images_and_masks(tmp_path: Path) -> None:
    for name in ("a", "b"):
        slices(tmp_path / "images" / name, VOLUME)
        slices(tmp_path / "masks" / name, MASK)
    table = find_cases(tmp_path)
    assert [case.id for case in table.cases] == ["a", "b"]
    assert all(case.labels for case in table.cases)
    np.testing.assert_array_equal(drawn(table.cases[0]), MASK > 0)


def test_a_folder_a_volume(tmp_path: Path) -> None:
    for name in ("patient_1_left", "patient_1_right", "patient_2_left"):
        slices(tmp_path / name / "images", VOLUME)
        slices(tmp_path / name / "masks", MASK)
    table = find_cases(tmp_path)
    assert table.layout == "volumes"
    assert [case.group for case in table.cases] == ["patient_1", "patient_1", "patient_2"]
    assert {len(fold.validation) for fold in make_folds(table.cases, 2)} == {1, 2}


def test_sennet(tmp_path: Path) -> None:
    train = tmp_path / "train"
    slices(train / "kidney_1_dense" / "images", VOLUME)
    slices(train / "kidney_1_dense" / "labels", MASK)
    slices(train / "kidney_1_voi" / "images", VOLUME)
    slices(train / "kidney_3_sparse" / "images", VOLUME)
    slices(train / "kidney_3_dense" / "labels", MASK[2:4], range(2, 4))
    rows = [f"kidney_3_sparse_{z:04d},{'10 3' if z == 1 else '1 0'}" for z in range(6)]
    (tmp_path / "train_rles.csv").write_text("\n".join(["id,rle", *rows]))
    table = find_cases(tmp_path)
    cases = {case.id: case for case in table.cases}
    assert {name: case.group for name, case in cases.items()} == {
        "kidney_1_dense": "kidney_1",
        "kidney_1_voi": "kidney_1",
        "kidney_3_dense": "kidney_3",
        "kidney_3_sparse": "kidney_3",
    }
    assert cases["kidney_3_dense"].image == train / "kidney_3_sparse" / "images"
    assert not cases["kidney_1_voi"].labels
    np.testing.assert_array_equal(drawn(cases["kidney_1_dense"], ("vessel",)), MASK > 0)
    dense = drawn(cases["kidney_3_dense"], ("vessel",))
    np.testing.assert_array_equal(dense[2:4], MASK[2:4] > 0)
    assert (dense[[0, 1, 4, 5]] == 255).all()
    sparse = drawn(cases["kidney_3_sparse"], ("vessel",))
    assert np.argwhere(sparse).tolist() == [[1, 1, 0], [1, 1, 1], [1, 1, 2]]
    assert any("vessels that nobody drew count as background" in note for note in table.notes)


def manifest(root: Path, line: str, columns: str = "image,labels,unlabelled,region,spacing") -> Case:
    (root / "manifest.csv").write_text(f"{columns}\n{line}\n")
    return find_cases(root).cases[0]


def test_what_the_manifest_says_is_unlabelled(tmp_path: Path) -> None:
    slices(tmp_path / "raw", VOLUME)
    grey = MASK.copy()
    grey[3, 2:5] = 128
    slices(tmp_path / "grey", grey)
    slices(tmp_path / "seen", np.where(np.arange(9) < 4, 1, 0)[None, None].repeat(6, 0).repeat(8, 1).astype(np.uint8))
    case = manifest(tmp_path, 'raw,grey,128,"1:4,0:8,2:9","2,0.5,0.5"')
    assert case.spacing == BY_AXIS
    expected = np.full(SHAPE, 255)
    expected[1:4, :, 2:] = np.where(grey == 128, 255, grey > 0)[1:4, :, 2:]
    np.testing.assert_array_equal(drawn(case), expected)
    case = manifest(tmp_path, "raw,grey,,seen,")
    np.testing.assert_array_equal(drawn(case), np.where(np.arange(9) < 4, grey > 0, 255))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("raw,raw,x,,", "unlabelled 'x' is not a whole number"),
        ("raw,raw,,1:b,", "region '1:b' is no box"),
        ("raw,raw,,gone.tif,", r"region 'gone\.tif' does not exist"),
        ('raw,raw,,,"1,2,3,4"', "spacing '1,2,3,4' is not a number"),
    ],
)
def test_mistakes_in_the_manifest(tmp_path: Path, line: str, told: str) -> None:
    slices(tmp_path / "raw", VOLUME)
    with pytest.raises(DataError, match=told):
        manifest(tmp_path, line)


def test_a_region_outside_the_volume(tmp_path: Path) -> None:
    slices(tmp_path / "raw", VOLUME)
    with pytest.raises(DataError, match=r"region .* in an image of 6 × 8 × 9"):
        drawn(manifest(tmp_path, 'raw,raw,,"10:12,0:8,0:9",'))


def test_the_survey_says_how_much_is_annotated_and_what_is_negative(tmp_path: Path) -> None:
    slices(tmp_path / "images" / "a", (VOLUME.astype(np.int32) - 30000).astype(np.int16))
    slices(tmp_path / "masks" / "a", MASK[:3])
    found = survey(find_cases(tmp_path, spacing=BY_AXIS))
    fact = found.facts[0]
    assert (fact.annotated, fact.annotated_slices, fact.spacing) == (0.5, 0.5, (2, 0.5, 0.5))
    assert any("holds negative values" in line for line in found.warnings)
    assert any("a is annotated in 50 % of its voxels, on 50 % of its slices" in line for line in found.warnings)
    assert found.as_dict()["annotated_slices"] == {"a": 0.5}


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda f: tifffile.imwrite(f / "a" / "0002.tif", VOLUME[2, :-1]),
            r"0002\.tif: is 7 × 9 uint16, most slices are 8 × 9",
        ),
        (lambda f: tifffile.imwrite(f / "a" / "0002.tif", MASK[2]), r"0002\.tif: is 8 × 9 uint8, most slices are 8 × 9 uint16"),
        (lambda f: (f / "a" / "0002.tif").unlink(), "slices 2 are missing between 0000.tif and 0005.tif"),
        (lambda f: slices(f / "b", VOLUME.astype(np.float32) * np.nan), r"b: holds values that are not finite \(NaN\)"),
    ],
)
def test_bad_volumes_are_named_by_the_survey(tmp_path: Path, spoil, told: str) -> None:  # type: ignore[no-untyped-def]
    slices(tmp_path / "images" / "a", VOLUME)
    slices(tmp_path / "masks" / "a", MASK)
    spoil(tmp_path / "images")
    found = survey(find_cases(tmp_path))
    assert len(found.problems) == 1
    assert re.search(told, found.problems[0])


@pytest.mark.real_data
def test_two_photon_volumes_grouped_by_a_manifest(tmp_path: Path, real: Path) -> None:
    folder = real / "vessel_volumes"
    names = sorted(path.name for path in (folder / "images").iterdir())
    acquisition = {name: "poon2015_BBB" if "BBB_" in name and name.startswith("poon") else name for name in names}
    rows = [f'{folder}/images/{n},{folder}/masks/{n},{acquisition[n]},"3,0.7,0.7"' for n in names]
    (tmp_path / "manifest.csv").write_text("\n".join(["image,labels,group,spacing", *rows]))
    table = find_cases(tmp_path)
    assert len(make_folds(table.cases, 5)) == 5
    assert sorted(len(fold.validation) for fold in make_folds(table.cases, 5)) == [1, 1, 1, 1, 2]
    with open_case(table.cases[0], table.classes) as opened:
        assert opened.source.space.spacing == Spacing.um((3, 0.7, 0.7))
        truth = tifffile.imread(folder / "masks" / names[0])[4:6] > 0
        assert opened.annotation is not None
        np.testing.assert_array_equal(opened.annotation.rasterise(Box((4, 0, 0), (2, 512, 512)))[0], truth)
