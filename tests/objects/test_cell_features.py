"""Features of cells: values one can work out by hand, and scikit-image's."""

import numpy as np
import pytest
from skimage.measure import regionprops_table

from malpighi.errors import DataError
from malpighi.objects.cell_features import cell_features
from malpighi.objects.cells import Cells, no_cells


def one_cell():
    """A cell of 3 × 4 pixels at (1, 2), whose nucleus is 1 × 2 pixels in its middle row."""
    labels, nuclei = np.zeros((6, 8), np.int32), np.zeros((6, 8), np.int32)
    labels[1:4, 2:6] = 1
    nuclei[2, 3:5] = 1
    return Cells(labels, nuclei, np.array([False]))


def scene(side=90, count=12):
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:side, :side]
    centres = rng.integers(0, side, (count, 2))
    away = np.hypot(y[..., None] - centres[:, 0], x[..., None] - centres[:, 1])
    nearest = away.argmin(-1)
    labels = np.where(away.min(-1) < 11, nearest + 1, 0)
    nuclei = np.where(away.min(-1) < 4, labels, 0)
    assert len(np.unique(labels)) == count + 1
    image = rng.integers(0, 60000, (2, side, side)).astype(np.uint16)
    return Cells(labels.astype(np.int32), nuclei.astype(np.int32), np.zeros(count, bool)), image


def test_by_hand():
    image = np.zeros((2, 6, 8), np.uint8)
    image[0, 1:4, 2:6] = 10
    image[0, 2, 3:5] = [30, 50]  # the nucleus
    out = {k: v.tolist() for k, v in cell_features(one_cell(), image, ("green", "red"), "green", ring=1).items()}
    assert (out["area"], out["nucleus_area"]) == ([12], [2])
    assert (out["centroid_y"], out["centroid_x"]) == ([2.5], [4.0])
    assert [out[k] for k in ("y_min", "x_min", "y_max", "x_max")] == [[1], [2], [4], [6]]
    assert out["solidity"] == [1]
    assert (out["green_cell_sum"], out["green_cell_mean"]) == ([180], [15])
    assert (out["green_nucleus_mean"], out["green_nucleus_std"]) == ([40], [10])
    assert (out["green_cytoplasm_mean"], out["green_cytoplasm_std"]) == ([10], [0])
    assert (out["green_membrane_sum"], out["green_membrane_mean"]) == ([100], [10])
    assert out["protein_nucleus_cytoplasm"] == [4]
    assert out["protein_of_median"] == [1]
    assert out["red_cell_sum"] == [0]


def test_the_ring_leaves_out_the_middle_but_not_the_images_border():
    labels = np.ones((5, 7), np.int32)
    labels[:, 6] = 2
    cells = Cells(labels, np.where(np.arange(7) == 0, labels, 0).astype(np.int32), np.array([True, True]))
    out = cell_features(cells, np.ones((1, 5, 7)), ("green",), "green", ring=2)
    assert out["green_membrane_sum"][0] == 10  # the two columns beside cell 2
    assert out["green_cytoplasm_sum"][0] == 25


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_equals_scikit_image(dtype):
    cells, image = scene()
    image = (image / 300).astype(dtype)
    out = cell_features(cells, image, ("a", "b"), "b")
    wanted = ("area", "centroid", "bbox", "eccentricity", "intensity_mean", "intensity_std")
    table = regionprops_table(cells.labels, np.moveaxis(image, 0, -1), properties=wanted)
    np.testing.assert_array_equal(out["area"], table["area"])
    np.testing.assert_allclose(out["centroid_y"], table["centroid-0"] + 0.5)
    np.testing.assert_allclose(out["eccentricity"], table["eccentricity"], atol=1e-6)
    for i, name in enumerate(("y_min", "x_min", "y_max", "x_max")):
        np.testing.assert_array_equal(out[name], table[f"bbox-{i}"])
    for i, name in enumerate("ab"):
        np.testing.assert_allclose(out[f"{name}_cell_mean"], table[f"intensity_mean-{i}"], rtol=1e-5)
        np.testing.assert_allclose(out[f"{name}_cell_std"], table[f"intensity_std-{i}"], rtol=1e-5)
    cytoplasm = regionprops_table(np.where(cells.nuclei > 0, 0, cells.labels), image[1], properties=("intensity_mean",))
    np.testing.assert_allclose(out["b_cytoplasm_mean"], cytoplasm["intensity_mean"], rtol=1e-5)


def test_solidity_is_area_over_the_hull():
    labels = np.zeros((8, 8), np.int32)
    labels[1:7, 1:3] = labels[5:7, 1:7] = 1  # an L: 6 × 2 and 2 × 4 more, the hull lacks a triangle of 4 × 4
    cells = Cells(labels, labels, np.array([False]))
    out = cell_features(cells, np.ones((1, 8, 8)), ("green",), "green")
    np.testing.assert_allclose(out["solidity"], 20 / (36 - 8))


def test_no_cell_gives_empty_columns():
    out = cell_features(no_cells((4, 4)), np.zeros((1, 4, 4)), ("green",), "green")
    assert {len(v) for v in out.values()} == {0}


def test_a_cell_that_is_all_nucleus_has_no_ratio():
    labels = np.ones((3, 3), np.int32)
    out = cell_features(Cells(labels, labels, np.array([True])), np.ones((1, 3, 3)), ("green",), "green")
    assert np.isnan(out["green_cytoplasm_mean"]).all()
    assert np.isnan(out["protein_nucleus_cytoplasm"]).all()


@pytest.mark.parametrize(
    ("shape", "names", "protein"),
    [((1, 5, 8), ("green",), "green"), ((2, 6, 8), ("green",), "green"), ((1, 6, 8), ("red",), "green")],
)
def test_what_does_not_fit_is_refused(shape, names, protein):
    with pytest.raises(DataError):
        cell_features(one_cell(), np.zeros(shape), names, protein)
