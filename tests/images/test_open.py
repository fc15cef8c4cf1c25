import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from images.pictures import noise
from malpighi.errors import DataError, SpacingError
from malpighi.geometry import Spacing
from malpighi.images import IMAGE_SUFFIXES, is_image, open_image


def test_a_suffix_nobody_reads(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_text("")
    with pytest.raises(DataError, match=r"a\.docx: is not an image malpighi reads; allowed are \.png .*\.zarr"):
        open_image(tmp_path / "a.docx")


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        open_image(tmp_path / "a.png")


def test_each_driver_says_why_not(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_bytes(b"II*\0 and no more")
    with pytest.raises(DataError, match=r"truncated.*OpenSlide"):
        open_image(tmp_path / "a.svs")


def test_the_spacing_given_wins(tmp_path: Path) -> None:
    Image.fromarray(noise(8, 9)).save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png", 0.25).space.spacing == Spacing.um(0.25)
    assert open_image(str(tmp_path / "a.png"), Spacing.um((1, 2))).space.spacing == Spacing.um((1, 2))
    with pytest.raises(SpacingError):
        open_image(tmp_path / "a.png", -1.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.svs", True), ("a.ome.tif", True), ("b.OME.ZARR", True), ("A.JPG", True), ("a.csv", False), ("a", False)],
)
def test_is_image_goes_by_the_name(name: str, expected: bool) -> None:
    assert is_image(Path(name)) == expected


def test_suffixes_are_lower_case() -> None:
    assert all(s == s.lower() and s.startswith(".") for s in IMAGE_SUFFIXES)


def test_importing_images_loads_no_library_that_reads_them() -> None:
    code = (
        "import malpighi.images, sys; print([m for m in ('tifffile', 'zarr', 'openslide', 'cv2', 'PIL') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
