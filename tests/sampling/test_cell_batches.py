"""Batches of images and crops: number n is always the same, masks are warped with their pixels, nothing is 8 bits by chance."""

from dataclasses import replace

import numpy as np
import pytest

from malpighi.objects.cells import Cells
from malpighi.sampling.augment import PRESETS, AugmentOptions
from malpighi.sampling.cell_batches import CellBatches, CropItems, ImageItems, in_order
from malpighi.sampling.cell_data import CellData
from malpighi.sampling.cell_folder import ImageRow, Sizes, finish, write_image

STANDARD = replace(PRESETS["standard"], hue=0, saturation=0, stain=0, tone=0, blur=0, noise=0, chance=1)
IDENTITY = PRESETS["none"]


@pytest.fixture(scope="module", params=["uint8", "uint16", "float32"])
def data(request, tmp_path_factory):
    """Three images of 32², each with two square cells, of four channels: 20 outside of cells and 20 + 50 n in cell n."""
    folder = tmp_path_factory.mktemp("prepared")
    labels = np.zeros((32, 32), np.int32)
    labels[4:16, 4:16], labels[18:30, 10:26] = 1, 2
    for name in "abc":
        image = (20 + 50 * labels)[None].repeat(4, 0).astype(request.param)
        write_image(folder, name, image, Cells(labels, labels, np.zeros(2, bool)), Sizes(side=32, crop=16, margin=0.2))
    rows = [ImageRow(name, "", "", (name,)) for name in "abc"]
    finish(folder, rows, {"classes": "abc", "channels": ["r", "g", "b", "y"], "side": 32, "crop": 16})
    return CellData.open(folder)


def _batches(items, targets, augmentation=STANDARD, threads=1, **changes):
    return CellBatches(
        items, targets, lambda number: number % len(targets), augmentation, batch=4, seed=5, threads=threads, **changes
    )


def _cell_targets(data):
    return data.targets[data.image_of]


def _take(batches, n, first=0):
    stream = batches(first)
    out = [next(stream) for _ in range(n)]
    stream.close()
    return out


@pytest.mark.parametrize("kind", [ImageItems, CropItems])
def test_shapes_types_and_targets(data, kind):
    targets = data.targets if kind is ImageItems else _cell_targets(data)
    side = 32 if kind is ImageItems else 16
    (batch,) = _take(_batches(kind(data), targets), 1)
    assert batch.images.shape == (4, 4, side, side)
    assert batch.images.dtype == data.dtype
    assert batch.targets.dtype == np.float32
    np.testing.assert_array_equal(batch.targets, targets[[n % len(targets) for n in range(4)]])


@pytest.mark.parametrize("kind", [ImageItems, CropItems])
def test_a_number_is_the_same_batch_from_any_start_and_number_of_threads(data, kind):
    targets = data.targets if kind is ImageItems else _cell_targets(data)
    augmentation = replace(PRESETS["standard"], hue=0.05, stain=0.05, chance=1)
    whole = _take(_batches(kind(data), targets, augmentation), 5)
    later = _take(_batches(kind(data), targets, augmentation, threads=3), 2, first=3)
    for expected, got in zip(whole[3:], later, strict=True):
        np.testing.assert_array_equal(expected.images, got.images)
        np.testing.assert_array_equal(expected.targets, got.targets)
    assert (whole[0].images != whole[3].images).any()


def test_without_augmentation_samples_are_as_stored(data):
    (batch,) = _take(_batches(ImageItems(data), data.targets, IDENTITY), 1)
    np.testing.assert_array_equal(batch.images[1], data.image(1))


def test_masked_crops_are_0_outside_of_the_cell_however_they_are_warped(data):
    """A warp of pixels and one of the mask that did not agree would leave the ground's 20 in, or the neighbour's value."""
    items = CropItems(data, alone=True, masked=True)
    for batch in _take(_batches(items, _cell_targets(data), replace(STANDARD, shift=0.4)), 6):
        pixels, mask = batch.images[:, :4].astype(float), batch.images[:, 4:].astype(bool)
        own = np.array([20 + 50 * data.number[n % data.cells] for n in range(4)])[:, None, None, None]
        assert not pixels[~np.broadcast_to(mask, pixels.shape)].any()
        inside = np.where(mask, pixels, own)
        assert (np.abs(inside - own) > 0).mean() < 0.2  # only along the edge is the ground mixed in
        assert (inside >= 20).all()
        assert mask.any((1, 2, 3)).all()


def test_crops_with_their_surroundings(data):
    items = CropItems(data, alone=False)
    (batch,) = _take(_batches(items, _cell_targets(data), IDENTITY), 1)
    np.testing.assert_array_equal(batch.images[1], data.crop(1))
    assert (batch.images[0][:, ~data.mask(0)] == 20).any()


def test_masked_images_bring_their_cells_as_a_last_channel(data):
    (batch,) = _take(_batches(ImageItems(data, masked=True), data.targets, replace(STANDARD, shift=0)), 1)
    assert batch.images.shape == (4, 5, 32, 32)
    assert set(np.unique(batch.images[:, 4])) == {0, 1}
    # linear at edges, so they are within a pixel of each other
    seen = batch.images[:, 0].astype(float) > 45
    assert (seen == (batch.images[:, 4] == 1)).mean() > 0.9


def test_four_channels_take_every_augmentation(data):
    options = AugmentOptions(distort=0.2, chance=1)
    (batch,) = _take(_batches(ImageItems(data), data.targets, options), 1)
    assert np.isfinite(batch.images.astype(float)).all()
    assert batch.images.astype(float).std() > 0


@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_in_order_gives_every_row_once(data, size):
    rows = np.array([5, 0, 3])
    got = list(in_order(CropItems(data, alone=False), rows, size))
    assert [len(part) for part in got] == {1: [1, 1, 1], 2: [2, 1]}.get(size, [3])
    np.testing.assert_array_equal(np.concatenate(got), np.stack([data.crop(j) for j in rows]))


def test_in_order_of_nothing(data):
    assert not list(in_order(CropItems(data), np.zeros(0, np.int64), 4))
