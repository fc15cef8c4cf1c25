"""Volumes through whole commands: what is refused, in which words, and what is shown."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile

from system.tiny import malpighi, refused

SHAPE = (6, 20, 24)
VOLUME = np.random.default_rng(0).integers(0, 60000, SHAPE).astype(np.uint16)


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    """images/v/0000.tif …, and masks of the same names."""
    for folder, array in (("images", VOLUME), ("masks", (VOLUME > 50000).astype(np.uint8))):
        (tmp_path / "data" / folder / "v").mkdir(parents=True)
        for z, plane in enumerate(array):
            tifffile.imwrite(tmp_path / "data" / folder / "v" / f"{z:04d}.tif", plane)
    return tmp_path / "data"


def inspected(data: Path, *words: object) -> dict[str, object]:
    answer = malpighi("inspect", data, "--no-report", "--json", *words)
    assert answer.code == 0, answer.err
    return answer.json


def broken(data: Path, *told: str) -> None:
    """`inspect` lists what is broken, and ends with 3."""
    answer = malpighi("inspect", data, "--no-report")
    assert answer.code == 3
    for words in told:
        assert words in answer.err


def test_a_volume_is_measured(slices: Path) -> None:
    facts = inspected(slices, "--spacing", "2,0.5,0.5")
    assert (facts["rank"], facts["spacing_um"], facts["labelled"]) == (3, [2, 0.5, 0.5], 1)
    assert facts["sizes"]["largest"] == list(SHAPE)  # type: ignore[index]


def test_odd_slices_are_named(slices: Path) -> None:
    odd = slices / "images" / "v" / "0003.tif"
    tifffile.imwrite(odd, VOLUME[3, :-1])
    broken(slices, "0003.tif: is 19 × 24 uint16, most slices are 20 × 24 uint16")
    tifffile.imwrite(odd, VOLUME[3].astype(np.uint8))
    broken(slices, "0003.tif: is 20 × 24 uint8, most slices are 20 × 24 uint16")
    odd.unlink()
    broken(slices, "slices 3 are missing between 0000.tif and 0005.tif")


def test_masks_of_another_shape(slices: Path) -> None:
    for path in (slices / "masks" / "v").iterdir():
        tifffile.imwrite(path, np.zeros((9, 9), np.uint8))
    broken(slices, "a mask of 6 × 9 × 9 for an image of 6 × 20 × 24")


def test_negative_voxels_and_nan(tmp_path: Path) -> None:
    array = VOLUME.astype(np.float32) - 30000
    tifffile.imwrite(tmp_path / "v.tif", array, photometric="minisblack")
    answer = malpighi("inspect", tmp_path / "v.tif", "--no-report")
    assert answer.code == 0
    assert "holds negative values" in answer.err
    array[2, 3, 4] = np.nan
    tifffile.imwrite(tmp_path / "v.tif", array, photometric="minisblack")
    broken(tmp_path / "v.tif", "not finite (NaN)")


def test_a_nifti_without_a_unit(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(VOLUME.T, np.diag((0.5, 0.5, 2, 1))), tmp_path / "v.nii.gz")
    answer = malpighi("inspect", tmp_path / "v.nii.gz", "--no-report", "--json")
    assert answer.json["spacing_um"] == []
    assert "give --spacing 2000,500,500" in answer.err
    assert inspected(tmp_path / "v.nii.gz", "--spacing", "2000,500,500")["spacing_um"] == [2000, 500, 500]


def test_spacings_that_do_not_fit(tmp_path: Path, slices: Path) -> None:
    refused(malpighi("convert", slices / "images" / "v", tmp_path / "v.nii", "--spacing", "1,2"), 3, "has 3 axes", "as z,y,x")
    answer = malpighi("convert", slices / "images" / "v", tmp_path / "v.nii", "--spacing", "1,x")
    assert answer.code == 2
    assert "--spacing 1,x" in answer.err
    assert not (tmp_path / "v.nii").exists()


def test_runs_of_a_volume_that_has_other_slices(tmp_path: Path, slices: Path) -> None:
    (tmp_path / "s.csv").write_text("id,rle\nk_0009,1 2\n")
    words = ("convert", tmp_path / "s.csv", tmp_path / "m.nii.gz", "--image", slices / "images" / "v")
    refused(malpighi(*words), 3, "row k_0009 is of slice 9, the image's slices are 0 to 5")
    (tmp_path / "s.csv").write_text("id,rle\nk_0002,1 2 2 9\n")
    refused(malpighi(*words), 3, "row k_0002: pair 2 (2 9)")
    assert not list(tmp_path.glob("*.nii*"))
