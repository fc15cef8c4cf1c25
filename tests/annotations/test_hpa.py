import numpy as np
import pytest

from malpighi.annotations.hpa import HPA_2021, hpa_row, open_hpa
from malpighi.annotations.hpa_table import Cell, write_hpa
from malpighi.annotations.open import open_annotation
from malpighi.annotations.rle import RunLengths
from malpighi.errors import DataError
from malpighi.geometry import Box, Space

SPACE = Space.of_shape((6, 8))
WHOLE = Box.of_shape((6, 8))


@pytest.fixture
def table(tmp_path):
    first, second = np.zeros((2, 6, 8), np.uint8)
    first[:3, :3] = 1
    second[3:, 4:] = 1
    runs = [RunLengths.encode(mask) for mask in (first, second)]
    cells = [Cell(0, 0.9, runs[0]), Cell(14, 0.4, runs[0]), Cell(18, 0.8, runs[1])]
    write_hpa(tmp_path / "t.csv", [("a", (6, 8), cells), ("b", (5, 5), []), ("c", (6, 8), [Cell(19, 1, runs[0])])])
    return tmp_path / "t.csv", first, second


def test_a_cell_of_two_labels_is_one_object(table):
    path, first, second = table
    annotation = open_annotation(path, SPACE, row="a")
    assert annotation.classes == HPA_2021
    np.testing.assert_array_equal(annotation.instances(WHOLE), first + 2 * second)
    np.testing.assert_array_equal(annotation.instances(WHOLE, classes=("Mitochondria",)), first)
    layers = open_hpa(path, SPACE, ("Mitochondria", "Negative", "Cytosol"), "a").rasterise(WHOLE)
    np.testing.assert_array_equal(layers, [first, second, first * 0])
    assert [item.score for item in annotation.items] == [0.9, 0.4, 0.8]


def test_another_size_row_or_class_is_named(table):
    path, _, _ = table
    with pytest.raises(DataError, match="row b: is of 5 × 5 there, the image of 6 × 8"):
        open_hpa(path, SPACE, row="b")
    with pytest.raises(DataError, match="no row 'x'; 3 ids such as a, b, c"):
        open_hpa(path, SPACE, row="x")
    with pytest.raises(DataError, match="row c, triple 1: class 19 is unknown; the classes are 0 to 18"):
        open_hpa(path, SPACE, row="c")
    assert hpa_row(path, "b").shape == (5, 5)
