"""The pages of segment and evaluate."""

import json

import numpy as np
import pytest

from malpighi.errors import DataError
from malpighi.geometry import Spacing
from malpighi.metrics.instances import ObjectScore
from malpighi.metrics.overlap import Overlap
from malpighi.metrics.report import Row, summarise
from malpighi.objects.table import ObjectTable
from malpighi.reports.colors import class_colors
from malpighi.reports.embed import png
from malpighi.reports.pictures import overview
from malpighi.reports.prediction import quantity, write_evaluation_report, write_prediction_report
from reports.page import Reader

MANIFEST = {
    "image": "slides/a & <b>.svs", "run": "runs/glas", "spacing": "0.5 µm", "tiles": 1532, "skipped_tiles": 822, "seconds": 312.4,
    "peak_memory_mb": 512, "damage": [], "objects": {"tuft": 3, "capsule": 0}, "thresholds": {"tuft": 0.5},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    rows = [
        {"id": i, "class": "tuft", "area_um2": a, "circularity": 0.8, "mean_probability": None}
        for i, a in enumerate((1e3, 2e3, 6e3))
    ]
    with ObjectTable(tmp_path / "objects.parquet", Spacing.um(0.5)) as table:
        for row in rows:
            table.add(row)
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST))
    return tmp_path


def words(path):
    return Reader(path.read_text(encoding="utf-8")).words


def test_a_prediction_with_objects(folder):
    picture = png(overview(np.zeros((3, 8, 8), np.uint8), {"tuft": []}), dpi=40)
    text = words(write_prediction_report(folder, {"The whole slide": picture}))
    for said in (
        "a & <b>.svs",
        "1 532",
        "822",
        "5 min 12 s",
        "512 MB",
        "The whole slide",
        "median area, µm²",
        "0.5 µm a pixel",
    ):
        assert said in text, said
    assert "2 000" in text  # the median
    assert "9 000" in text  # the sum
    assert "could not be read" not in text
    assert "in pixels" not in text


def test_damage_comes_first(folder):
    (folder / "manifest.json").write_text(json.dumps(MANIFEST | {"damage": [f"tile {i}" for i in range(250)]}))
    reader = Reader(write_prediction_report(folder).read_text(encoding="utf-8"))
    assert "250 parts of the image could not be read" in reader.words
    assert next(attrs["id"] for tag, attrs in reader.tags if tag == "section") == "damage"
    assert "and 50 more" in reader.words


def test_pixels_are_said(folder):
    (folder / "manifest.json").write_text(json.dumps(MANIFEST | {"spacing": "1 px", "damage": ["x"]}))
    text = words(write_prediction_report(folder))
    assert text.index("areas are in pixels") < text.index("What could not be read")


def test_the_manifest_that_segment_writes(folder):
    """An image as a fingerprint, the spacing as values and unit, thresholds by class."""
    real = {
        "image": {"path": "/data/a <b>.svs", "bytes": 5, "shape": [10, 10]},
        "spacing": {"values": [0.5, 0.5], "unit": "µm"},
        "classes": {"tuft": 0.45},
        "options": {"tile": "256", "flips": "False"},
        "stage_seconds": {"network": 75.0},
    }
    (folder / "manifest.json").write_text(json.dumps(MANIFEST | real | {"thresholds": None}))
    text = words(write_prediction_report(folder))
    for said in ("a <b>.svs · segmentation", "0.5 µm a pixel", "tuft 0.450", "1 min 15 s", "256"):
        assert said in text, said
    (folder / "manifest.json").write_text(json.dumps(MANIFEST | {"spacing": {"values": [1, 1], "unit": "px"}}))
    assert "areas are in pixels" in words(write_prediction_report(folder))


def test_nothing_found_and_no_table(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"image": "a.png", "objects": {"tuft": 0}}))
    assert "Nothing was found" in words(write_prediction_report(tmp_path))


def test_a_folder_without_manifest(tmp_path):
    with pytest.raises(DataError, match=r"no manifest\.json"):
        write_prediction_report(tmp_path)


def test_a_broken_table_is_named(folder):
    (folder / "objects.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"objects\.parquet"):
        write_prediction_report(folder)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("area_um2", "area, µm²"),
        ("area_px2", "area, px²"),
        ("volume_um3", "volume, µm³"),
        ("mean_probability", "mean probability"),
    ],
)
def test_quantities(column, text):
    assert quantity(column) == text


def scored(cases=6, donors=3, objects=True):
    rows = []
    for i in range(cases):
        overlap = Overlap((80 + i,), (10,), (20 - i,), (900,))
        for label in ("tuft", "capsule"):
            attributes = {"stain": ("PAS", "H&E")[i % 2]}
            rows.append(
                Row(f"case <{i}>", f"donor {i % donors}", attributes, label, overlap, ObjectScore(4, 1, 1) if objects else None)
            )
    return summarise(rows)


def test_an_evaluation_shows_what_summarise_found(tmp_path):
    scores = json.loads(json.dumps(scored()))  # as it comes back from scores.json
    path = write_evaluation_report(tmp_path / "e.html", scores, title="OUT", subtitle="against TRUTH")
    text = words(path)
    low, high = scores["dice_interval"]
    for said in (
        f"{scores['dice']:.3f}",
        f"{low:.3f} – {high:.3f}",
        "95 % interval",
        "H&E",
        "capsule",
        "donor 2",
        "case <5>",
        "object F1",
    ):
        assert said in text, said
    assert text.index("case <0>") < text.index("case <5>")  # the worst first
    assert "organ" not in text  # a table without rows


def test_an_evaluation_says_why_there_is_no_interval(tmp_path):
    text = words(write_evaluation_report(tmp_path / "e.html", scored(cases=2, donors=2, objects=False)))
    assert "no confidence interval is given" in text
    assert "object F1" not in text


def test_scores_without_anything_still_make_a_page(tmp_path):
    assert "Scores" in words(write_evaluation_report(tmp_path / "e.html", {}))


def test_classes_keep_the_colour_of_the_run(tmp_path):
    page = write_evaluation_report(tmp_path / "e.html", scored(), classes=["capsule", "tuft"]).read_text()
    assert f"rgb{class_colors(['capsule', 'tuft'])['tuft']}" in page.split(">tuft</span>")[0][-60:]
