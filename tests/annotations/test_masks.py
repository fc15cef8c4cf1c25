import numpy as np
import pytest
from PIL import Image

from malpighi.annotations.base import UNNAMED
from malpighi.annotations.masks import MaskAnnotation, open_mask
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.array import ArraySource

LABELS = np.array([[0, 1, 1, 0], [0, 2, 255, 0], [3, 3, 0, 0]], np.uint8)
SPACE = Space.of_shape((3, 4))
WHOLE = Box.of_shape((3, 4))


def mask(array, space=SPACE, classes=(), **more):
    return MaskAnnotation(ArraySource.gray(np.asarray(array), name="mask.png"), space, classes, **more)


@pytest.mark.parametrize("value", [1, 255, 77])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_one_class_is_whatever_is_not_zero(value, dtype):
    annotation = mask((LABELS > 0).astype(dtype) * dtype(value))
    assert annotation.classes == (UNNAMED,)
    np.testing.assert_array_equal(annotation.rasterise(WHOLE)[0], LABELS > 0)
    assert not annotation.has_objects


def test_booleans_are_a_mask():
    np.testing.assert_array_equal(mask(LABELS > 0).rasterise(WHOLE)[0], LABELS > 0)


def test_several_classes_are_the_values_from_one_and_255_is_unlabelled():
    drawn = mask(LABELS, classes=("a", "b", "c")).rasterise(WHOLE)
    expected = np.stack([k == LABELS for k in (1, 2, 3)]).astype(np.uint8)
    expected[:, 1, 2] = 255
    np.testing.assert_array_equal(drawn, expected)


def test_a_value_without_class_is_named():
    with pytest.raises(DataError, match=r"mask\.png: value 3 in .*stands for no class; 2 classes \(a, b\)"):
        mask(LABELS, classes=("a", "b")).rasterise(WHOLE)


def test_several_values_of_one_class_are_objects():
    annotation = mask(LABELS, classes=("nucleus",))
    assert annotation.has_objects
    np.testing.assert_array_equal(annotation.instances(WHOLE), LABELS)
    np.testing.assert_array_equal(annotation.rasterise(WHOLE)[0], LABELS > 0)
    assert not annotation.instances(WHOLE, classes=("other",)).any()


def test_binary_masks_have_no_instances():
    with pytest.raises(DataError, match="pixels, not objects"):
        mask((LABELS > 0) * np.uint8(1)).instances(WHOLE)


def test_outside_the_image_is_background():
    drawn = mask(np.ones((3, 4), np.uint8)).rasterise(Box((-1, -1), (5, 6)))[0]
    np.testing.assert_array_equal(drawn, np.pad(np.ones((3, 4)), 1))


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(DataError, match=r"mask\.png: a mask of 3 × 4 for an image of 3 × 5"):
        mask(LABELS, Space.of_shape((3, 5)))
    with pytest.raises(DataError, match="a mask of 3 × 4 for an image of 2 × 2"):
        mask(LABELS, Space.of_shape((2, 2)))
    with pytest.raises(DataError, match="a mask of 3 × 4 for an image of 1 × 3 × 4"):
        mask(LABELS, Space.of_shape((1, 3, 4)))


@pytest.mark.parametrize("size", [(6, 8), (5, 8), (7, 9), (6, 7)])
def test_a_whole_number_reduction_is_taken(size):
    drawn = mask(LABELS, Space.of_shape(size)).rasterise(Box.of_shape(size))[0]
    index = [np.minimum(np.arange(n) // 2, m - 1) for n, m in zip(size, LABELS.shape, strict=True)]
    np.testing.assert_array_equal(drawn, LABELS[np.ix_(*index)] > 0)


@pytest.mark.parametrize("pyramid", [False, True])
def test_coarser_voxels_take_the_voxel_at_their_centre(pyramid):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 2, (9, 12)).astype(np.uint8)
    annotation = mask(array, Space.of_shape((9, 12), Spacing.um(0.5)), nearest_pyramid=pyramid)
    drawn = annotation.rasterise(Box((0, 1), (3, 3)), Spacing.um(1.5))[0]
    np.testing.assert_array_equal(drawn, array[1::3, 4::3])


def test_volumes_are_read_as_images_are():
    volume = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.uint8)
    annotation = mask(volume, Space.of_shape((4, 5, 6)), ("artery", "vein"))
    box = Box((1, 0, 2), (2, 5, 3))
    np.testing.assert_array_equal(annotation.rasterise(box), np.stack([volume[box.slices] == k for k in (1, 2)]))


def test_colours_are_refused_and_gray_saved_as_colour_is_taken(tmp_path):
    gray = (LABELS > 0).astype(np.uint8) * 255
    opaque = np.full_like(gray, 255)
    Image.fromarray(np.stack([gray, gray, gray, opaque], axis=-1)).save(tmp_path / "gray.png")
    Image.fromarray(np.stack([gray, opaque, gray], axis=-1)).save(tmp_path / "colour.png")
    np.testing.assert_array_equal(open_mask(tmp_path / "gray.png", SPACE).rasterise(WHOLE)[0], LABELS > 0)
    with pytest.raises(DataError, match=r"colour\.png: a colour mask.*save it as a label image"):
        open_mask(tmp_path / "colour.png", SPACE).rasterise(WHOLE)


def test_palette_indices_are_the_labels(tmp_path):
    image = Image.fromarray(np.minimum(LABELS, 3)).convert("P")
    image.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 9, 9, 200])
    image.putdata(np.minimum(LABELS, 3).ravel().tolist())
    image.save(tmp_path / "palette.png")
    drawn = open_mask(tmp_path / "palette.png", SPACE, ("a", "b", "c")).rasterise(WHOLE)
    np.testing.assert_array_equal(drawn, np.stack([np.minimum(LABELS, 3) == k for k in (1, 2, 3)]))


def test_fractions_are_no_labels():
    with pytest.raises(DataError, match="a mask of float32"):
        mask(LABELS.astype(np.float32))


def test_jpeg_is_no_mask(tmp_path):
    Image.fromarray(LABELS).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="saved as JPEG has lost"):
        open_mask(tmp_path / "a.jpg", SPACE)


@pytest.mark.real_data
def test_kidney_structures(real):
    for path in sorted((real / "kidney_structures").glob("*/*/masks/*.png"))[::8]:
        with Image.open(path) as image:
            expected = np.asarray(image)[..., 0] > 0
        annotation = open_mask(path, Space.of_shape((256, 256)), (path.parts[-4],))
        np.testing.assert_array_equal(annotation.rasterise(Box.of_shape((256, 256)))[0], expected)


@pytest.mark.real_data
def test_nuclei_are_objects(real):
    path = sorted((real / "nuclei" / "labels").glob("*"))[0]
    with Image.open(path) as image:
        expected = np.asarray(image).astype(np.int32)
    annotation = open_mask(path, Space.of_shape(expected.shape), ("nucleus",))
    np.testing.assert_array_equal(annotation.instances(Box.of_shape(expected.shape)), expected)
