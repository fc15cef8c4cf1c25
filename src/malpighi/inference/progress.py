"""Progress: how far a prediction is, and where its time went."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Stage = Literal["read", "wait", "forward", "blend", "yield"]


@dataclass
class Progress:
    """How far a prediction is, and where its time went.

    Attributes:
        total: tiles on the way; one on the border of two columns counts twice, for it is predicted twice.
        tiles: predicted so far.
        skipped: left out so far, as glass.
        seconds: by stage. "read": reading threads' own work; "wait": the network waited for a batch; "forward"; "blend":
            the blending thread's own work; "yield": the consumer had the floor.
    """

    total: int = 0
    tiles: int = 0
    skipped: int = 0
    seconds: dict[Stage, float] = field(
        default_factory=lambda: dict.fromkeys(("read", "wait", "forward", "blend", "yield"), 0.0)
    )
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def share(self) -> float:
        """Share of the way that is done, 0 … 1."""
        return (self.tiles + self.skipped) / self.total if self.total else 1.0

    @contextmanager
    def time(self, stage: Stage) -> Iterator[None]:
        """Add the time that the block takes to `stage`, from any thread."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            with self._lock:
                self.seconds[stage] += spent
