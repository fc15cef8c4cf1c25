import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from images.contract import Opened, SourceContract
from images.pictures import noise
from malpighi.errors import DataError
from malpighi.geometry import Box, Spacing
from malpighi.images import open_image
from malpighi.images.nifti import NiftiSource, write_nifti

TILTED = np.array([[0.0, -0.5, 0, 10], [0.25, 0, 0, -20], [0, 0, 2.0, 30], [0, 0, 0, 1]])


def save(path: Path, array: np.ndarray, affine: np.ndarray = TILTED, unit: str | None = "mm") -> Path:
    """Our (z, y, x) array as nibabel writes it."""
    image = nib.Nifti1Image(array.T, affine)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


class TestPlain(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        array = noise(19, 31, 23, dtype=np.uint16)
        return open_image(save(tmp_path / "a.nii", array)), array[None]

    def test_zooms_are_micrometres_by_axis(self, opened: Opened) -> None:
        assert opened[0].space.spacing == Spacing.um((2000, 500, 250))

    def test_the_affine_is_kept(self, opened: Opened) -> None:
        source, _ = opened
        assert isinstance(source, NiftiSource)
        np.testing.assert_array_equal(source.affine, TILTED)


class TestCompressed(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        array = noise(19, 31, 23, dtype=np.float32)
        return open_image(save(tmp_path / "a.nii.gz", array)), array[None]


class TestOneSlice(SourceContract):
    """As the metric fixtures are: (x, y, 1) is a plane."""

    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        array = noise(31, 23)
        return open_image(save(tmp_path / "a.nii.gz", array[None])), array[None]


class TestBigEndianWithTrailingOne(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        array = noise(9, 11, 13, dtype=np.int16)
        header = nib.Nifti1Header(endianness=">")
        header.set_data_dtype(np.int16)
        nib.save(nib.Nifti1Image(array.T[..., None].astype(">i2"), TILTED, header), tmp_path / "a.nii")
        return open_image(tmp_path / "a.nii"), array[None]


class TestScaled(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        image = nib.Nifti1Image(noise(9, 11, 13, dtype=np.int16).T, TILTED)
        image.header.set_slope_inter(0.5, -3)
        nib.save(image, tmp_path / "a.nii")
        truth = np.asarray(nib.load(tmp_path / "a.nii").dataobj).T.astype(np.float32)
        return open_image(tmp_path / "a.nii"), truth[None]


class TestRgb(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        array = noise(9, 11, 13, 3)
        rgb = np.ascontiguousarray(array.transpose(2, 1, 0, 3)).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
        nib.save(nib.Nifti1Image(rgb, TILTED), tmp_path / "a.nii.gz")
        return open_image(tmp_path / "a.nii.gz"), np.moveaxis(array, -1, 0)


class TestVectors(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        array = noise(2, 9, 11, 13, dtype=np.uint16)
        nib.save(nib.Nifti1Image(array.transpose(3, 2, 1, 0)[:, :, :, None], TILTED), tmp_path / "a.nii")
        return open_image(tmp_path / "a.nii"), array


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1), ("mm", 1e3), ("meter", 1e6)])
def test_units(tmp_path: Path, unit: str, factor: float) -> None:
    source = open_image(save(tmp_path / "a.nii", noise(3, 4, 5), unit=unit))
    assert source.space.spacing == Spacing.um((2 * factor, 0.5 * factor, 0.25 * factor))
    assert source.affine[2, 2] == pytest.approx(2 * factor / 1e3)  # type: ignore[attr-defined]


def test_a_size_without_a_unit_is_not_believed(tmp_path: Path) -> None:
    source = open_image(save(tmp_path / "a.nii", noise(3, 4, 5), unit=None))
    assert source.space.spacing == Spacing.pixels(3)
    assert "if that is mm, give --spacing 2000,500,250" in source.notes[0]
    assert open_image(tmp_path / "a.nii", spacing=50).space.spacing == Spacing.um(50, 3)


def test_time_points_and_garbage(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5, 6), np.uint8), TILTED), tmp_path / "t.nii")
    with pytest.raises(DataError, match="6 time points"):
        open_image(tmp_path / "t.nii")
    (tmp_path / "x.nii.gz").write_bytes(b"garbage" * 100)
    with pytest.raises(DataError, match=r"x\.nii\.gz: is no NIfTI"):
        open_image(tmp_path / "x.nii.gz")


def test_truncated(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.nii", noise(9, 11, 13)).read_bytes()
    (tmp_path / "b.nii").write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"b\.nii: truncated: the voxels reach to byte 1639, the file ends at 1539"):
        open_image(tmp_path / "b.nii")
    (tmp_path / "c.nii.gz").write_bytes(gzip.compress(whole[:-100]))
    source = open_image(tmp_path / "c.nii.gz")
    with pytest.raises(DataError, match=r"c\.nii\.gz: truncated: 100 of 1287 bytes"):
        source.read(Box((0, 0, 0), (1, 1, 1)))
    (tmp_path / "d.nii.gz").write_bytes(gzip.compress(whole)[:-100])
    source = open_image(tmp_path / "d.nii.gz")
    with pytest.raises(DataError, match=r"d\.nii\.gz: is truncated or damaged"):
        source.read(Box((0, 0, 0), (1, 1, 1)))


def test_floating_point_masks_are_labels_where_they_are_whole(tmp_path: Path) -> None:
    array = (noise(3, 4, 5) > 99).astype(np.float64)
    mask = open_image(save(tmp_path / "a.nii", array), labels=True)
    np.testing.assert_array_equal(mask.read(Box.of_shape(mask.shape))[0], array)
    assert mask.dtype == np.int32
    soft = open_image(save(tmp_path / "b.nii", array / 2), labels=True)
    with pytest.raises(DataError, match="no whole numbers"):
        soft.read(Box.of_shape(soft.shape))


@pytest.mark.parametrize("name", ["b.nii", "b.nii.gz"])
def test_what_is_written_nibabel_reads(tmp_path: Path, name: str) -> None:
    array = noise(5, 6, 7, dtype=np.uint16)
    write_nifti(tmp_path / name, lambda b: array[b.slices], array.shape, np.uint16, Spacing.um((2000, 500, 250)), TILTED)
    image = nib.load(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(image.dataobj), array.T)
    np.testing.assert_allclose(image.affine, TILTED)
    assert image.get_data_dtype() == np.uint16
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.header.get_zooms(), (0.25, 0.5, 2))


def test_another_spacing_scales_the_affine(tmp_path: Path) -> None:
    array = noise(5, 6, 7)
    write_nifti(tmp_path / "b.nii", lambda b: array[b.slices], array.shape, np.uint8, Spacing.um((4000, 500, 250)), TILTED)
    np.testing.assert_allclose(nib.load(tmp_path / "b.nii").affine[:, 2], [0, 0, 4, 0])


def test_channels_and_planes_and_pixels(tmp_path: Path) -> None:
    array = noise(2, 6, 7, dtype=np.float32)
    whole = lambda b: array[(slice(None), *b.slices)]  # noqa: E731
    write_nifti(tmp_path / "b.nii", whole, (6, 7), np.float32, Spacing.pixels(2), channels=2)
    source = open_image(tmp_path / "b.nii")
    np.testing.assert_array_equal(source.read(Box.of_shape((6, 7))), array)
    assert source.space.spacing == Spacing.pixels(2)


@pytest.mark.real_data
def test_real_files(real: Path) -> None:
    brain = real / "formats" / "avg152T1_LR_nifti.nii.gz"
    source = open_image(brain)
    assert source.shape == (91, 109, 91)
    assert source.space.spacing == Spacing.um(2000, 3)
    truth = np.asarray(nib.load(brain).dataobj).T
    np.testing.assert_array_equal(source.read(Box((40, 50, 30), (9, 8, 7)))[0], truth[40:49, 50:58, 30:37])
    for path in sorted((real / "metric_fixtures").rglob("*.nii.gz")):
        with open_image(path, labels=True) as mask:
            truth = np.asarray(nib.load(path).dataobj).T
            truth = truth[0] if truth.shape[0] == 1 else truth
            np.testing.assert_array_equal(mask.read(Box.of_shape(mask.shape))[0], truth)
