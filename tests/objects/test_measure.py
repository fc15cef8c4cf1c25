"""Objects of a mask: values one can work out by hand, units, files."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from malpighi.errors import DataError, OutputError, RecipeError, SpacingError
from malpighi.geometry import Space, Spacing
from malpighi.objects.measure import ObjectOptions, find_objects
from malpighi.objects.table import ObjectTable, schema


def reader(array):
    return lambda box: array[box.slices]


def square():
    """A rectangle of 2 × 3 pixels, at (1, 2)."""
    mask = np.zeros((6, 8), bool)
    mask[1:3, 2:5] = True
    return mask


UM = Space.of_shape((12, 16), Spacing.um(0.5))
EXACT = ObjectOptions(simplify=0)


def test_micrometres_and_level_0_pixels():
    [found] = find_objects(reader(square()), UM, Spacing.um(1.0), "tuft", EXACT)
    row = found.row
    assert row["area_um2"] == 6
    assert (row["centroid_x_um"], row["centroid_y_um"]) == (3.5, 2)
    assert (row["centroid_x_px"], row["centroid_y_px"]) == (7, 4)
    assert [row[k] for k in ("x_min", "y_min", "x_max", "y_max")] == [4, 2, 10, 6]
    assert row["voxels"] == 6
    assert row["mean_probability"] is None
    assert not row["touches_border"]
    assert found.shape.geometry.equals(shapely.box(4, 2, 10, 6))
    assert found.shape.label == "tuft"
    assert found.shape.measurements["Area µm^2"] == 6


def test_unknown_pixel_size_is_said_in_the_names():
    space = Space.of_shape((12, 16))
    [found] = find_objects(reader(square()), space, Spacing.pixels(2, 2), "tuft", EXACT)
    assert found.row["area_px2"] == 24
    assert "centroid_x_um" not in found.row
    assert set(found.shape.measurements) == {"Area px^2", "Perimeter px", "Circularity"}


def test_micrometres_for_an_image_in_pixels_are_refused():
    with pytest.raises(SpacingError, match="--spacing"):
        list(find_objects(reader(square()), Space.of_shape((6, 8)), Spacing.um(1.0), "tuft"))


def test_anisotropic_pixels():
    space = Space.of_shape((6, 8), Spacing.um((2.0, 0.5)))
    [found] = find_objects(reader(square()), space, space.spacing, "tuft", EXACT)
    assert found.row["area_um2"] == 6
    assert found.shape.geometry.bounds == (2, 1, 5, 3)


def test_disc_is_round_and_a_bar_is_not():
    y, x = np.mgrid[:100, :100]
    disc = (y - 50.3) ** 2 + (x - 49.8) ** 2 <= 40**2
    bar = (abs(y - 50) < 3) & (abs(x - 50) < 40)
    space = Space.of_shape(disc.shape, Spacing.um(0.25))
    [round_], [long] = (list(find_objects(reader(m), space, space.spacing, "a")) for m in (disc, bar))
    assert round_.row["circularity"] == pytest.approx(1, abs=0.02)
    assert round_.row["perimeter_um"] == pytest.approx(2 * np.pi * 10, rel=0.02)
    assert round_.row["area_um2"] == pytest.approx(np.pi * 100, rel=0.01)
    assert long.row["circularity"] < 0.3


def test_small_objects_are_dropped_and_small_holes_filled():
    mask = np.zeros((20, 20), bool)
    mask[2:12, 2:12] = True
    mask[5, 5] = False
    mask[16, 16] = True
    space = Space.of_shape(mask.shape, Spacing.um(2.0))
    options = ObjectOptions(min_area=8, fill_holes=8, simplify=0)
    [found] = find_objects(reader(mask), space, space.spacing, "a", options)
    assert found.row["area_um2"] == 400
    assert found.shape.geometry.equals(shapely.box(2, 2, 12, 12))


@pytest.mark.parametrize("probability", [np.full((6, 8), 0.6, np.float32), np.full((6, 8), 153, np.uint8)])
def test_mean_probability_of_fractions_and_bytes(probability):
    [found] = find_objects(reader(square()), UM, Spacing.um(1.0), "a", read_probability=reader(probability))
    assert found.row["mean_probability"] == pytest.approx(0.6)
    assert found.shape.measurements["Mean probability"] == pytest.approx(0.6)


def test_nan_probability_is_refused():
    with pytest.raises(DataError, match="NaN"):
        list(find_objects(reader(square()), UM, Spacing.um(1.0), "a", read_probability=reader(np.full((6, 8), np.nan))))


def test_outline_ends_with_the_image():
    """13 level-0 rows are 7 rows at twice the spacing, the last of them half outside."""
    space = Space.of_shape((13, 16), Spacing.um(0.5))
    mask = np.ones((7, 8), bool)
    [found] = find_objects(reader(mask), space, Spacing.um(1.0), "a", EXACT)
    assert found.shape.geometry.bounds == (0, 0, 16, 13)
    assert found.row["y_max"] == 13
    assert found.row["touches_border"]


def test_blocks_change_nothing_and_ids_are_repeatable():
    mask = np.random.default_rng(3).random((60, 50)) < 0.3
    space = Space.of_shape(mask.shape)
    one = {f.row["id"]: f for f in find_objects(reader(mask), space, space.spacing, "a", EXACT)}
    other = {f.row["id"]: f for f in find_objects(reader(mask), space, space.spacing, "a", EXACT, block=16)}
    assert {k: f.row for k, f in one.items()} == {k: f.row for k, f in other.items()}
    assert all(one[k].shape.geometry.equals(f.shape.geometry) for k, f in other.items())
    assert len({f.shape.id for f in one.values()}) == len(one)


def test_volumes():
    mask = np.zeros((4, 5, 6), bool)
    mask[1:3, 1:3, 1:4] = True
    space = Space.of_shape(mask.shape, Spacing.um((2.0, 1.0, 1.0)))
    [found] = find_objects(reader(mask), space, space.spacing, "vessel", block=2)
    assert found.shape is None
    assert found.row["volume_um3"] == 24
    assert [found.row[f"centroid_{a}_um"] for a in "zyx"] == [4, 2, 2.5]


def test_no_objects():
    assert list(find_objects(reader(np.zeros((6, 8), bool)), UM, Spacing.um(1.0), "a")) == []


@pytest.mark.parametrize("field", ["min_area", "fill_holes", "simplify"])
def test_options_are_checked(field):
    with pytest.raises(RecipeError, match=field):
        ObjectOptions(**{field: -1.0})


# -- table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [Spacing.um(1.0), Spacing.pixels(2, 2)])
def test_table_has_a_column_for_every_value(tmp_path, spacing):
    space = UM if spacing.physical else Space.of_shape((12, 16))
    path = tmp_path / "objects.parquet"
    with ObjectTable(path, spacing) as table:
        shapes = list(table.record(find_objects(reader(square()), space, spacing, "tuft")))
    read = pq.read_table(path)
    [row] = read.to_pylist()
    [found] = find_objects(reader(square()), space, spacing, "tuft")
    assert row == found.row
    assert row["shape_id"] == shapes[0].id
    about = read.schema.metadata
    assert about[b"spacing_unit"].decode() == spacing.unit
    assert about[b"malpighi"]


def test_empty_table_has_its_columns(tmp_path):
    with ObjectTable(tmp_path / "o.parquet", Spacing.um(1.0, 3)) as table:
        assert table.rows == 0
    assert pq.read_schema(tmp_path / "o.parquet").equals(schema(Spacing.um(1.0, 3)))


def test_a_failure_leaves_nothing(tmp_path):
    def broken():
        yield next(find_objects(reader(square()), UM, Spacing.um(1.0), "a"))
        raise RuntimeError("the source failed")

    with pytest.raises(RuntimeError, match="source failed"), ObjectTable(tmp_path / "o.parquet", Spacing.um(1.0)) as table:
        list(table.record(broken()))
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"), ObjectTable(tmp_path / "absent" / "o.parquet", Spacing.um(1.0)):
        pass
