import threading
import time
from itertools import count

import pytest

from malpighi.sampling.ahead import ahead


def test_in_order_whoever_is_ready_first():
    made = ahead(lambda n: (time.sleep(0.02 * (n % 2)), n)[1], count(3), threads=2)
    assert [next(made) for _ in range(6)] == [3, 4, 5, 6, 7, 8]
    made.close()


def test_numbers_may_end():
    assert list(ahead(lambda n: n * n, range(5), threads=2)) == [0, 1, 4, 9, 16]
    assert list(ahead(lambda n: n, [], threads=1)) == []


def test_no_more_than_two_a_thread_are_ready():
    begun = []
    made = ahead(lambda n: begun.append(n) or n, count(), threads=2)
    next(made)
    time.sleep(0.05)
    assert begun == [0, 1, 2, 3]
    made.close()


def test_closing_ends_the_threads_and_errors_come_through():
    def fail(n):
        raise ValueError("tile 7")

    made = ahead(fail, count(), threads=1)
    with pytest.raises(ValueError, match="tile 7"):
        next(made)
    made.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]
