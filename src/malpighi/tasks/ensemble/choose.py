"""Which candidate an ensemble uses, by its scores on images left out, and what is to be said about it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from malpighi.inference.ensemble_combine import How
from malpighi.inference.ensemble_limits import Judged

BEST_SINGLE, MEAN, CONVEX, EVOLUTION = "best single", "mean", "convex", "evolution"
TAKEN = (BEST_SINGLE, MEAN, CONVEX, EVOLUTION, "union", "vote")
"""Names of candidates, which no run can have beside them."""


def choose(candidates: Sequence[Judged], judged: Sequence[Judged], checked: bool, how: How) -> tuple[Judged, tuple[str, ...]]:
    """The candidate to use, and why."""
    mean = next(each for each in candidates if each.name == MEAN)
    searched = [each for each in candidates if each.name != MEAN]
    remarks: list[str] = []
    chosen = mean
    if searched and checked:
        best = max(searched, key=lambda each: each.best)
        gain = best.best - mean.best
        chosen = best if gain > 0 else mean
        verdict = f"{best.name} weights are used" if gain > 0 else "the plain mean is used"
        remarks.append(
            f"searched weights against the plain mean: {best.fooled - mean.fooled:+.4f} Dice on the images they were fitted on, "
            f"{gain:+.4f} on images left out ({best.name}): {verdict}"
        )
    elif searched and how == "weighted":
        best = max(searched, key=lambda each: each.fooled)
        chosen = best if best.fooled > mean.fooled else mean
        remarks.append(f"nothing was left out to check the search on: {chosen.name} is used unchecked, its score is in sample")
    single = next((each for each in judged if each.name == BEST_SINGLE), None)
    if checked and single is not None and single.best > chosen.best:
        remarks.append(
            f"the best single configuration reaches {single.best:.4f} on images left out, the ensemble {chosen.best:.4f}: one "
            "configuration alone would do as well"
        )
    return chosen, tuple(remarks)


def about_limits(judged: Judged) -> tuple[str, ...]:
    """Whether fitting thresholds is worth it."""
    if np.isnan(judged.nested):
        return ("there is one group of images alone, or nested validation was not wanted: what fitting gains is not known",)
    gain = judged.nested - judged.half
    told = [f"fitted thresholds against 0.5: {gain:+.4f} Dice on images left out" + (_NO_GAIN if gain <= 0 else "")]
    if judged.by is not None and judged.by != judged.nested:
        more = judged.by - judged.nested
        told.append(
            f"thresholds by value against those by class: {more:+.4f} on images left out" + (_NO_BY if more <= 0 else "")
        )
    return tuple(told)


_NO_GAIN = "; to predict at 0.5 give --set predict.thresholds=[0.5]"
_NO_BY = "; make the ensemble without --by"


def about_votes(how: How, members: Sequence[int]) -> tuple[str, ...]:
    """What the score of votes leaves out: folds of one configuration, for of each held-out image there is one prediction.

    Args:
        members: of each configuration.
    """
    if how not in ("union", "vote") or max(members) == 1:
        return ()
    if len(members) == 1:
        return (
            f"one configuration: of each held-out image there is one prediction, so what the {how} of its folds gains is not known",
        )
    return (
        f"the {how} is scored with one voice a configuration, for of each held-out image it has one prediction; in segment all "
        f"{sum(members)} members have one, so what that gives is not known",
    )
