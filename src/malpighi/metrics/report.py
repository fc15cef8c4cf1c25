"""Scores of many images as tables: overall, by class, organ, stain and donor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from malpighi.metrics.bootstrap import FEWEST, Bootstrap
from malpighi.metrics.instances import ObjectScore
from malpighi.metrics.overlap import Overlap, combined

APART = {"ap50": "AP50", "mean_precision": "mean precision", "pq": "PQ"}
"""Scores of objects that both sides tell apart, and what tables call them."""
VOLUME = {"surface_dice": "surface Dice", "nsd": "NSD", "cldice": "clDice", "betti0_error": "Betti-0 error"}
"""Scores that only volumes have."""
FURTHER = {**APART, **VOLUME}
"""Scores that not every image has, and what tables call them."""
TABLES = ("class", "organ", "stain", "donor")
"""Tables that every report has, be they empty."""

Summary = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """Scores of one class in one image.

    Attributes:
        case: the image's id.
        group: its donor; "" where unknown: the image then stands for itself.
        attributes: "organ", "stain", … → value.
        label: the class.
        overlap: counts of this class alone; without a scored voxel the row says nothing and is left out.
        objects: matches at IoU .5; None where objects were not scored.
        matches: at each IoU of `THRESHOLDS`, where both sides tell objects apart; else empty.
        extra: what else is known of the row, for the list of cases alone.
        further: more scores, such as those of `FURTHER`; tables show their means over rows. NaN: undefined here.
    """

    case: str
    group: str
    attributes: Mapping[str, str]
    label: str
    overlap: Overlap
    objects: ObjectScore | None = None
    matches: tuple[ObjectScore, ...] = ()
    extra: Mapping[str, float] = field(default_factory=dict)
    further: Mapping[str, float] = field(default_factory=dict)

    @property
    def scored(self) -> bool:
        """Whether anybody said what is in this image."""
        return bool(self.overlap.voxels[0] > 0)

    @property
    def unit(self) -> str:
        """What is resampled: the donor, or the image where donors are unknown."""
        return self.group or f"case {self.case}"

    def without_precisions(self) -> Row:
        """The row where a side does not tell objects apart after all."""
        return replace(self, matches=(), further={k: v for k, v in self.further.items() if k not in APART})


def image_precisions(matches: Sequence[ObjectScore]) -> dict[str, float]:
    """The scores of `APART` of one image: AP (TP / (TP + FP + FN)) and panoptic quality at IoU .5, mean AP over .5 … .95.

    As the Data Science Bowl 2018 and Sartorius score; without an object on either side all are 1.

    Args:
        matches: at each IoU of `THRESHOLDS`.
    """
    precisions = [score.average_precision for score in matches]
    return {"ap50": precisions[0], "mean_precision": float(np.mean(precisions)), "pq": matches[0].pq}


def summarise(rows: Sequence[Row], bootstrap: Bootstrap | None = None) -> Summary:
    """Make all tables.

    `dice` is HuBMAP's: the mean over images (and classes) of each one's Dice; `pooled_dice` and `iou`, `precision`,
    `recall` are of all voxels together. Intervals are over donors. NaN and missing intervals are None. Where rows have
    `further` scores, each is a mean over the rows where it is defined, with an interval of its own. Where both sides tell
    objects apart, `pooled_mean_precision` is of all images' objects together.

    Returns:
        JSON-able: the overall entry (`dice`, `dice_interval`, `pooled_dice`, `pooled_dice_interval`, `iou`, `precision`,
        `recall`, `objects`, `images`, `groups`), and `by` → table → value → entry, `cases`, `warnings`, `bootstrap`.
    """
    bootstrap = bootstrap or Bootstrap()
    scored = [row for row in rows if row.scored]
    by: dict[str, dict[str, Summary]] = {}
    for table in dict.fromkeys((*TABLES, *(name for row in scored for name in row.attributes))):
        by[table] = {value: _entry(part, bootstrap) for value, part in sorted(_parted(scored, table).items())}
    return {
        **_entry(scored, bootstrap),
        "by": by,
        "cases": [_case(row) for row in scored],
        "warnings": _warnings(rows, scored),
        "bootstrap": {
            "resamples": bootstrap.resamples,
            "confidence": bootstrap.confidence,
            "seed": bootstrap.seed,
            "over": "donors",
        },
    }


def _parted(rows: Sequence[Row], table: str) -> dict[str, list[Row]]:
    """Rows by their value in a table; those of unknown value are listed only beside known ones."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        if table == "class":
            value = row.label
        elif table == "donor":
            value = row.group or row.attributes.get("donor", "")
        else:
            value = row.attributes.get(table, "")
        parts.setdefault(value or "unknown", []).append(row)
    return {} if set(parts) == {"unknown"} else parts


# columns of the sums that everything else is made of
_DICE, _ROWS, _TP, _FP, _FN, _FOUND, _MADE_UP, _MISSED, _FURTHER = range(9)


def _sums(row: Row, further: Sequence[str]) -> tuple[float, ...]:
    o, k = row.overlap, row.objects or ObjectScore(0, 0, 0)
    pairs: list[float] = []
    for name in further:
        value = row.further.get(name, math.nan)
        pairs += (value, 1) if math.isfinite(value) else (0, 0)
    return (float(o.dice[0]), 1, o.tp[0], o.fp[0], o.fn[0], k.tp, k.fp, k.fn, *pairs)


def _mean(sums: np.ndarray, column: int = _DICE) -> np.ndarray:
    """Means of a column whose number of rows is in the next one; NaN of none."""
    return sums[:, column] / np.where(sums[:, column + 1] > 0, sums[:, column + 1], np.nan)


def _further(rows: Sequence[Row]) -> list[str]:
    """Names of the further scores, in order."""
    return list(dict.fromkeys(name for row in rows for name in row.further))


def _f1(tp: int, fp: int, fn: int, sums: np.ndarray) -> np.ndarray:
    whole = 2 * sums[:, tp] + sums[:, fp] + sums[:, fn]
    return np.where(whole > 0, 2 * sums[:, tp] / np.maximum(whole, 1), 1.0)


def _entry(rows: Sequence[Row], bootstrap: Bootstrap) -> Summary:
    total = combined([row.overlap for row in rows])
    further = _further(rows)
    sums = np.array([_sums(row, further) for row in rows], np.float64).reshape(-1, _FURTHER + 2 * len(further))
    drawn = bootstrap.sums([row.unit for row in rows], sums)
    scored_objects = [row.objects for row in rows if row.objects is not None]
    objects = None
    if scored_objects:
        whole = sum(scored_objects, ObjectScore(0, 0, 0))
        objects = {
            "f1": whole.f1,
            "f1_interval": _listed(bootstrap.interval(drawn, lambda s: _f1(_FOUND, _MADE_UP, _MISSED, s))),
            "precision": _number(whole.precision),
            "recall": _number(whole.recall),
            "pq": whole.pq,
            "tp": whole.tp,
            "fp": whole.fp,
            "fn": whole.fn,
        }
    means: Summary = {}
    for place, name in enumerate(further):
        column = _FURTHER + 2 * place
        means[name] = _number(float(_mean(sums.sum(0, keepdims=True), column)[0]))
        means[f"{name}_interval"] = _listed(bootstrap.interval(drawn, partial(_mean, column=column)))
    return {
        "dice": _number(float(sums[:, _DICE].mean())) if len(rows) else None,
        "dice_interval": _listed(bootstrap.interval(drawn, _mean)),
        "pooled_dice": _number(float(total.dice[0])),
        "pooled_dice_interval": _listed(bootstrap.interval(drawn, lambda s: _f1(_TP, _FP, _FN, s))),
        "iou": _number(float(total.iou[0])),
        "precision": _number(float(total.precision[0])),
        "recall": _number(float(total.recall[0])),
        **means,
        **_pooled(rows),
        "objects": objects,
        "images": len({row.case for row in rows}),
        "groups": len({row.unit for row in rows}),
    }


def _pooled(rows: Sequence[Row]) -> Summary:
    """Mean AP over IoU of all objects together."""
    matches = [row.matches for row in rows if row.matches]
    if not matches:
        return {}
    whole = [sum(scores, ObjectScore(0, 0, 0)) for scores in zip(*matches, strict=True)]
    return {"pooled_mean_precision": float(np.mean([score.average_precision for score in whole]))}


def _case(row: Row) -> Summary:
    o = row.overlap
    return {
        "case": row.case,
        "class": row.label,
        "group": row.group,
        **{name: value for name, value in row.attributes.items() if name not in ("case", "class", "group")},
        "dice": float(o.dice[0]),
        "iou": float(o.iou[0]),
        "precision": _number(float(o.precision[0])),
        "recall": _number(float(o.recall[0])),
        "f1": None if row.objects is None else row.objects.f1,
        **{name: _number(value) for name, value in row.further.items()},
        **row.extra,
    }


def _warnings(rows: Sequence[Row], scored: Sequence[Row]) -> list[str]:
    found = []
    groups = len({row.unit for row in scored})
    if groups < FEWEST:
        found.append(f"{groups} donor{'s' * (groups != 1)} scored: no confidence interval is given for fewer than {FEWEST}")
    if any(not row.group for row in scored):
        found.append("donors are unknown: intervals take every image for a donor of its own, and may be too narrow")
    if len(scored) < len(rows):
        found.append(f"{len(rows) - len(scored)} of {len(rows)} image-class pairs hold no labelled voxel and are not scored")
    return found + _empty_masks([row for row in scored if VOLUME.keys() & row.further.keys()])


def _empty_masks(rows: Sequence[Row]) -> list[str]:
    """What is said of volumes in which a mask is empty."""
    found = []
    for name in [name for name in _further(rows) if name in VOLUME]:
        undefined = sum(not math.isfinite(row.further.get(name, math.nan)) for row in rows)
        if undefined:
            found.append(
                f"{VOLUME[name]} is undefined in {undefined} of {len(rows)}, where both masks are empty: "
                "its mean leaves them out"
            )
    nothing = sum(row.overlap.tp[0] + row.overlap.fp[0] == 0 < row.overlap.fn[0] for row in rows)
    made_up = sum(row.overlap.tp[0] + row.overlap.fn[0] == 0 < row.overlap.fp[0] for row in rows)
    for number, what in ((nothing, "nothing was predicted, though something is true"), (made_up, "nothing is true")):
        if number:
            found.append(f"in {number} of {len(rows)} {what}: overlaps of surfaces and centre lines count as 0 there")
    return found


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def text_table(summary: Summary) -> str:
    """The tables of `summarise` as aligned plain text, one line a value, warnings below."""
    percent = f"{100 * summary['bootstrap']['confidence']:g} % interval"
    further = [name for name in FURTHER if name in summary]
    names = ("Dice", percent, *(FURTHER[name] for name in further), "pooled", "IoU", "precision", "recall", "object F1")
    lines: list[tuple[str, ...]] = [("", "", *names, "images", "donors"), ("all", "", *_cells(summary, further))]
    for table, entries in summary["by"].items():
        lines += [(table, value, *_cells(entry, further)) for value, entry in entries.items()]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [
        "  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in lines
    ]
    return "\n".join([*text, *(f"note: {warning}" for warning in summary["warnings"])])


def _cells(entry: Summary, further: Sequence[str]) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    interval = entry["dice_interval"]
    return (
        number(entry["dice"]),
        "–" if interval is None else f"{interval[0]:.3f} … {interval[1]:.3f}",
        *(number(entry.get(name)) for name in further),
        *(number(entry[name]) for name in ("pooled_dice", "iou", "precision", "recall")),
        number(entry["objects"]["f1"] if entry["objects"] else None),
        str(entry["images"]),
        str(entry["groups"]),
    )
