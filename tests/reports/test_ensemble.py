"""The page of an ensemble says what it is worth, and what it cannot know."""

import json

import pytest

from malpighi.errors import DataError
from malpighi.reports.ensemble import write_ensemble_report

SCORES = {"fooled": 0.9, "nested": 0.8765, "half": 0.85, "by": None}
MEMBER = {"column": "a", "fold": 0, "held_out": 3, "spacing": "2 µm", "path": "../a", "thresholds": {"tuft": 0.4}}
STABLE = {"threshold": 0.4, "low": 0.312, "high": 0.456, "dice": 0.9, "top": {"percent": 12.0, "dice": 0.87}, "by": {}}


def told(**more) -> dict:
    return {
        "how": "mean",
        "chosen": "mean",
        "classes": ["tuft"],
        "members": [{"name": name, "weight": 0.5, **MEMBER} for name in ("a", "<b>")],
        "stability": {"tuft": STABLE},
        "attribute": "",
        "by": {},
        "slack": 0.005,
        "candidates": [{"name": "mean", **SCORES}, {"name": "convex", **SCORES, "nested": 0.8764}],
        "weights": {"mean": [0.5, 0.5], "convex": [0.7, 0.3]},
        "columns": ["a", "<b>"],
        "images": [{"id": "s0", "group": "donor 1", "outer_fold": 0, "dice": {"tuft": 0.9}}],
        "curves": {"thresholds": [0.2, 0.5], "dice": {"tuft": [0.9, 0.8]}},
        "remarks": ["the plain mean is used"],
    } | more


def page(folder, **more) -> str:
    (folder / "ensemble.json").write_text(json.dumps(told(**more)))
    return write_ensemble_report(folder).read_text()


def test_what_decided_is_on_the_page(tmp_path):
    text = page(tmp_path)
    for words in ("The plain mean is used.", "▸ mean", "0.8765", "0.8764", "0.312 – 0.456", "&lt;b&gt;", "0.700", "donor 1"):
        assert words in text
    assert "<b>" not in text


def test_without_nested_scores_or_labels_the_page_is_made_all_the_same(tmp_path):
    unknown = {"mean": None}
    text = page(
        tmp_path,
        candidates=[{"name": "mean", **SCORES, "nested": None}],
        curves={"thresholds": [0.5], "dice": {"tuft": [None]}},
        weights=unknown,
    )
    assert "0.9000" in text


def test_votes_show_the_cuts_of_their_members(tmp_path):
    text = page(tmp_path, how="vote", chosen="mean", stability={})
    assert "cut at its own thresholds" in text
    assert "majority of masks" in text


def test_an_empty_folder_is_no_ensemble(tmp_path):
    with pytest.raises(DataError, match=r"no ensemble\.json"):
        write_ensemble_report(tmp_path)


def test_the_command_can_be_pasted_whatever_the_organ_is_called(tmp_path):
    text = page(tmp_path, attribute="organ", by={"large intestine": {"tuft": 0.3}}, stability={})
    assert "--set &#39;ensemble.organ=large intestine&#39;" in text
