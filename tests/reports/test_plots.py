"""Figures of numbers: the values drawn are the values given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malpighi.reports.embed import picture
from malpighi.reports.plots import histogram, learning_curves, score_bars, smoothed


def rows():
    train = [{"step": s, "loss": 1 / s, "lr": 1e-3 * s} for s in range(1, 11)]
    checks = [{"step": s, "validation": {"dice": 0.8, "by_class": {"a": 0.7, "b": 0.9}, "loss": 0.3}} for s in (5, 10)]
    return train + checks


def lines(figure):
    return {line.get_label(): line.get_xydata() for line in figure.axes[0].lines}


def test_learning_curves_draw_loss_dice_and_rate():
    loss, dice, rate = learning_curves(rows(), best_step=5).values()
    assert lines(loss)["validation"].tolist() == [[5, 0.3], [10, 0.3]]
    assert lines(loss)["training"].shape == (10, 2)
    assert lines(dice)["a"][:, 1].tolist() == [0.7, 0.7]
    assert lines(dice)["mean"][:, 1].tolist() == [0.8, 0.8]
    assert lines(dice)["kept"][:, 0].tolist() == [5, 5]
    assert rate.axes[0].lines[0].get_ydata()[-1] == pytest.approx(0.01)


def test_learning_curves_draw_only_what_is_there():
    assert learning_curves([]) == {}
    assert len(learning_curves([{"step": 1, "loss": 1.0, "lr": 0.1}])) == 1  # a constant rate is no curve
    bare = [{"step": 1, "validation": {"dice": None, "by_class": {"a": None, "b": 0.5}, "loss": None}}]
    (figure,) = learning_curves(bare).values()
    assert lines(figure)["b"].tolist() == [[1, 0.5]]
    assert "svg" in picture(figure)


def test_a_class_far_below_the_mean_is_not_cut_off():
    (figure,) = learning_curves([{"step": 1, "validation": {"dice": 0.8, "by_class": {"a": 0.2, "b": 0.9}}}]).values()
    assert figure.axes[0].get_ylim() == (0, 1)
    (figure,) = learning_curves([{"step": 1, "validation": {"dice": 0.8, "by_class": {"a": 0.75, "b": 0.85}}}], 1).values()
    assert figure.axes[0].get_ylim() == (0.5, 1)


def test_a_mean_of_one_class_is_not_drawn_twice():
    (figure,) = learning_curves([{"step": 1, "validation": {"dice": 0.5, "by_class": {"gland": 0.5}}}]).values()
    assert list(lines(figure)) == ["gland"]


def test_infinite_loss_does_not_break_the_curve():
    broken = [{"step": s, "loss": float("nan") if s == 2 else 1.0, "lr": 0.1} for s in (1, 2, 3)]
    (figure,) = learning_curves(broken).values()
    assert np.isfinite(figure.axes[0].get_ylim()).all()


def test_smoothing_starts_unbiased_and_skips_nan():
    assert smoothed(np.array([4.0, 4.0, 4.0]), 10).tolist() == pytest.approx([4, 4, 4])
    assert smoothed(np.array([1.0, 3.0]), 2).tolist() == pytest.approx([1, 7 / 3])  # weights 1/4 and 1/2
    assert smoothed(np.array([np.nan, 2.0, np.nan]), 2).tolist() == pytest.approx([np.nan, 2, 2], nan_ok=True)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(1, 100))
def test_smoothing_stays_within_the_values(values, span):
    out = smoothed(np.array(values), span)
    assert out.min() >= min(values) - 1e-6
    assert out.max() <= max(values) + 1e-6


def test_score_bars_draw_points_and_intervals():
    figure = score_bars({"class": {"a": (0.9, 0.8, 0.95), "b": (0.7, None, None)}, "stain": {"PAS": (None, None, None)}})
    axes = figure.axes[0]
    drawn = [line.get_xdata().tolist() for line in axes.lines]
    assert drawn == [[0.8, 0.95], [0.9], [0.7]]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["class", "a", "b", "stain", "PAS"]
    assert axes.get_xlim() == pytest.approx((0.6, 1.0))
    assert axes.yaxis_inverted()


def test_histogram_counts_every_finite_value():
    figure = histogram(np.array([1.0, 2.0, 2.0, np.nan, 3.0]), "area, px²")
    axes = figure.axes[0]
    assert axes.lines[0].get_xdata()[0] == 2
    assert axes.get_xlabel() == "area, px²"
    assert axes.get_legend().get_texts()[0].get_text() == "median 2.00"
    assert axes.get_xscale() == "linear"
    heights = [p.get_height() for p in axes.patches if hasattr(p, "get_height")]
    assert sum(heights) == 4


def test_histogram_of_decades_is_logarithmic():
    assert histogram(np.geomspace(1, 1e4, 50)).axes[0].get_xscale() == "log"
    assert histogram(np.linspace(-1, 1e4, 50)).axes[0].get_xscale() == "linear"


@pytest.mark.parametrize(
    "values", [[], [np.nan], [3.0], [3.0, 3.0], {"a": np.array([])}, {"a": np.array([1.0]), "b": np.array([])}]
)
def test_histogram_of_little_still_draws(values):
    assert "svg" in picture(histogram(values))
