from pathlib import Path
from typing import ClassVar

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from images.contract import Opened, SourceContract
from images.pictures import noise, smooth
from malpighi.errors import DataError, TileError
from malpighi.geometry import Box, Spacing
from malpighi.images import open_image
from malpighi.images.slide import SlideSource


def pyramid(path: Path, steps: tuple[int, ...]) -> np.ndarray:
    """A tiled pyramidal TIFF that OpenSlide reads; its level 0 as (channel, y, x)."""
    image = smooth(701, 900, 3)
    with tifffile.TiffWriter(path) as writer:
        for step in steps:
            level = image[::step, ::step]
            writer.write(
                level, tile=(64, 64), photometric="rgb", compression="deflate", subfiletype=int(step > 1), metadata=None
            )
    return image.transpose(2, 0, 1)


class TestPyramid(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        truth = pyramid(tmp_path / "a.tif", (1, 4))
        return SlideSource(tmp_path / "a.tif"), truth


class TestUnevenLevels(SourceContract):
    """Level 1 is not a whole number of pixels of level 0 wide, where OpenSlide interpolates."""

    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        truth = pyramid(tmp_path / "a.tif", (1, 3))
        return SlideSource(tmp_path / "a.tif"), truth


class Frame:
    """What OpenSlide shows of a slide whose scanned region lies within an empty frame."""

    pixels = noise(60, 80, 4)
    bounds: ClassVar = {"openslide.bounds-x": "7", "openslide.bounds-y": "10"}
    bounds |= {"openslide.bounds-width": "50", "openslide.bounds-height": "40"}
    properties: ClassVar = {"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.5", **bounds}
    dimensions = (80, 60)
    level_downsamples = (1.0,)
    fails: ClassVar[list[bool]] = []

    def __init__(self, path: str) -> None:
        self.failed = False

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        if self.failed or (self.fails and self.fails.pop()):
            self.failed = True
            raise openslide.OpenSlideError("JPEG is broken")
        x, y = location
        return Image.fromarray(self.pixels[y : y + size[1], x : x + size[0]])

    def close(self) -> None:
        pass


@pytest.fixture
def frame(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Level 0 of the cropped slide on white."""
    monkeypatch.setattr(openslide, "OpenSlide", Frame)
    pixels = Frame.pixels[10:50, 7:57].astype(np.float64)
    alpha = pixels[..., 3:] / 255
    return np.floor(pixels[..., :3] * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8).transpose(2, 0, 1)


class TestBoundsAndAlpha(SourceContract):
    @pytest.fixture
    def opened(self, frame: np.ndarray) -> Opened:
        return SlideSource(Path("a.mrxs")), frame

    def test_the_pixel_size(self, opened: Opened) -> None:
        assert opened[0].space.spacing == Spacing.um((0.5, 0.25))


def test_one_failed_read_does_not_end_the_slide(frame: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SlideSource(Path("a.mrxs"))
    monkeypatch.setattr(Frame, "fails", [True])
    with pytest.raises(TileError, match=r"level 0, \[0:5, 0:5\] \(JPEG is broken\)"):
        source.read(Box((0, 0), (5, 5)))
    np.testing.assert_array_equal(source.read(Box((0, 0), (5, 5))), frame[:, :5, :5])
    source.on_damage = "fill"
    monkeypatch.setattr(Frame, "fails", [True])
    assert (source.read(Box((0, 0), (5, 5))) == 255).all()
    assert [d.reason for d in source.damage] == ["JPEG is broken"]


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "a.ndpi").write_text("this is no slide")
    with pytest.raises(DataError, match=r"a\.ndpi: OpenSlide cannot open it"):
        open_image(tmp_path / "a.ndpi")


@pytest.mark.real_data
def test_a_dicom_slide(real: Path) -> None:
    source = open_image(real / "formats" / "sm_image.dcm")
    assert source.space.spacing.physical
    assert source.read(Box.of_shape(source.shape)).shape == (3, 50, 50)
