"""The score of HuBMAP's two competitions: mean over images of Dice, of run-length masks as they are, without drawing them.

A mask is sorted half-open runs that do not overlap, indices into its flattened pixels; both masks are flattened alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from malpighi.errors import DataError
from malpighi.metrics.overlap import Overlap

Runs = tuple[np.ndarray, np.ndarray]
"""Starts and stops, (run,) int64 each."""


def covered(runs: Runs, places: np.ndarray) -> np.ndarray:
    """How many pixels of a mask lie below each of `places`: (place,) int64."""
    starts, stops = runs
    if not len(starts):
        return np.zeros(len(places), np.int64)
    whole = np.concatenate([[0], np.cumsum(stops - starts)])
    begun = np.searchsorted(starts, places, "right")
    beyond = np.maximum(stops[begun - 1] - places, 0)  # of the last run begun; of none (begun 0) it does not count
    return whole[begun] - np.where(begun > 0, beyond, 0)


def shared(one: Runs, other: Runs) -> int:
    """Pixels in both masks: each run of the shorter list is looked up in the longer, by bisection."""
    few, many = sorted((one, other), key=lambda runs: len(runs[0]))
    return int((covered(many, few[1]) - covered(many, few[0])).sum())


def run_overlap(predicted: Runs, true: Runs, pixels: int) -> Overlap:
    """Counts of one image of `pixels` pixels, as of one class.

    Raises:
        DataError: the runs hold more pixels than the image.
    """
    both = shared(predicted, true)
    found, wanted = (int((stops - starts).sum()) for starts, stops in (predicted, true))
    right = pixels - found - wanted + both
    if max(found, wanted) > pixels or right < 0:
        raise DataError(f"masks of {found} and {wanted} pixels in an image of {pixels}; check its size")
    return Overlap((both,), (found - both,), (wanted - both,), (right,))


@dataclass(frozen=True)
class ImageScore:
    """An image: its id, its counts, and what else is known of it ("organ" → "kidney")."""

    case: str
    overlap: Overlap
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def dice(self) -> float:
        """2|X∩Y| / (|X| + |Y|); 1 where both are empty."""
        return float(self.overlap.dice[0])

    @property
    def accuracy(self) -> float:
        """Share of the image's pixels that are right, background included."""
        return float(self.overlap.accuracy[0])


def official_summary(scores: Sequence[ImageScore], by: Sequence[str] = ()) -> dict[str, Any]:
    """The official score, and the same by attribute.

    Args:
        scores: one an image.
        by: attributes to make tables of; images without a value are "unknown".

    Returns:
        "dice" (the competitions' score), "accuracy", "images", "by" → attribute → value → the same three, "cases".

    Raises:
        DataError: no image.
    """
    if not scores:
        raise DataError("no image is scored; give a table with at least one row")
    tables: dict[str, dict[str, list[ImageScore]]] = {name: {} for name in by}
    for name, parts in tables.items():
        for score in scores:
            parts.setdefault(score.attributes.get(name) or "unknown", []).append(score)
    return {
        **_means(scores),
        "by": {name: {value: _means(parts[value]) for value in sorted(parts)} for name, parts in tables.items()},
        "cases": [
            {
                "case": score.case,
                **{name: score.attributes.get(name, "") for name in by},
                "dice": score.dice,
                "accuracy": score.accuracy,
                "predicted_pixels": score.overlap.tp[0] + score.overlap.fp[0],
                "true_pixels": score.overlap.tp[0] + score.overlap.fn[0],
            }
            for score in scores
        ],
    }


def _means(scores: Sequence[ImageScore]) -> dict[str, Any]:
    return {
        "dice": float(np.mean([score.dice for score in scores])),
        "accuracy": float(np.mean([score.accuracy for score in scores])),
        "images": len(scores),
    }


def official_text(summary: Mapping[str, Any]) -> str:
    """The tables of `official_summary` as aligned plain text, the cases last."""
    lines = [("", "", "Dice", "accuracy", "images"), ("all", "", *_cells(summary))]
    for name, parts in summary["by"].items():
        lines += [(name, value, *_cells(entry)) for value, entry in parts.items()]
    lines += [("case", row["case"], f"{row['dice']:.4f}", f"{row['accuracy']:.4f}", "") for row in summary["cases"]]
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    return "\n".join(
        "  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in lines
    )


def _cells(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{entry['dice']:.4f}", f"{entry['accuracy']:.4f}", str(entry["images"])
