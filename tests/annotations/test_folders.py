import numpy as np
import pytest
import shapely
from PIL import Image

from malpighi.annotations.folders import FolderAnnotation, write_folder
from malpighi.errors import DataError, OutputError
from malpighi.geometry import Box, Shape, Space, Spacing

SPACE = Space.of_shape((6, 8))
WHOLE = Box.of_shape((6, 8))


def test_written_objects_are_read_back(tmp_path):
    shapes = [
        Shape(shapely.box(0, 0, 2, 3), "", id="a"),
        Shape(shapely.box(4, 1, 8, 5), "", id="b/odd"),
        Shape(shapely.Polygon(), ""),
    ]
    assert write_folder(tmp_path / "img", shapes, (6, 8)) == 2
    annotation = FolderAnnotation(tmp_path / "img", SPACE, ("nucleus",))
    found = annotation.instances(WHOLE)
    assert sorted(np.unique(found, return_counts=True)[1].tolist()) == [6, 16, 26]
    np.testing.assert_array_equal(annotation.rasterise(WHOLE)[0], found > 0)
    np.testing.assert_array_equal(annotation.instances(Box((1, 1), (3, 9)))[:, :7], found[1:4, 1:])
    np.testing.assert_array_equal(annotation.instances(Box((0, 0), (2, 3)), Spacing.pixels(2, 3)), found[1::3, 1::3][:2, :3])


def test_overlap_and_empty_masks_are_noted(tmp_path):
    full = np.full((6, 8), 255, np.uint8)
    for name, image in (("1", full), ("2", full * 0), ("3", np.tri(6, 8, dtype=np.uint8) * 255)):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    annotation = FolderAnnotation(tmp_path, SPACE)
    assert annotation.notes == ("21 pixels lie in several objects; the later file wins", "1 masks are empty")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no PNG"):
        FolderAnnotation(tmp_path, SPACE)


def test_a_mask_of_another_size_is_named(tmp_path):
    Image.fromarray(np.zeros((6, 9), np.uint8)).save(tmp_path / "odd.png")
    with pytest.raises(DataError, match=r"odd\.png: a mask of 6 × 9 for an image of 6 × 8"):
        FolderAnnotation(tmp_path, SPACE)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n broken"])
def test_a_broken_mask_is_named(tmp_path, content):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.png: not a PNG"):
        FolderAnnotation(tmp_path, SPACE)


def test_an_existing_folder_is_not_touched(tmp_path):
    with pytest.raises(OutputError, match="exists"):
        write_folder(tmp_path, [], (6, 8))


def test_a_failed_folder_leaves_nothing(tmp_path):
    def broken():
        yield Shape(shapely.box(0, 0, 2, 3), "")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_folder(tmp_path / "img", broken(), (6, 8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real_data
def test_science_bowl_layout(real):
    folder = sorted((real / "nuclei" / "original_layout").iterdir())[0]
    files = sorted((folder / "masks").glob("*.png"))
    with Image.open(files[0]) as image:
        size = image.size[::-1]
    annotation = FolderAnnotation(folder, Space.of_shape(size), ("nucleus",))
    found = annotation.instances(Box.of_shape(size))
    assert len(np.unique(found)) == len(files) + 1
    for number, path in list(enumerate(files, 1))[::20]:
        with Image.open(path) as image:
            np.testing.assert_array_equal(found == number, np.asarray(image) > 0)
