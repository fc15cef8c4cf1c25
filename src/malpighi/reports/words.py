"""How reports write values: numbers, durations, sizes, lists. One place, so that every page and plot agrees."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MISSING = "–"
NARROW = "\u202f"  # narrow no-break space between groups of three digits, as SI asks


def value_text(value: Any) -> str:
    """A value as a reader wants it: three significant digits or so, thousands grouped, nothing for None and NaN."""
    if hasattr(value, "item") and not isinstance(value, (str, bytes)) and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", NARROW)
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {value_text(v)}" for key, v in value.items()) or MISSING
    if isinstance(value, (list, tuple)):
        return ", ".join(value_text(v) for v in value) or MISSING
    return str(value)


def _float_text(value: float) -> str:
    size = abs(value)
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    if size >= 1000:
        return f"{value:,.0f}".replace(",", NARROW)
    for limit, digits in ((100, 0), (10, 1), (1, 2), (1e-2, 3)):
        if size >= limit:
            return f"{value:.{digits}f}"
    return f"{value:.3g}"


def interval_text(low: float | None, high: float | None) -> str:
    """A confidence interval, or nothing where there is none."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return MISSING
    return f"{value_text(float(low))} – {value_text(float(high))}"


def duration_text(seconds: float | None) -> str:
    """Seconds as a person says them: 0.8 s, 42 s, 12 min 30 s, 3 h 5 min."""
    if seconds is None:
        return MISSING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def memory_text(megabytes: float | None) -> str:
    """Mebibytes as MB below 1,000 and as GB above."""
    if megabytes is None:
        return MISSING
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1024:.2f} GB"


def share_text(share: float | None) -> str:
    """A fraction as per cent."""
    return MISSING if share is None else f"{100 * share:.1f} %"
