"""Volumes through `convert`: every format to every other, the voxels and what is known of them."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile

from images.pictures import noise
from malpighi.annotations.open import open_annotation
from malpighi.annotations.submissions import read_table
from malpighi.errors import DataError, OutputError
from malpighi.geometry import Box, Spacing
from malpighi.images import open_image
from malpighi.tasks.convert import convert
from malpighi.tasks.convert_asked import Conversion

SHAPE = (7, 20, 30)
WHOLE = Box.of_shape(SHAPE)
SPACING = Spacing.um((2, 0.5, 0.25))


def run(source: Path, target: Path, **more: object) -> dict[str, object]:
    return convert(Conversion(source, target, **more))  # type: ignore[arg-type]


def slices(folder: Path, array: np.ndarray, first: int = 0) -> Path:
    folder.mkdir()
    for z, plane in enumerate(array, first):
        tifffile.imwrite(folder / f"{z:04d}.tif", plane)
    return folder


@pytest.fixture
def volume() -> np.ndarray:
    return noise(*SHAPE, dtype=np.uint16)


@pytest.mark.parametrize("names", [["a.ome.zarr", "b.nii.gz", "c.tif", "d"], ["a.nii", "b", "c.ome.zarr", "d.tif"]])
def test_an_image_goes_round_and_keeps_every_voxel(tmp_path: Path, volume: np.ndarray, names: list[str]) -> None:
    path = slices(tmp_path / "raw", volume)
    for name in names:
        told = run(path, tmp_path / name, spacing=SPACING if path.is_dir() and path.suffix != ".zarr" else None)
        assert told["kind"] == "image"
        path = tmp_path / name
        with open_image(path) as source:
            np.testing.assert_array_equal(source.read(WHOLE)[0], volume)
            if path.suffix:
                assert source.space.spacing == SPACING


def test_the_affine_stays(tmp_path: Path, volume: np.ndarray) -> None:
    affine = np.array([[0.0, -0.5, 0, 10], [0.25, 0, 0, -20], [0, 0, 2.0, 30], [0, 0, 0, 1]])
    image = nib.Nifti1Image(volume.T, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "a.nii.gz")
    slices(tmp_path / "masks", (volume > 30000).astype(np.uint8))
    run(tmp_path / "masks", tmp_path / "m.nii.gz", image=tmp_path / "a.nii.gz", classes=("vessel",))
    written = nib.load(tmp_path / "m.nii.gz")
    np.testing.assert_allclose(written.affine, affine)
    np.testing.assert_array_equal(np.asarray(written.dataobj).T, volume > 30000)


def test_a_submission_is_written_row_by_row_and_read_back(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1, 0, 28:] = mask[1, 1, :3] = 255  # one run across two rows
    mask[2, 19, 29] = 255
    slices(tmp_path / "kidney_5", mask, first=3)
    assert run(tmp_path / "kidney_5", tmp_path / "out.csv", row="kidney_5")["objects"] == 7
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[:4] == ["id,rle", "kidney_5_0003,1 0", "kidney_5_0004,29 5", "kidney_5_0005,600 1"]
    assert lines[-1] == "kidney_5_0009,1 0"
    run(tmp_path / "out.csv", tmp_path / "back", image=tmp_path / "kidney_5", row="kidney_5")
    back = open_image(tmp_path / "back")
    np.testing.assert_array_equal(back.read(WHOLE)[0], mask > 0)
    assert sorted(p.name for p in (tmp_path / "back").iterdir())[0] == "0003.tif"
    run(tmp_path / "out.csv", tmp_path / "back.nii.gz", image=tmp_path / "kidney_5", row="kidney_5", spacing=SPACING)
    assert open_image(tmp_path / "back.nii.gz").space.spacing == SPACING


def test_unlabelled_slices_have_no_row_and_stay_unlabelled(tmp_path: Path, volume: np.ndarray) -> None:
    slices(tmp_path / "images", volume)
    slices(tmp_path / "masks", (volume[2:4] > 30000).astype(np.uint8), first=2)
    run(tmp_path / "masks", tmp_path / "out.csv", image=tmp_path / "images", row="k")
    assert list(read_table(tmp_path / "out.csv")) == ["k_0002", "k_0003"]
    with open_image(tmp_path / "images") as image:
        drawn = open_annotation(tmp_path / "out.csv", image.space, row="k", order="C").rasterise(WHOLE)[0]
    np.testing.assert_array_equal(drawn[2:4], volume[2:4] > 30000)
    assert (drawn[[0, 1, 4, 5, 6]] == 255).all()
    run(tmp_path / "out.csv", tmp_path / "sparse.ome.zarr", image=tmp_path / "images", row="k", classes=("vessel",))
    again = open_image(tmp_path / "sparse.ome.zarr" / "labels" / "vessel").read(WHOLE)[0]
    np.testing.assert_array_equal(again, drawn)


def test_masks_of_another_shape(tmp_path: Path, volume: np.ndarray) -> None:
    slices(tmp_path / "images", volume)
    slices(tmp_path / "masks", volume[:, :-1])
    with pytest.raises(DataError, match=r"a mask of 7 × 19 × 30 for an image of 7 × 20 × 30"):
        run(tmp_path / "masks", tmp_path / "out.nii", image=tmp_path / "images")
    assert not (tmp_path / "out.nii").exists()


def test_a_folder_of_slices_that_exists_is_left_alone(tmp_path: Path, volume: np.ndarray) -> None:
    slices(tmp_path / "images", volume)
    (tmp_path / "mine").mkdir()
    with pytest.raises(OutputError, match="exists"):
        run(tmp_path / "images", tmp_path / "mine", overwrite=True)
    with pytest.raises(OutputError, match="3-D"):
        run(tmp_path / "images", tmp_path / "b.geojson")


@pytest.mark.real_data
def test_a_real_stack(tmp_path: Path, real: Path) -> None:
    masks = real / "vessel_volumes" / "masks" / "burgess2014_lowerRes_hiSNR.tif"
    run(masks, tmp_path / "a.csv", row="v")
    run(tmp_path / "a.csv", tmp_path / "a.nii.gz", image=masks, row="v")
    truth = tifffile.imread(masks) > 0
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj).T, truth)
