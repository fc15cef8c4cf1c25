"""How a whole command speaks to its user, and what it cost."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

Advance = Callable[..., None]
Bar = Callable[..., AbstractContextManager[Advance]]


def _silent(*_: Any, **__: Any) -> None:
    """Say nothing."""


def _no_bar(*_: Any, **__: Any) -> AbstractContextManager[Advance]:
    return nullcontext(_silent)


@dataclass(frozen=True)
class Talk:
    """Lines, and a progress bar a stage; silent by default.

    Attributes:
        say: takes a line of rich markup.
        bar: `bar(description, total=None)` is a context manager that gives `advance(n=1, total=None, text=None)`.
    """

    say: Callable[[str], None] = field(default=_silent)
    bar: Bar = field(default=_no_bar)


def peak_memory_mb() -> float:
    """Most memory this process has held, in MB (10⁶ bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)
