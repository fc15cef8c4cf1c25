"""Weights and thresholds of an ensemble, and the choice between ways to combine: by images that the choice has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from malpighi.inference.ensemble_combine import Combination, How, even, limit_of
from malpighi.inference.ensemble_limits import Candidate, Judged, Limits, dice_at, fit_limits, judge, mean_dice
from malpighi.inference.ensemble_sample import Sample
from malpighi.inference.ensemble_search import Judge, convex_weights, evolved_weights
from malpighi.sampling.cases import Case
from malpighi.sampling.folds import make_folds
from malpighi.tasks.ensemble.choose import BEST_SINGLE, CONVEX, EVOLUTION, MEAN, about_limits, choose
from malpighi.tasks.ensemble.passes import Counted, Opened, recount

Search = Literal["convex", "evolution", "both"]
SEARCHES: tuple[Search, ...] = ("convex", "evolution", "both")
OUTER = 5
"""Outer folds of nested validation, or as many as there are groups."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What was found.

    Attributes:
        how: what is done at prediction: "mean" too where weights were searched for and gained nothing.
        chosen: name of the candidate that is used.
        weights: (column,).
        limits: thresholds of the combined probability; None of a union or a vote, whose columns have their own.
        cuts: thresholds of each column alone.
        histograms: (image, class, 256, 3) of what was chosen, with the weights that are used.
        judged: every candidate's scores.
        found: name of a search → its weights, fitted on all images.
        folds: (image,) outer folds; all 0 where there is one group alone.
        remarks: what decided, in words.
    """

    how: How
    chosen: str
    weights: np.ndarray
    limits: Limits | None
    cuts: tuple[Limits, ...]
    histograms: np.ndarray
    judged: tuple[Judged, ...]
    found: dict[str, np.ndarray]
    folds: np.ndarray
    remarks: tuple[str, ...]


def outer_folds(cases: Sequence[Case], most: int = OUTER) -> np.ndarray:
    """(case,) number of the outer fold: no group lies on both sides. All 0 where there is one group."""
    n = min(most, len({case.group or case.id for case in cases}))
    out = np.zeros(len(cases), np.int64)
    for number, fold in enumerate(make_folds([replace(case, split="") for case in cases], n) if n > 1 else ()):
        out[list(fold.validation)] = number
    return out


@dataclass(frozen=True, eq=False)
class Fitting:
    """All that a fit depends on.

    Attributes:
        open_one: opens a held-out image by its number.
        counted: what the first pass found.
        names: of the columns.
        folds: (image,) outer folds.
        values: of the images' attribute; None: thresholds by class alone.
        seed: of the evolutionary search.
    """

    open_one: Opened
    counted: Counted
    names: Sequence[str]
    folds: np.ndarray
    values: Sequence[str] | None = None
    seed: int = 0

    @property
    def images(self) -> int:
        """How many there are."""
        return len(self.folds)

    @property
    def outer(self) -> int:
        """Outer folds; 0 where nothing can be left out."""
        return int(self.folds.max()) + 1 if self.folds.max() > 0 else 0

    def value(self, image: int) -> str | None:
        """The image's value of the attribute."""
        return None if self.values is None else self.values[image]

    def without(self, fold: int) -> np.ndarray:
        """(image,) bool: those that a fold's weights may see."""
        return self.folds != fold


def fit(
    work: Fitting, how: How, search: Search = "both", nested: bool = True, advance: Callable[..., None] | None = None
) -> Fit:
    """Fit and choose.

    Args:
        work: images, counts, folds.
        how: "weighted": what `search` finds, where nested validation says that it beats the plain mean; else as it says.
        search: which weights are searched.
        nested: False: of the searches the one that is best on the sample is taken unchecked.
        advance: is called for every image of the second pass.
    """
    folds = work.folds if nested else np.zeros_like(work.folds)
    work = replace(work, folds=folds)
    cuts = tuple(fit_limits(histograms, work.values) for histograms in work.counted.columns)
    singles = [
        judge(Candidate(name, each), folds, work.values) for name, each in zip(work.names, work.counted.columns, strict=True)
    ]
    if len(work.names) == 1:
        limits = fit_limits(work.counted.mean, work.values)
        remarks = about_limits(singles[0])
        return Fit(how, work.names[0], even(1), limits, cuts, work.counted.mean, tuple(singles), {}, folds, remarks)
    judged = [*singles, _best_single(work, singles), judge(Candidate(MEAN, work.counted.mean), folds, work.values)]
    if how in ("union", "vote"):
        return _fit_votes(work, how, cuts, judged, advance)
    found, histograms = {MEAN: even(len(work.names))}, {MEAN: work.counted.mean}
    if how == "weighted":
        searched = _search(work, search, advance)
        for name, (weights, candidate) in searched.items():
            found[name], histograms[name] = weights, candidate.fooled
            judged.append(judge(candidate, folds, work.values))
    chosen, remarks = choose([each for each in judged if each.name in found], judged, nested and work.outer > 0, how)
    used: How = "mean" if chosen.name == MEAN else "weighted"
    limits = fit_limits(histograms[chosen.name], work.values)
    remarks += about_limits(chosen)
    return Fit(
        used, chosen.name, found[chosen.name], limits, cuts, histograms[chosen.name], tuple(judged), found, folds, remarks
    )


def _search(work: Fitting, search: Search, advance: Callable[..., None] | None) -> dict[str, tuple[np.ndarray, Candidate]]:
    """Name → weights fitted on all images, and what they and those of the outer folds give."""
    every = np.ones(work.images, bool)
    wanted = (CONVEX, EVOLUTION) if search == "both" else (search,)
    of_all = _weights(work.counted.samples, every, wanted, work.seed)
    of_fold = [_weights(work.counted.samples, work.without(fold), wanted, work.seed) for fold in range(work.outer)]
    combinations = []
    for fold in work.folds:
        combinations.append({name: Combination(weights) for name, weights in of_all.items()})
        if of_fold:
            combinations[-1] |= {f"{name} left out": Combination(weights) for name, weights in of_fold[fold].items()}
    exact = recount(work.open_one, combinations, len(work.counted.samples), advance)
    judge_all = [Judge([sample]) for sample in work.counted.samples]
    result = {}
    for name, weights in of_all.items():
        estimated = [_estimated(judge_all, each[name], work.images) for each in of_fold]
        result[name] = weights, Candidate(name, exact[name], exact.get(f"{name} left out"), estimated)
    return result


def _weights(samples: Sequence[Sample], images: np.ndarray, wanted: Sequence[str], seed: int) -> dict[str, np.ndarray]:
    """Weights by each search, from these images alone."""
    seen = [sample.only(images) for sample in samples]
    convex = convex_weights(seen)
    found = {CONVEX: convex}
    if EVOLUTION in wanted:
        found[EVOLUTION] = evolved_weights(seen, [convex], seed)
    return {name: found[name] for name in wanted}


def _estimated(judges: Sequence[Judge], weights: np.ndarray, images: int) -> np.ndarray:
    """(image, class, 256, 3) histograms of the weighted mean, from the sample; empty where a class is not labelled."""
    empty = np.zeros((images, 256, 3))
    return np.stack([next(iter(each.histograms(weights)), empty) for each in judges], 1)


def _best_single(work: Fitting, singles: Sequence[Judged]) -> Judged:
    """The best column alone, chosen without the images it is scored on: choosing among many is a fit, too."""
    shape = work.counted.mean.shape[:2]
    plain, by, half = (np.full(shape, np.nan) for _ in range(3))
    for fold in range(work.outer):
        out = ~work.without(fold)
        seen = None if work.values is None else [v for v, o in zip(work.values, out, strict=True) if not o]
        fitted = [fit_limits(each[~out], seen) for each in work.counted.columns]
        scores = [
            mean_dice(dice_at(each[~out], limits.of(seen or [""] * int((~out).sum()))))
            for each, limits in zip(work.counted.columns, fitted, strict=True)
        ]
        best = int(np.argmax(np.nan_to_num(scores)))
        chosen, limits = work.counted.columns[best][out], fitted[best]
        plain[out], half[out] = dice_at(chosen, limits.levels()), dice_at(chosen, 128)
        by[out] = dice_at(chosen, np.stack([limits.levels(work.value(int(i))) for i in np.flatnonzero(out)]))
    fooled = float(np.nanmax([each.fooled for each in singles]))
    return Judged(BEST_SINGLE, fooled, mean_dice(plain), mean_dice(half), None if work.values is None else mean_dice(by))


def _fit_votes(
    work: Fitting, how: How, cuts: tuple[Limits, ...], judged: list[Judged], advance: Callable[..., None] | None
) -> Fit:
    """Masks of the columns, each cut at its own threshold: nothing but these is fitted."""
    n = len(work.names)
    weights, limit = even(n), limit_of(how, n)
    assert limit is not None
    level = int(np.ceil(limit * 255))
    left_out = []
    for fold in range(work.outer):
        seen = work.without(fold)
        values = None if work.values is None else [v for v, s in zip(work.values, seen, strict=True) if s]
        left_out.append([fit_limits(each[seen], values) for each in work.counted.columns])
    combinations: list[dict[str, Combination]] = []
    for image, fold in enumerate(work.folds):
        value = work.value(image)
        combinations.append({how: Combination(weights, np.stack([each.levels(value) for each in cuts]))})
        combinations[-1]["half"] = Combination(weights, np.full((n, work.counted.mean.shape[1]), 128))
        if left_out:
            combinations[-1]["left out"] = Combination(weights, np.stack([each.levels(value) for each in left_out[fold]]))
    exact = recount(work.open_one, combinations, work.counted.mean.shape[1], advance)
    score = {name: mean_dice(dice_at(each, level)) for name, each in exact.items()}
    nested = score.get("left out", float("nan"))
    judged.append(Judged(how, score[how], nested, score["half"], None if work.values is None else nested))
    return Fit(how, how, weights, None, cuts, exact[how], tuple(judged), {}, work.folds, about_limits(judged[-1]))
