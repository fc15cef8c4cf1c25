"""The training report, from run folders full and bare."""

import json

import numpy as np
import pytest

from malpighi.errors import DataError
from malpighi.reports.embed import png
from malpighi.reports.pictures import comparison
from malpighi.reports.training import write_training_report
from reports.page import Reader

SUMMARY = {
    "best_dice": 0.9123, "best_step": 20, "seconds": 1534, "peak_memory_mb": 2048, "data_share": 0.012, "stopped": "no gain in 5 checks",
    "device": "cpu", "precision": "bf16", "classes": ["tuft"], "unit": "µm", "spacing": "0.5 µm", "train_cases": 8, "validation_cases": 2,
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    run = tmp_path / "run <1> & more"
    (run / "pictures").mkdir(parents=True)
    layers = np.zeros((1, 8, 8), np.uint8)
    image = png(comparison(np.zeros((3, 8, 8), np.uint8), layers, layers, ["tuft"]), dpi=40)
    for name in ("best_a", "median_b <x>", "worst_c", "augmented"):
        (run / f"pictures/{name}.png").write_bytes(image)
    (run / "summary.json").write_text(json.dumps(SUMMARY))
    (run / "plan.json").write_text(json.dumps({"choices": [{"key": "train.tile", "value": 256, "reason": "tufts < 200 px"}]}))
    (run / "environment.json").write_text(json.dumps({"python": "3.11", "packages": {"torch": "2.15"}}))
    lines = [{"step": s, "loss": 1 / s, "lr": 1e-3 / s, "data_seconds": 0.004, "step_seconds": 0.5} for s in range(1, 21)]
    lines += [
        {"step": s, "validation": {"dice": 0.9, "by_class": {"tuft": 0.9}, "loss": None, "seconds": 31}} for s in (10, 20)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "recipe.toml").write_text("[train]\ntile = 256\n")
    return run


def words(path):
    return Reader(path.read_text(encoding="utf-8")).words


def test_a_whole_run(run):
    page = write_training_report(run)
    assert page == run / "report.html"
    text = words(page)
    for said in (
        "run <1> & more", "0.912", "25 min 34 s", "2.00 GB", "no gain in 5 checks", "Best: a", "Median: b <x>", "Worst: c",
        "tufts < 200 px", "1.2 %", "500 ms", "4.0 ms", "31 s", "2.15", "tile = 256", "malpighi segment IMAGE -m", "8 images", "at 0.5 µm a pixel",
    ):  # fmt: skip
        assert said in text, said
    assert "no pixel size" not in text
    reader = Reader(page.read_text(encoding="utf-8"))
    assert sum(tag == "svg" and attrs.get("role") == "img" for tag, attrs in reader.tags) == 3
    assert sum(tag == "img" for tag, _ in reader.tags) == 4
    assert reader.open == []


def test_a_detector_has_its_own_part(run):
    assert "Detector" not in words(write_training_report(run))
    (run / "boxes").mkdir()
    checks = {10: (0.25, 1.0, 0.14), 20: (0.75, 0.6, 1.0)}
    lines = [{"step": step, "loss": 2 / step, "lr": 1e-3} for step in range(1, 21)]
    lines += [
        {"step": step, "validation": {"score": f1, "precision": precision, "recall": recall, "tiles": 12, "seconds": 1}}
        for step, (f1, precision, recall) in checks.items()
    ]
    (run / "boxes/metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = words(write_training_report(run))  # not finished: the last look counts
    for said in ("Detector", "F1 of boxes at IoU .5", "0.750", "0.600", "12"):
        assert said in text, said
    (run / "summary.json").write_text(json.dumps({**SUMMARY, "boxes": {"best_step": 10, "train_seconds": 61}}))
    text = words(write_training_report(run))
    assert "0.250" in text
    assert "1 min 1 s" in text


def test_commands_can_be_pasted_whatever_the_folder_is_called(run):
    text = words(write_training_report(run))
    assert f"-m '{run}' -o OUT" in text
    assert (
        f"-r '{run / 'recipe.toml'}' -o LONGER" in text
    )  # a finished run is not gone on with: `train` refuses other steps there


def test_pixels_are_said_at_the_top(run):
    (run / "summary.json").write_text(json.dumps(SUMMARY | {"unit": "px", "spacing": "1 px"}))
    text = words(write_training_report(run))
    assert text.index("All sizes and areas in this page and in this run are in pixels") < text.index("Learning")


def test_a_run_that_has_only_begun(tmp_path):
    text = words(write_training_report(tmp_path))
    assert "has not finished" in text
    assert "Scores" not in text


def test_no_such_run(tmp_path):
    with pytest.raises(DataError, match="no such run folder"):
        write_training_report(tmp_path / "absent")


def test_a_damaged_file_is_named_and_no_page_is_left(run):
    (run / "plan.json").write_text("{")
    with pytest.raises(DataError, match=r"plan\.json"):
        write_training_report(run)
    assert not (run / "report.html").exists()
