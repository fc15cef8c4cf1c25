import numpy as np
import pytest
import shapely
import tifffile
import zarr
from PIL import Image

from malpighi.annotations.label_images import labels_of, layer_of, write_png, write_tiff, write_zarr
from malpighi.annotations.masks import open_mask
from malpighi.annotations.outlines import Outlines, ShapesAnnotation
from malpighi.errors import OutputError
from malpighi.geometry import Box, Shape, Space, Spacing
from malpighi.images.open import open_image

SPACE = Space.of_shape((700, 900), Spacing.um(0.5))
WHOLE = Box.of_shape((700, 900))
SHAPES = (Shape(shapely.Point(400, 300).buffer(200), "capsule"), Shape(shapely.Point(420, 310).buffer(120), "tuft"))
DRAWN = ShapesAnnotation("a", SPACE, Outlines(SHAPES))


def test_the_inner_class_shows_where_it_is_given_last():
    labels = labels_of(DRAWN)(WHOLE)
    layers = DRAWN.rasterise(WHOLE)
    np.testing.assert_array_equal(labels, np.where(layers[1] == 1, 2, layers[0]))


def test_png_gives_the_labels_back(tmp_path):
    write_png(tmp_path / "a.png", labels_of(DRAWN), (700, 900))
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), labels_of(DRAWN)(WHOLE))
    wide = np.arange(6).reshape(2, 3) * 1000
    write_png(tmp_path / "b.png", lambda box: wide[box.slices], (2, 3), np.uint16)
    with Image.open(tmp_path / "b.png") as image:
        np.testing.assert_array_equal(np.asarray(image), wide)


def test_png_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(OutputError, match="write a TIFF"):
        write_png(tmp_path / "a.png", labels_of(DRAWN), (700, 900), np.int32)
    with pytest.raises(OutputError, match="too large for a PNG"):
        write_png(tmp_path / "a.png", labels_of(DRAWN), (30_000, 30_000))
    with pytest.raises(OutputError, match="label 70000 does not fit"):
        write_png(tmp_path / "a.png", lambda box: np.full(box.size, 70_000), (2, 2), np.uint16)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("compression", ["deflate", "zstd"])
def test_tiff_is_tiled_and_gives_the_labels_back(tmp_path, compression):
    asked = []

    def read(box):
        asked.append(box.volume)
        return labels_of(DRAWN)(box)

    write_tiff(tmp_path / "a.tif", read, (700, 900), spacing=SPACE.spacing, tile=256, compression=compression)
    assert max(asked) <= 256 * 900
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        page = tif.pages[0]
        assert page.is_tiled
        np.testing.assert_array_equal(page.asarray(), labels_of(DRAWN)(WHOLE))
        assert page.tags["XResolution"].value == (20_000, 1)
    annotation = open_mask(tmp_path / "a.tif", SPACE, ("capsule", "tuft"))
    np.testing.assert_array_equal(annotation.rasterise(WHOLE)[1], DRAWN.rasterise(WHOLE)[1])


def test_a_volume_is_a_tiff_of_pages(tmp_path):
    volume = np.random.default_rng(0).integers(0, 2, (3, 40, 50)).astype(np.uint8)
    write_tiff(tmp_path / "a.tif", lambda box: volume[box.slices], volume.shape, tile=32)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), volume)


def test_zarr_holds_one_label_image_a_class(tmp_path):
    path = tmp_path / "labels.ome.zarr"
    write_zarr(path, {name: layer_of(DRAWN, name) for name in DRAWN.classes}, (700, 900), SPACE.spacing)
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(zarr.open_array(path / "labels" / "tuft" / "0", mode="r")[:], DRAWN.rasterise(WHOLE)[1])
    annotation = open_mask(path, SPACE)
    assert annotation.classes == ("capsule", "tuft")
    box = Box((100, 200), (300, 400))
    np.testing.assert_array_equal(annotation.rasterise(box), DRAWN.rasterise(box))
    assert open_mask(path, SPACE, ("tuft",)).classes == ("tuft",)


def test_zarr_is_not_overwritten_unasked(tmp_path):
    path = tmp_path / "labels.ome.zarr"
    layers = {"tuft": layer_of(DRAWN, "tuft")}
    write_zarr(path, layers, (700, 900), SPACE.spacing)
    with pytest.raises(OutputError, match="exists"):
        write_zarr(path, layers, (700, 900), SPACE.spacing)
    write_zarr(path, {"capsule": layer_of(DRAWN, "capsule")}, (700, 900), SPACE.spacing, overwrite=True)
    assert open_mask(path, SPACE).classes == ("capsule",)


def test_a_failed_zarr_leaves_nothing(tmp_path):
    def broken(box):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_zarr(tmp_path / "a.zarr", {"tuft": broken}, (70, 90), SPACE.spacing)
    assert list(tmp_path.iterdir()) == []


def test_a_stack_says_how_far_its_slices_lie_apart(tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, (5, 20, 30)).astype(np.uint8)
    spacing = Spacing.um((2, 0.5, 0.25))
    write_tiff(tmp_path / "a.tif", lambda box: labels[box.slices], labels.shape, spacing=spacing)
    with open_image(tmp_path / "a.tif") as image:
        assert image.space.spacing == spacing
        np.testing.assert_array_equal(image.read(Box.of_shape(labels.shape))[0], labels)
