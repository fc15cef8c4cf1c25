"""What a fit comes to, as ensemble.json holds it: plain numbers, rounded as far as they mean something."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.inference.ensemble_combine import even, expand
from malpighi.inference.ensemble_limits import Limits, dice_at
from malpighi.metrics.stability import LEVELS, SLACK, Optimum, best_share, mean_curve, probability
from malpighi.tasks.ensemble.choose import MEAN
from malpighi.tasks.ensemble.fit import Fit
from malpighi.tasks.ensemble.folder import FORMAT, place
from malpighi.tasks.ensemble.members import Column, Team


def told(team: Team, found: Fit, out: Path, by: str | None) -> dict[str, Any]:
    """Everything that ensemble.json says of a team and its fit."""
    classes = team.classes
    limits = found.limits
    return {
        "format": FORMAT,
        "how": found.how,
        "chosen": found.chosen,
        "classes": list(classes),
        "members": _members(team, found, out),
        "thresholds": {} if limits is None else _thresholds(limits.optima, classes),
        "attribute": by or "",
        "by": {} if limits is None else _by(limits, classes),
        "stability": {} if limits is None else _stability(limits, found, classes),
        "slack": SLACK,
        "candidates": [_plain(asdict(each)) for each in found.judged],
        "weights": {name: _rounded(weights) for name, weights in found.found.items()},
        "columns": [column.name for column in team.columns],
        "images": _images(team, found, by),
        "curves": {
            "thresholds": [round(probability(level), 5) for level in range(1, LEVELS)],
            **{"dice": {name: _rounded(mean_curve(found.histograms[:, k])) for k, name in enumerate(classes)}},
        },
        "remarks": [*team.remarks, *found.remarks],
    }


def _members(team: Team, found: Fit, out: Path) -> list[dict[str, Any]]:
    columns: tuple[Column, ...] = (*team.columns, *team.spare)
    of_columns = [*found.weights, *[float(np.mean(found.weights))] * len(team.spare)]
    if found.chosen == MEAN:
        of_columns = list(even(len(columns)))
    weights = expand([w / sum(of_columns) for w in of_columns], [len(column.members) for column in columns])
    common = found.limits or found.cuts[0]
    cuts = [*found.cuts, *[common] * len(team.spare)]
    rows = [(column, cut, member) for column, cut in zip(columns, cuts, strict=True) for member in column.members]
    return [
        {
            "name": member.name,
            **place(member.path, out),
            "column": column.name,
            "fold": member.fold,
            "held_out": len(member.held),
            "spacing": str(member.inputs.spacing),
            "weight": round(float(weight), 6),
            "digest": member.digest,
            "thresholds": _thresholds(cut.optima, team.classes),
            "by": _by(cut, team.classes),
        }
        for weight, (column, cut, member) in zip(weights, rows, strict=True)
    ]


def _thresholds(optima: Sequence[Optimum], classes: Sequence[str]) -> dict[str, float]:
    return {name: round(each.threshold, 6) for name, each in zip(classes, optima, strict=True)}


def _by(limits: Limits, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    return {value: {classes[k]: round(each.threshold, 6) for k, each in own.items()} for value, own in limits.by.items()}


def _stability(limits: Limits, found: Fit, classes: Sequence[str]) -> dict[str, Any]:
    """By class: the range within which the threshold hardly matters, and beside it the rule of a share of voxels."""
    rows = {}
    for k, (name, each) in enumerate(zip(classes, limits.optima, strict=True)):
        share, dice = best_share(found.histograms[:, k])
        rows[name] = {**_range(each), "top": {"percent": share, "dice": dice}}
        rows[name]["by"] = {value: _range(own[k]) for value, own in limits.by.items() if k in own}
    return dict(_plain(rows))


def _range(found: Optimum) -> dict[str, Any]:
    low, high = found.range
    return {"threshold": found.threshold, "low": low, "high": high, "dice": found.dice}


def _images(team: Team, found: Fit, by: str | None) -> list[dict[str, Any]]:
    """Every image that something was fitted on, with Dice at the fitted thresholds (in sample)."""
    values = [case.value(by) if by else "" for case in team.cases]
    dice = None if found.limits is None else dice_at(found.histograms, found.limits.of(values))
    rows = []
    for n, case in enumerate(team.cases):
        row: dict[str, Any] = {"id": case.id, "group": case.group, "outer_fold": int(found.folds[n])}
        if by:
            row[by] = values[n]
        if dice is not None:
            row["dice"] = dict(zip(team.classes, map(float, dice[n]), strict=True))
        rows.append(row)
    return [_plain(row) for row in rows]


def _rounded(values: np.ndarray) -> list[float | None]:
    return [None if math.isnan(value) else round(float(value), 5) for value in values]


def _plain(value: Any) -> Any:
    """NaN as null, floats to six digits."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value
