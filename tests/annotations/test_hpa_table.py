import numpy as np
import pytest

from malpighi.annotations.coco_rle import to_hpa
from malpighi.annotations.hpa import hpa_row
from malpighi.annotations.hpa_table import Cell, stream_hpa, write_hpa
from malpighi.annotations.rle import RunLengths
from malpighi.errors import DataError

MASK = (np.arange(48).reshape(6, 8) % 5 < 2).astype(np.uint8)


def table(tmp_path, text):
    path = tmp_path / "train.csv"
    path.write_text(text)
    return path


def test_hpa_rows_are_read_back(tmp_path):
    path = tmp_path / "hpa.csv"
    cells = [Cell(3, 0.75, RunLengths.encode(MASK)), Cell(18, 0.5, RunLengths.encode(1 - MASK))]
    write_hpa(path, [("img", (6, 8), cells), ("none", (6, 8), [])])
    assert path.read_text().splitlines()[0] == "ID,ImageWidth,ImageHeight,PredictionString"
    assert path.read_text().splitlines()[2] == "none,8,6,"
    found = {row.name: row.cells for row in stream_hpa(path)}
    assert found["none"] == ()
    assert [(c.label, c.confidence) for c in found["img"]] == [(3, 0.75), (18, 0.5)]
    np.testing.assert_array_equal(found["img"][1].runs.decode(), 1 - MASK)


@pytest.mark.parametrize(
    ("row", "says"), [("a,8,6,0 0.5", "2 words"), ("a,8,6,x 0.5 eJw=", "triple 1"), ("a,8", "row 2 is cut off")]
)
def test_broken_hpa_rows_are_named(tmp_path, row, says):
    with pytest.raises(DataError, match=says):
        hpa_row(table(tmp_path, f"ID,ImageWidth,ImageHeight,PredictionString\n{row}\n"))


HPA = "ID,ImageWidth,ImageHeight,PredictionString\n"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("a,8,6,-1 0.5 M", r"row 2 \(a\), triple 1: '-1' '0.5'; class numbers are 0 or more"),
        ("a,8,6,1 nan M", r"triple 1: '1' 'nan'"),
        ("a,8,6,M 0.5 M", r"row 2 \(a\), triple 1: 'M' '0.5' is not a class number"),
        ("a,8,6,1 0.5 M 2 0.5 !!", r"row 2 \(a\), triple 2: not base64"),
        ("a,9,6,1 0.5 M", r"row 2 \(a\), triple 1: counts add up to 48, a mask of 6 × 9 has 54"),
        ("a,8,6,\na,8,6,", r"row 3: ID 'a' is already on row 2"),
        ("a,0,6,", r"row 2 \(a\) says the image is of 6 × 0"),
    ],
)
def test_wrong_triples_name_row_and_triple(tmp_path, rows, says):
    mask = to_hpa(RunLengths.encode(MASK))
    with pytest.raises(DataError, match=says):
        hpa_row(table(tmp_path, HPA + rows.replace("M", mask) if "M 0" not in rows else HPA + rows))


def test_an_hpa_table_comes_out_as_it_was(tmp_path):
    generator = np.random.default_rng(0)
    cells = [
        Cell(int(generator.integers(19)), float(generator.random()), RunLengths.encode(generator.random((6, 8)) < 0.5))
        for _ in range(20)
    ]
    write_hpa(tmp_path / "a.csv", [("a", (6, 8), cells), ("b", (6, 8), [Cell(1, 1.0, cells[0].runs)]), ("c", (3, 4), [])])
    write_hpa(tmp_path / "b.csv", ((row.name, row.shape, row.cells) for row in stream_hpa(tmp_path / "a.csv")))
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    assert next(iter(stream_hpa(tmp_path / "b.csv"))).cells[3].confidence == cells[3].confidence
