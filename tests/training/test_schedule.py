"""Learning rates at hand-checkable steps."""

import pytest

from malpighi.errors import RecipeError
from malpighi.training.options import OptimOptions
from malpighi.training.schedule import PLATEAU_FACTOR, PLATEAU_PATIENCE, Schedule


def test_cosine_climbs_then_falls_to_the_final_share():
    schedule = Schedule(OptimOptions(rate=1.0, schedule="cosine", warmup=0.1, final=0.01), steps=101)
    assert schedule.rate(0) == pytest.approx(0.1)
    assert schedule.rate(9) == pytest.approx(1.0)
    assert schedule.rate(55) == pytest.approx((1 + 0.01) / 2, abs=0.01)
    assert schedule.rate(100) == pytest.approx(0.01)


def test_one_cycle_starts_low_peaks_at_three_tenths_and_ends_at_final():
    schedule = Schedule(OptimOptions(rate=2.0, schedule="one-cycle", final=0.001), steps=1000)
    rates = [schedule.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(2 / 25, rel=0.01)
    assert rates.index(max(rates)) in (299, 300)
    assert max(rates) == pytest.approx(2.0, rel=1e-4)
    assert rates[-1] == pytest.approx(0.002)


def test_one_cycle_climbs_over_warmup_from_first():
    schedule = Schedule(OptimOptions(rate=1.0, schedule="one-cycle", warmup=0.5, first=0.2, final=0.1), steps=10)
    # cosine arms over (step + 1) / 10: half way up after 2.5 steps, at the top after 5, half way down after 7.5
    assert schedule.rate(4) == pytest.approx(1.0)
    assert schedule.rate(9) == pytest.approx(0.1)
    assert (schedule.rate(1) + schedule.rate(2)) / 2 == pytest.approx(0.6)
    assert (schedule.rate(6) + schedule.rate(7)) / 2 == pytest.approx(0.55)


@pytest.mark.parametrize(("warmup", "best"), [(0.0, 0), (1.0, 9)])
def test_one_cycle_may_only_fall_or_only_climb(warmup, best):
    schedule = Schedule(OptimOptions(rate=1.0, schedule="one-cycle", warmup=warmup, final=0.0), steps=10)
    rates = [schedule.rate(step) for step in range(10)]
    assert rates.index(max(rates)) == best
    assert rates == sorted(rates, reverse=warmup == 0)


def test_linear_falls_in_equal_steps_after_a_climb_from_first():
    schedule = Schedule(OptimOptions(rate=2.0, schedule="linear", warmup=0.4, first=0.2, final=0.1), steps=10)
    # four steps up by .2 each from .2, then six of which the first is the highest and the last .1
    expected = [0.4, 0.6, 0.8, 1.0, 1.0, 0.82, 0.64, 0.46, 0.28, 0.1]
    assert [schedule.rate(step) for step in range(10)] == pytest.approx([2 * share for share in expected])


def test_poly_falls_by_a_power_of_nine_tenths():
    schedule = Schedule(OptimOptions(rate=1.0, schedule="poly", warmup=0.0, final=0.0), steps=11)
    assert [schedule.rate(step) for step in (0, 5, 9, 10)] == pytest.approx([1, 0.5**0.9, 0.1**0.9, 0])


@pytest.mark.parametrize("schedule", ["cosine", "linear", "poly", "plateau", "constant"])
def test_left_to_itself_a_schedule_climbs_from_nothing_over_a_twentieth(schedule):
    rate = Schedule(OptimOptions(rate=1.0, schedule=schedule), steps=100).rate
    assert [rate(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize("fields", [{"warmup": -0.5}, {"warmup": 1.5}, {"first": 2.0}, {"final": -1.0}, {"encoder_rate": -1}])
def test_numbers_out_of_range_are_refused(fields):
    with pytest.raises(RecipeError, match=rf"optim\.{next(iter(fields))}"):
        OptimOptions(**fields)


def test_plateau_falls_only_when_validation_stalls_and_survives_a_checkpoint():
    schedule = Schedule(OptimOptions(rate=1.0, schedule="plateau", warmup=0, final=0.01), steps=100)
    for score in (0.1, 0.2, 0.3):
        schedule.report(score)
    assert schedule.rate(50) == 1.0
    for _ in range(PLATEAU_PATIENCE - 1):
        schedule.report(0.3)
    again = Schedule(schedule.options, steps=100)
    again.load_state_dict(schedule.state_dict())
    again.report(0.3)
    assert again.rate(51) == pytest.approx(PLATEAU_FACTOR)
    for _ in range(50):
        again.report(0.0)
    assert again.rate(99) == pytest.approx(0.01)


def test_constant_is_constant_after_warmup():
    schedule = Schedule(OptimOptions(rate=0.5, schedule="constant", warmup=0.0), steps=10)
    assert {schedule.rate(step) for step in range(10)} == {0.5}
