"""Predictions of several images become the submissions of HuBMAP 2021 and 2022, and are read back."""

import json
import tracemalloc

import numpy as np
import pytest
from typer.testing import CliRunner

from malpighi.annotations.rle import RunLengths
from malpighi.annotations.submissions import open_rle, read_table
from malpighi.errors import DataError, OutputError, RecipeError
from malpighi.geometry import Box, Space, Spacing
from malpighi.inference.store import PredictionStore
from malpighi.tasks.convert import convert
from malpighi.tasks.convert_asked import Conversion
from malpighi.tasks.convert_submission import write_submission
from malpighi.tasks.prediction import Prediction


def predicted(folder, shape, masks, coarser=1.0):
    """A finished prediction of an image of `shape`: masks (class name → bool) at so many times its spacing."""
    spacing = Spacing.um(0.5 * coarser)
    small = next(iter(masks.values())).shape
    image = {"shape": list(shape), "spacing": {"values": [0.5, 0.5], "unit": "µm"}, "path": str(folder)}
    with PredictionStore(
        folder, small, spacing, list(masks), [0.5] * len(masks), fingerprint={"image": image}, overwrite=True
    ) as store:
        for box in Box.of_shape(small).split(store.align):
            store.add(box, np.stack([mask[box.slices] for mask in masks.values()]).astype(np.float32))
        store.finish({})
    return folder


def disc(shape, centre, radius):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2


@pytest.fixture
def two(tmp_path):
    predicted(tmp_path / "out" / "b", (60, 80), {"tuft": disc((60, 80), (20, 30), 12)})
    predicted(tmp_path / "out" / "a", (50, 40), {"tuft": np.zeros((50, 40), bool)})
    return tmp_path / "out"


def test_a_row_an_image_and_an_empty_row_for_an_empty_mask(two, tmp_path):
    told = convert(Conversion(two, tmp_path / "sub.csv"))
    assert told == {
        "kind": "submission", "output": str(tmp_path / "sub.csv"), "objects": 2, "classes": ["tuft"], "empty": ["a"],
        "left_out": [],
    }  # fmt: skip
    lines = (tmp_path / "sub.csv").read_text().splitlines()
    assert lines[:2] == ["id,rle", "a,"]
    mask = disc((60, 80), (20, 30), 12)
    assert lines[2] == f"b,{RunLengths.encode(mask).text()}"
    drawn = open_rle(tmp_path / "sub.csv", Space.of_shape((60, 80)), row="b").rasterise(Box.of_shape((60, 80)))[0]
    np.testing.assert_array_equal(drawn, mask)


def test_order_and_columns_are_the_samples(two, tmp_path):
    (tmp_path / "sample.csv").write_text("id,predicted\nb,1 1\na,\n")
    predicted(two / "c", (9, 9), {"tuft": np.ones((9, 9), bool)})
    told = convert(Conversion(two, tmp_path / "sub.csv", like=tmp_path / "sample.csv"))
    assert [line.partition(",")[0] for line in (tmp_path / "sub.csv").read_text().splitlines()] == ["id", "b", "a"]
    assert (tmp_path / "sub.csv").read_text().startswith("id,predicted\n")
    assert told["left_out"] == ["c"]
    (tmp_path / "sample.csv").write_text("id,predicted\nb,1 1\nz,\n")
    with pytest.raises(DataError, match=r"1 of the 2 ids of .*sample\.csv have no prediction \(z\)"):
        convert(Conversion(two, tmp_path / "again.csv", like=tmp_path / "sample.csv"))
    assert not (tmp_path / "again.csv").exists()


@pytest.mark.parametrize(("coarser", "small"), [(2.0, (30, 40)), (3.0, (20, 27)), (2.5, (24, 32)), (0.8, (75, 100))])
def test_masks_of_another_spacing_are_the_images_pixels(tmp_path, coarser, small):
    """A pixel takes the mask's value at its centre, by a formula that shares nothing with the code."""
    mask = np.random.default_rng(1).random(small) < 0.4
    predicted(tmp_path / "out" / "a", (60, 80), {"tuft": mask}, coarser)
    convert(Conversion(tmp_path / "out", tmp_path / "sub.csv"))
    rows, columns = (np.floor((np.arange(n) + 0.5) / coarser).astype(int) for n in (60, 80))
    wanted = mask[np.ix_(np.minimum(rows, small[0] - 1), np.minimum(columns, small[1] - 1))]
    (text,) = read_table(tmp_path / "sub.csv")["a"]
    np.testing.assert_array_equal(RunLengths.parse(text, (60, 80)).decode(), wanted)


FIVE = ("kidney", "large intestine", "lung")


def organs(tmp_path, filled):
    for name, which in filled.items():
        masks = {each: np.full((8, 8), each in which) for each in FIVE}
        predicted(tmp_path / "out" / name, (8, 8), masks)
    return tmp_path / "out"


def test_of_several_classes_a_row_is_the_organs(tmp_path):
    out = organs(tmp_path, {"1": ("kidney", "large intestine"), "2": ("kidney",)})
    (tmp_path / "test.csv").write_text("id,organ\n2,Lung\n1,largeintestine\n")
    told = convert(Conversion(out, tmp_path / "sub.csv", organs=tmp_path / "test.csv"))
    assert (tmp_path / "sub.csv").read_text() == "id,rle\n1,1 64\n2,\n"  # kidney found in a lung is not written
    assert told["classes"] == ["large intestine", "lung"]


def test_without_organs_the_only_class_found_is_written(tmp_path):
    out = organs(tmp_path, {"1": ("lung",), "2": ()})
    assert convert(Conversion(out, tmp_path / "sub.csv"))["classes"] == ["lung"]
    assert (tmp_path / "sub.csv").read_text() == "id,rle\n1,1 64\n2,\n"
    organs(tmp_path, {"3": ("lung", "kidney")})
    with pytest.raises(DataError, match=r"3: holds kidney and lung.*--class.*--organs.*one_class"):
        convert(Conversion(out, tmp_path / "again.csv"))
    assert convert(Conversion(out, tmp_path / "again.csv", classes=("lung",)))["empty"] == ["2"]
    with pytest.raises(DataError, match="has no class 'spleen'"):
        convert(Conversion(out, tmp_path / "more.csv", classes=("spleen",)))


def test_one_prediction_keeps_its_own_way_and_takes_the_new_one(two, tmp_path):
    convert(Conversion(two / "b", tmp_path / "plain.csv", row="slide"))
    convert(Conversion(two / "b", tmp_path / "named.csv", row="slide", column="predicted"))
    plain, named = ((tmp_path / name).read_text() for name in ("plain.csv", "named.csv"))
    assert named == plain.replace("id,rle", "id,predicted")
    with pytest.raises(OutputError, match="--row slide names one image"):
        convert(Conversion(two, tmp_path / "more.csv", row="slide"))
    with pytest.raises(RecipeError, match="are for predictions"):
        convert(Conversion(tmp_path / "plain.csv", tmp_path / "mask.png", column="predicted", size=(60, 80)))


def test_the_command_says_what_it_left_out(two, tmp_path):
    import typer

    from malpighi.cli.convert import convert as command
    from malpighi.cli.terminal import guarded

    app = typer.Typer()
    app.command()(guarded(command))
    (tmp_path / "sample.csv").write_text("id,predicted\nb,\n")
    done = CliRunner().invoke(app, [str(two), str(tmp_path / "sub.csv"), "--like", str(tmp_path / "sample.csv"), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout.splitlines()[-1])["left_out"] == ["a"]
    assert "submission, 1 rows, 0 of them empty" in " ".join(done.stderr.split())
    assert "1 of the predictions not in" in done.stderr


@pytest.mark.slow
def test_memory_does_not_grow_with_the_image(tmp_path):
    """100 and 400 megapixels, predicted at an eighth: both peaks are those of a band."""
    peaks = []
    for name, side in (("a", 10_000), ("b", 20_000)):
        mask = disc((side // 8, side // 8), (side // 16, side // 16), side // 20)
        predicted(tmp_path / name, (side, side), {"tuft": mask}, 8.0)
        tracemalloc.start()
        write_submission(tmp_path / name, tmp_path / f"{name}.csv")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        runs = RunLengths.parse(read_table(tmp_path / f"{name}.csv")[name][0], (side, side))
        assert runs.area == 64 * np.count_nonzero(mask)
        assert Prediction(tmp_path / name).space.shape == (side, side)
    assert peaks[1] < 1.3 * peaks[0]
