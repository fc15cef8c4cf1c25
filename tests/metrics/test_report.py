"""Tables of scores and their intervals."""

import json

import numpy as np
import pytest

from malpighi.errors import RecipeError
from malpighi.metrics.bootstrap import Bootstrap
from malpighi.metrics.instances import ObjectScore
from malpighi.metrics.overlap import Overlap
from malpighi.metrics.report import Row, summarise, text_table


def row(case, tp, fp, fn, group="", label="tuft", objects=None, tn=100, **attributes):
    return Row(case, group, attributes, label, Overlap((tp,), (fp,), (fn,), (tn,)), objects)


ROWS = [
    row("a", 10, 0, 0, "d1", organ="kidney", stain="PAS", objects=ObjectScore(2, 0, 0)),
    row("b", 10, 10, 10, "d1", organ="kidney", stain="H&E", objects=ObjectScore(1, 1, 1)),
    row("c", 0, 0, 0, "d2", organ="kidney", stain="PAS", objects=ObjectScore(0, 0, 0)),
    row("d", 30, 0, 20, "d3", organ="colon", stain="PAS", label="gland", objects=ObjectScore(3, 0, 1)),
]


def test_by_hand():
    s = summarise(ROWS)
    assert s["dice"] == pytest.approx((1 + 0.5 + 1 + 0.75) / 4)  # both empty is 1
    assert s["pooled_dice"] == pytest.approx(100 / (100 + 10 + 30))
    assert s["objects"]["f1"] == pytest.approx(12 / (12 + 1 + 2))
    assert (s["images"], s["groups"]) == (4, 3)
    assert {k: round(v["dice"], 3) for k, v in s["by"]["stain"].items()} == {"H&E": 0.5, "PAS": round(2.75 / 3, 3)}
    assert set(s["by"]["donor"]) == {"d1", "d2", "d3"}
    assert s["by"]["class"]["gland"]["dice"] == 0.75
    assert s["by"]["organ"]["colon"]["images"] == 1
    assert [c["case"] for c in s["cases"]] == ["a", "b", "c", "d"]


def test_result_is_plain_json():
    assert json.loads(json.dumps(summarise(ROWS), allow_nan=False)) == summarise(ROWS)


def test_interval_is_over_donors_and_seeded():
    s = summarise(ROWS)
    low, high = s["dice_interval"]
    # the means of the donors' images lie between .75 and 1
    assert 0.75 <= low < s["dice"] < high <= 1
    assert summarise(ROWS)["dice_interval"] == [low, high]
    assert summarise(ROWS, Bootstrap(seed=1, resamples=50))["dice_interval"] != [low, high]


def test_interval_of_the_mean_is_as_wide_as_theory_says():
    rng = np.random.default_rng(0)
    tp = rng.integers(20, 80, 200)
    rows = [row(str(i), int(n), int(100 - n), int(100 - n), f"d{i}") for i, n in enumerate(tp)]
    low, high = summarise(rows)["dice_interval"]
    assert high - low == pytest.approx(2 * 1.96 * tp.std() / 100 / np.sqrt(200), rel=0.1)


def test_images_of_one_donor_widen_the_interval():
    rng = np.random.default_rng(0)
    tp = np.repeat(rng.integers(20, 80, 20), 10)
    widths = []
    for group in (lambda i: f"d{i // 10}", lambda i: f"d{i}"):
        low, high = summarise([row(str(i), int(n), int(100 - n), 0, group(i)) for i, n in enumerate(tp)])["dice_interval"]
        widths.append(high - low)
    assert widths[0] > 2 * widths[1]


def test_two_donors_get_no_interval():
    s = summarise(ROWS[:3])
    assert s["dice_interval"] is None
    assert s["objects"]["f1_interval"] is None
    assert any("2 donors" in w for w in s["warnings"])


def test_unknown_donors_are_said():
    s = summarise([row(str(i), 5, 1, 1) for i in range(4)])
    assert s["by"]["donor"] == s["by"]["organ"] == {}
    assert s["groups"] == 4
    assert s["dice_interval"] is not None
    assert any("donors are unknown" in w for w in s["warnings"])


def test_images_without_a_labelled_voxel_are_left_out():
    s = summarise([*ROWS, row("e", 0, 0, 0, "d4", tn=0)])
    assert s["dice"] == summarise(ROWS)["dice"]
    assert any("1 of 5" in w for w in s["warnings"])


def test_nothing_at_all():
    s = summarise([])
    assert s["dice"] is None
    assert s["pooled_dice"] is None
    assert s["images"] == 0
    assert "all" in text_table(s)


def test_text_has_a_line_for_every_value():
    text = text_table(summarise(ROWS))
    lines = text.splitlines()
    assert "95 % interval" in lines[0]
    assert len(lines) == 1 + 1 + 2 + 2 + 2 + 3
    assert lines[1].split()[:2] == ["all", "0.812"]
    assert any(line.startswith("stain") and "H&E" in line and "0.500" in line for line in lines)


def test_bad_options():
    with pytest.raises(RecipeError, match="resamples"):
        Bootstrap(resamples=0)
