import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malpighi.geometry import Box
from malpighi.sampling.hard_boxes import HardBox, HardBoxes, hard_boxes
from malpighi.sampling.plain_boxes import random_boxes

PLAIN = random_boxes([(64, 64)], (8, 8), 1)
A, B = HardBox(3, (1, 2), 9), HardBox(4, (5, 6), 7)


def test_the_list_of_a_batch_is_that_of_the_last_look_at_or_before_it():
    found = HardBoxes()
    assert found.at(100) == ()
    found.add(10, [A])
    found.add(20, [B])
    assert [found.at(n) for n in (9, 10, 19, 20, 99)] == [(), (A,), (A,), (B,), (B,)]
    found.add(15, [])  # a run that was killed after step 20 and goes on from before
    assert [found.at(n) for n in (14, 15, 99)] == [(A,), (), ()]


def test_a_share_comes_from_the_list_once_there_is_one():
    found = HardBoxes()
    series = hard_boxes(PLAIN, found, (8, 8), 0.25, batch=4, seed=2)
    before = [series(n) for n in range(40)]
    assert before == [PLAIN(n) for n in range(40)]
    found.add(5, [A, B])
    assert [series(n) for n in range(20)] == before[:20]  # batches 0 … 4
    later = [series(n) for n in range(20, 2020)]
    hard = [one for one in later if one in ((3, Box((1, 2), (8, 8))), (4, Box((5, 6), (8, 8))))]
    assert len(hard) / 2000 == pytest.approx(0.25, abs=0.04)
    assert np.mean([case == 3 for case, _ in hard]) == pytest.approx(0.5, abs=0.08)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3)), max_size=8), st.integers(0, 60))
def test_what_a_resumed_run_draws_from_is_what_was_written(looks, batch):
    found = HardBoxes()
    for step, count in sorted(looks):
        found.add(step, [HardBox(0, (step, i), i) for i in range(count)])
    back = HardBoxes()
    back.restore(json.loads(json.dumps(found.as_dict())))
    assert back.at(batch) == found.at(batch)
    last = [(step, count) for step, count in sorted(looks, key=lambda look: look[0]) if step <= batch]
    assert all(box.start[0] == last[-1][0] for box in found.at(batch))


def test_who_goes_on_from_a_step_knows_of_no_later_look():
    found = HardBoxes([(10, (A,)), (20, (B,))])
    found.forget(19)
    assert found.at(99) == (A,)
    found.forget(10)
    assert found.at(99) == (A,)
    found.forget(9)
    assert found.at(99) == ()
