"""The page of a cycle of pseudo-labels."""

import numpy as np
import pytest

from malpighi.reports.cycle import contact_sheet, write_pseudo_report


def row(cycle, score, **more):
    kept = {"pseudo_images": 5 * bool(cycle), "labelled_share": 0.75 * bool(cycle), "confidence": 0.9 if cycle else None}
    return {"cycle": cycle, "run": f"cycle-{cycle}", "score": score, **kept, "agreement": None, **more}


def summary(rows, best):
    return {
        "run": "runs/glands",
        "score": max(one["score"] for one in rows),
        "baseline": rows[0]["score"],
        "best_cycle": best,
        "labelled_images": 10,
        "held_out_images": 3,
        "unlabelled_images": 6,
        "seconds": 4000.0,
        "stopped": "cycle 2 gained less than cycle.gain 0.002",
        "cycles": rows,
    }


@pytest.fixture
def sheet():
    mask = np.zeros((1, 40, 60), np.uint8)
    mask[0, 10:30, 10:30] = 1
    mask[0, 30:] = 255
    return {
        "s1": (np.full((40, 60, 3), 220, np.uint8), {1: mask, 2: mask}),
        "s2": (np.full((50, 60, 3), 90, np.uint8), {2: mask.repeat(2, 1)[:, :50]}),
    }


def test_scores_labels_and_agreement_by_cycle(tmp_path, sheet):
    agreed = {"images": 5, "dice": 0.876, "difference": 0.034, "changed": 0.012}
    rows = [row(0, 0.7), row(1, 0.75), row(2, 0.74, agreement=agreed)]
    left = [{"image": "s9", "why": "others of its group (donor) 2 are held out"}]
    path = write_pseudo_report(
        tmp_path / "report.html",
        summary(rows, 1),
        classes=["gland"],
        sheet=sheet,
        left_out=left,
        recipe="[cycle]",
        use="malpighi segment",
    )
    text = path.read_text(encoding="utf-8")
    for words in (
        "+0.0500",
        "+0.0400",
        "0.876",
        "0.034",
        "cycle.gain 0.002",
        "s9",
        "donor) 2",
        "malpighi segment",
        "1 h 6 min",
    ):
        assert words in text, words
    assert "did not help" not in text


def test_a_cycle_that_did_not_help_says_so(tmp_path):
    path = write_pseudo_report(tmp_path / "report.html", summary([row(0, 0.7), row(1, 0.6)], 0), classes=["gland"])
    assert "Pseudo-labels did not help here" in path.read_text(encoding="utf-8")


def test_two_groups_are_a_row_each(tmp_path):
    pair = [row(1, 0.71, reduction=1.0), row(1, 0.75, reduction=2.0)]
    path = write_pseudo_report(
        tmp_path / "report.html", summary([row(0, 0.7), row(1, 0.75, networks=pair)], 1), classes=["gland"]
    )
    text = path.read_text(encoding="utf-8")
    assert "reduction" in text
    assert "+0.0100" in text


def test_a_panel_a_cycle_and_none_where_it_did_not_label(sheet):
    figure = contact_sheet(sheet, ["gland"])
    shown = [len(axes.images) for axes in figure.axes]
    assert shown == [1, 1, 1, 1, 0, 1]
    edges = np.asarray(figure.axes[1].images[0].get_array())
    assert (edges[10, 10] != 220).any()  # the outline
    assert (edges[5, 5] == 220).all()  # outside
    assert (edges[30:] != 220).any()  # hatched: nobody said
