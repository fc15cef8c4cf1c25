"""Writing phantoms: what other programs read, and what is left after a failure."""

import errno
import tracemalloc

import numpy as np
import openslide
import pytest
import tifffile

from malpighi.errors import OutputError
from malpighi.geometry import Box
from malpighi.phantoms import SlidePhantom, pyramid
from malpighi.phantoms.layout import Layout
from malpighi.phantoms.section import Section


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    phantom = SlidePhantom((1300, 1500), seed=8, spacing=0.5)
    return phantom, phantom.write(tmp_path_factory.mktemp("slide") / "new folder" / "slide.tif")


def test_tifffile_reads_levels_and_resolution(slide):
    _, path = slide
    with tifffile.TiffFile(path) as tif:
        levels = tif.series[0].levels
        assert [level.shape for level in levels] == [(1300, 1500, 3), (325, 375, 3)]
        for page, spacing in zip(tif.pages, (0.5, 2.0), strict=True):
            numerator, denominator = page.tags["XResolution"].value
            assert 1e4 / (numerator / denominator) == pytest.approx(spacing)
            assert page.tags["ResolutionUnit"].value == 3


def test_openslide_reads_levels_and_micrometres(slide):
    _, path = slide
    with openslide.OpenSlide(path) as image:
        assert image.level_dimensions == ((1500, 1300), (375, 325))
        assert float(image.properties["openslide.mpp-x"]) == pytest.approx(0.5)
        assert float(image.properties["openslide.mpp-y"]) == pytest.approx(0.5)


def test_pixels_are_those_rendered(slide):
    phantom, path = slide
    rendered = phantom.render(Box.of_shape(phantom.shape)).transpose(1, 2, 0)
    stored = tifffile.imread(path, level=0)
    difference = np.abs(stored.astype(int) - rendered)
    assert difference.mean() < 5  # JPEG


def test_lossless_is_lossless(tmp_path):
    phantom = SlidePhantom((700, 600), seed=8)
    path = phantom.write(tmp_path / "slide.tif", quality=None)
    np.testing.assert_array_equal(tifffile.imread(path).transpose(2, 0, 1), phantom.render(Box.of_shape((700, 600))))


def test_three_levels_are_complete(tmp_path):
    path = SlidePhantom((4200, 700), seed=2).write(tmp_path / "slide.tif", quality=None)
    with tifffile.TiffFile(path) as tif:
        assert [p.shape[:2] for p in tif.pages] == [(4200, 700), (1050, 175), (263, 44)]
        first, second, third = (p.asarray().astype(float) for p in tif.pages)
    for large, small in ((first, second), (second, third)):
        rows, columns = large.shape[0] // 4, large.shape[1] // 4
        mean = large[: rows * 4, : columns * 4].reshape(rows, 4, columns, 4, 3).mean((1, 3))
        assert np.abs(mean - small[:rows, :columns]).max() < 1


def test_with_a_period_a_file_equals_what_is_rendered(tmp_path, monkeypatch):
    phantom = SlidePhantom((3300, 1100), seed=5, period=2048)
    monkeypatch.setattr(Layout, "depth", lambda self, y, x: np.full(np.broadcast_shapes(y.shape, x.shape), 1e4, np.float32))
    assert phantom.section.origin((5, 1)) == phantom.section.origin((1, 1)) == ("inside", 1, 1)
    path = phantom.write(tmp_path / "slide.tif")
    box = Box((2500, 100), (600, 900))
    with openslide.OpenSlide(path) as image:
        stored = np.asarray(image.read_region((100, 2500), 0, (900, 600)))[..., :3].transpose(2, 0, 1)
    assert np.abs(stored.astype(int) - phantom.render(box)).mean() < 5


def test_progress_counts_rows_of_tiles(tmp_path):
    seen = []
    SlidePhantom((1100, 200)).write(tmp_path / "slide.tif", progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    real, calls = pyramid.encode, []

    def encode(tile, quality):
        calls.append(1)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(tile, quality)

    monkeypatch.setattr(pyramid, "encode", encode)
    path = tmp_path / "slide.tif"
    with pytest.raises(OutputError, match=r"slide\.tif.*No space left"):
        SlidePhantom((2000, 1000)).write(path)
    assert list(tmp_path.iterdir()) == []


def test_a_real_full_device_is_an_output_error(tmp_path):
    target = tmp_path / "file"
    target.write_text("not a folder")
    with pytest.raises(OutputError, match="cannot be written"):
        SlidePhantom((600, 600)).write(target / "slide.tif")


def test_memory_does_not_grow_with_the_height(tmp_path, monkeypatch):
    monkeypatch.setattr(Section, "draw", lambda self, origin: np.full((512, 512, 3), origin[1] % 255, np.uint8))

    def peak(rows):
        phantom = SlidePhantom((rows, 2048), seed=1)
        tracemalloc.start()
        phantom.write(tmp_path / f"{rows}.tif", threads=1)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2048)  # imports and caches that every slide shares
    assert peak(16_384) < 1.2 * peak(4096) + 2e6
