"""Batches made ahead of their need, in threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")


def ahead(make: Callable[[int], Made], numbers: Iterable[int], threads: int) -> Generator[Made]:
    """`make(n)` of each number, in their order, two a thread kept ready; numbers may go on without end.

    Closing the iterator ends its threads.
    """
    ready: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="batches")
    try:
        for n in numbers:
            ready.append(pool.submit(make, n))
            if len(ready) == 2 * threads:
                yield ready.popleft().result()
        while ready:
            yield ready.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
