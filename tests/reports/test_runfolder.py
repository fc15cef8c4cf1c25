"""What a run folder holds, finished or cut short."""

import json

import pytest

from malpighi.errors import DataError
from malpighi.reports.runfolder import read_json
from malpighi.training.metrics_file import read_metrics


def write(path, *rows, tail=""):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    return path


def test_absent_files_are_empty(tmp_path):
    assert read_json(tmp_path / "summary.json") == {}
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_repeated_steps_of_a_resumed_run_keep_the_last(tmp_path):
    path = write(
        tmp_path / "m.jsonl",
        {"step": 1, "loss": 9},
        {"step": 2, "loss": 8},
        {"step": 2, "validation": {"dice": 0.1}},
        {"step": 3, "loss": 7},
        {"step": 2, "loss": 5},
        {"step": 2, "validation": {"dice": 0.2}},
    )
    assert read_metrics(path) == [
        {"step": 1, "loss": 9},
        {"step": 2, "loss": 5},
        {"step": 2, "validation": {"dice": 0.2}},
        {"step": 3, "loss": 7},
    ]


def test_half_a_last_line_is_skipped(tmp_path):
    assert read_metrics(write(tmp_path / "m.jsonl", {"step": 1, "loss": 1}, tail='{"step": 2, "lo')) == [{"step": 1, "loss": 1}]


@pytest.mark.parametrize("bad", ["nonsense", "[]", "{}", '{"step": null}'])
def test_a_bad_line_within_is_named(tmp_path, bad):
    path = tmp_path / "m.jsonl"
    path.write_text(f'{{"step": 1}}\n{bad}\n{{"step": 2}}\n')
    with pytest.raises(DataError, match=r"m\.jsonl, line 2"):
        read_metrics(path)


@pytest.mark.parametrize("bad", ["{", "[1]", "\x00"])
def test_a_bad_object_is_named(tmp_path, bad):
    (tmp_path / "plan.json").write_text(bad)
    with pytest.raises(DataError, match=r"plan\.json"):
        read_json(tmp_path / "plan.json")
