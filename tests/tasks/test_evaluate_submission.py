import json
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from malpighi.annotations.rle import RunLengths
from malpighi.annotations.submissions import read_table, write_table
from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.metrics.overlap import Overlap, count
from malpighi.tasks.evaluate_submission import evaluate_submission
from system.tiny import malpighi, refused

SIZES = {"2f6ecfcdf": (31278, 25794), "8242609fa": (31299, 44066)}


@pytest.fixture
def tables(tmp_path):
    """Truth of two 4 × 4 images: `a` holds its first column, `b` nothing; and a submission that finds half of `a`."""
    (tmp_path / "truth.csv").write_text("id,organ,img_height,img_width,rle\na,lung,4,4,1 4\nb,kidney,4,4,\n")
    (tmp_path / "sub.csv").write_text("id,rle\nb,\na,3 4\n")
    return tmp_path / "sub.csv", tmp_path / "truth.csv"


def test_by_hand(tables):
    told = evaluate_submission(*tables)
    assert [row["dice"] for row in told["cases"]] == [0.5, 1.0]  # 2 of 4 and 4; both empty
    assert told["dice"] == 0.75
    assert told["by"]["organ"]["lung"] == {"dice": 0.5, "accuracy": 12 / 16, "images": 1}
    assert told["by"]["organ"]["kidney"]["accuracy"] == 1


def test_sizes_and_attributes_come_from_another_table(tmp_path):
    (tmp_path / "truth.csv").write_text("id,encoding\na,1 4\n")
    (tmp_path / "sub.csv").write_text("id,predicted\na,1 4\n")
    with pytest.raises(DataError, match=r"truth\.csv: does not say how large.*--sizes"):
        evaluate_submission(tmp_path / "sub.csv", tmp_path / "truth.csv")
    (tmp_path / "sizes.csv").write_text("image_file,width_pixels,height_pixels,sex\na.tiff,2,8,F\n")
    told = evaluate_submission(tmp_path / "sub.csv", tmp_path / "truth.csv", sizes=tmp_path / "sizes.csv", by=["sex"])
    assert told["by"] == {"sex": {"F": {"dice": 1.0, "accuracy": 1.0, "images": 1}}}
    with pytest.raises(DataError, match=r"--by age: .* no such column, only id, encoding, image_file"):
        evaluate_submission(tmp_path / "sub.csv", tmp_path / "truth.csv", sizes=tmp_path / "sizes.csv", by=["age"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,rle\na,1 4\n", r"1 missing \(b\) of the 2 ids"),
        ("id,rle\na,1 4\nb,\nc,\nd,\n", r"2 surplus \(c, d\) of the 2 ids"),
        ("id,rle\na,1 4\nc,\n", r"1 missing \(b\) and 1 surplus \(c\)"),
        ("id,rle\na,1 4\nb,\na,6 1\n", r"sub\.csv: a has several rows"),
        ("id,rle\na,15 4\nb,\n", r"sub\.csv, row a: pair 1 \(15 4\) runs past the end"),
    ],
)
def test_what_is_wrong_is_named(tables, text, message):
    tables[0].write_text(text)
    with pytest.raises(DataError, match=message):
        evaluate_submission(*tables)


def test_the_command_prints_json_and_a_table(tables):
    import typer

    from malpighi.cli.evaluate import evaluate
    from malpighi.cli.terminal import guarded

    app = typer.Typer()
    app.command()(guarded(evaluate))
    sub, truth = map(str, tables)
    done = CliRunner().invoke(app, [sub, truth, "--by", "organ", "--json"])
    assert json.loads(done.stdout.splitlines()[-1])["dice"] == 0.75
    assert "lung" in CliRunner().invoke(app, [sub, truth]).stdout
    for ignored in (["--tolerance", "2um"], ["--iou", "0.5"], ["--no-objects"], ["--class", "lung"]):
        assert CliRunner().invoke(app, [sub, truth, *ignored]).exit_code == 2
    assert CliRunner().invoke(app, [str(tables[0].parent), truth, "--sizes", truth]).exit_code == 2


def test_a_table_that_is_not_there_is_said_to_be_missing_whatever_the_options(tables):
    sub, truth = tables
    answer = malpighi("evaluate", sub, truth.with_name("trian.csv"), "--sizes", truth)
    refused(answer, 3, "trian.csv: does not exist")


def moved(text, shape):
    """The mask 40 pixels further down its columns, as text, and with one slide's first fifth of runs lost."""
    runs = RunLengths.parse(text, shape)
    keep = slice(len(runs) // 5, None)
    starts, stops = runs.starts[keep] + 40, runs.stops[keep] + 40
    return RunLengths(starts, stops, shape)


@pytest.fixture
def slides(real, tmp_path):
    truth = real / "hubmap_kidney" / "train.csv"
    rows = ((name, moved(texts[0], SIZES[name])) for name, texts in read_table(truth).items())
    write_table(tmp_path / "sub.csv", rows, ("id", "predicted"))
    return tmp_path / "sub.csv", truth, real / "hubmap_kidney" / "sizes.csv"


def test_gigapixel_slides_take_no_time(slides):
    sub, truth, sizes = slides
    began = time.perf_counter()
    told = evaluate_submission(sub, truth, sizes=sizes)
    assert time.perf_counter() - began < 2  # .2 s on a machine that does nothing else
    assert 0.5 < told["dice"] < 0.9


@pytest.mark.slow
def test_gigapixel_slides_score_as_their_pixels_do(slides):
    sub, truth, sizes = slides
    told = {row["case"]: row for row in evaluate_submission(sub, truth, sizes=sizes)["cases"]}
    for name, shape in SIZES.items():
        one, other = (RunLengths.parse(read_table(path)[name][0], shape) for path in (sub, truth))
        total = Overlap.none()
        for box in Box.of_shape(shape).split((shape[0], 1024)):
            total = total + count(one.decode(box), other.decode(box))
        assert told[name]["dice"] == total.dice[0]
        assert told[name]["accuracy"] == total.accuracy[0]
        assert told[name]["predicted_pixels"] == int(np.sum(one.stops - one.starts))
