"""Learning rates at hand-checkable steps."""

import pytest

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
