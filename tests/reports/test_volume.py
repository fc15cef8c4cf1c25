"""Volumes at the size of a page: what the codes say, which grid is chosen, what is read."""

import numpy as np
import pytest

from malpighi.annotations.masks import MaskAnnotation
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.array import ArraySource
from malpighi.reports import volume
from malpighi.reports.volume import AGREED, EXCESS, MISSED, SILENT, compare, read_view, view_spacing


def mask(array, space):
    annotation = MaskAnnotation(ArraySource.gray(array, space.spacing), space, ("vessel",))
    return lambda box, spacing: annotation.rasterise(box, spacing)[0]


def test_codes_of_every_meeting():
    truth = np.array([1, 1, 0, 0, 255, 255], np.uint8)
    prediction = np.array([1, 0, 1, 0, 1, 0], np.uint8)
    assert compare(truth, prediction).tolist() == [AGREED, MISSED, EXCESS, 0, SILENT, SILENT]
    assert compare(truth, None).tolist() == [AGREED, AGREED, 0, 0, SILENT, SILENT]
    assert compare(None, prediction).tolist() == [AGREED, 0, AGREED, 0, AGREED, 0]
    with pytest.raises(DataError, match="neither"):
        compare(None, None)


@pytest.mark.parametrize(
    ("shape", "spacing", "voxels", "longest", "least"),
    [
        ((64, 64, 64), (1, 1, 1), 64**3, 64, (1, 1, 1)),
        ((100, 400, 400), (4, 1, 1), 10**9, 100, (4, 4, 4)),  # the thick axis stays until the others are as thick
        ((2000, 2000, 2000), (1, 1, 1), 200**3, 400, (10, 10, 10)),
    ],
)
def test_the_grid_is_the_finest_that_fits(shape, spacing, voxels, longest, least):
    space = Space.of_shape(shape, Spacing.um(spacing, 3))
    chosen = view_spacing(space, voxels, longest)
    small = space.shape_at(chosen)
    assert np.prod(small) <= voxels
    assert max(small) <= longest
    assert all(low * (1 - 1e-9) <= value <= low * 1.001 for value, low in zip(chosen.values, least, strict=True))


def test_a_small_volume_is_seen_as_it_is():
    rng = np.random.default_rng(0)
    image, truth = rng.integers(0, 255, (5, 8, 9), np.uint8), rng.integers(0, 2, (5, 8, 9), np.uint8)
    source = ArraySource.gray(image, Spacing.um((2, 1, 1), 3))
    view = read_view(source, {"truth": mask(truth, source.space)})
    assert (view.image[0] == image).all()
    assert (view.codes == truth).all()
    assert not view.reduced
    assert view.names() == {AGREED: "truth"}


def test_a_large_volume_is_read_in_pieces_and_averaged(monkeypatch):
    image = np.arange(16**3, dtype=np.uint16).reshape(16, 16, 16)
    source = ArraySource.gray(image)
    read = []
    monkeypatch.setattr(source, "_read", lambda box, level: read.append(box) or image[None][(slice(None), *box.slices)].copy())
    monkeypatch.setattr(volume, "AT_ONCE", 512)
    view = read_view(source, {}, 8**3, 8)
    factor = view.spacing.values[0]
    assert view.image.shape == (1, 8, 8, 8)
    assert 2 <= factor <= 2.001
    assert max(box.volume for box in read) <= 1024
    assert len(read) > 4
    assert abs(float(view.image[0, 0, 0, 0]) - image[:2, :2, :2].mean()) < 16


def test_pictures_and_other_masks_are_refused():
    flat = ArraySource.gray(np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match="2 axes"):
        read_view(flat, {})
    solid = ArraySource.gray(np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(DataError, match="vessel"):
        read_view(solid, {"vessel": mask(np.zeros((4, 8, 8), np.uint8), solid.space)})


def test_pieces_cover_every_voxel_once():
    seen = np.zeros((20, 30, 40), int)
    space = Space.of_shape((20, 30, 40))
    for box in volume.pieces((20, 30, 40), space, Spacing.pixels(3)):
        seen[box.slices] += 1
    assert (seen == 1).all()
    assert Box.of_shape((20, 30, 40)).volume == seen.sum()
