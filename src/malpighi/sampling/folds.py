"""Folds: grouped, and stratified as well as the groups allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from malpighi.errors import DataError
from malpighi.sampling.cases import Case

STRATIFY = ("organ", "stain", "class")


class Fold(NamedTuple):
    """One split; positions in the sequence of cases that was given, ascending."""

    train: tuple[int, ...]
    validation: tuple[int, ...]


def make_folds(cases: Sequence[Case], n: int = 5, seed: int = 0, stratify: Sequence[str] = STRATIFY) -> list[Fold]:
    """Split cases such that no group lies on both sides; the same for the same cases and seed.

    Where the data fixes a validation set (`split`), that is the only fold. Cases of split "test" are in no fold.
    Otherwise the largest groups are placed first, each in the fold where the shares of cases and of every value of
    `stratify` stay most even (the rule of scikit-learn's StratifiedGroupKFold, over several attributes at once).

    Cases with pseudo-labels (`Case.pseudo`) are never held out. They are trained on in every fold but those whose validation part
    holds a case of their group: there they are in no part, see `left_out`.

    Args:
        n: folds, at least 2; every case that people labelled validates in exactly one.
        stratify: attributes (or "class") whose values should be spread evenly.

    Raises:
        DataError: fewer groups than folds, or a group on both sides of the split that the data fixes.
    """
    if n < 2:
        raise DataError(f"{n} folds: validation needs at least 2 (one to train on, one held out)")
    usable = [i for i, case in enumerate(cases) if case.split != "test" and not case.pseudo]
    if not usable and any(case.pseudo for case in cases):
        raise DataError("every case has pseudo-labels, which are never held out; add cases that people labelled")
    return [_with_pseudo(cases, fold) for fold in _folds(cases, usable, n, seed, stratify)]


def left_out(cases: Sequence[Case], fold: Fold) -> tuple[int, ...]:
    """Cases with pseudo-labels that a fold does not train on, because a case of their group (donor) is held out."""
    held = {_group(cases[i]) for i in fold.validation}
    return tuple(i for i, case in enumerate(cases) if case.pseudo and case.split != "test" and _group(case) in held)


def _with_pseudo(cases: Sequence[Case], fold: Fold) -> Fold:
    taught = {i for i, case in enumerate(cases) if case.pseudo and case.split != "test"} - set(left_out(cases, fold))
    return Fold(tuple(sorted(taught.union(fold.train))), fold.validation)


def _folds(cases: Sequence[Case], usable: Sequence[int], n: int, seed: int, stratify: Sequence[str]) -> list[Fold]:
    """Of the usable cases alone."""
    if any(cases[i].split == "validation" for i in usable):
        return [_fixed(cases, usable)]
    groups = list(dict.fromkeys(_group(cases[i]) for i in usable))
    if len(groups) < n:
        raise DataError(
            f"{len(usable)} cases of {len(groups)} group{'s' * (len(groups) != 1)} (donors) cannot make {n} folds: "
            f"a group must not be on both sides; use at most {len(groups)} folds, or name finer groups in manifest.csv"
        )
    place = dict(zip(groups, _balanced(_shares(cases, usable, groups, stratify), n, seed), strict=True))
    fold_of = {i: place[_group(cases[i])] for i in usable}
    return [Fold(*(tuple(i for i in usable if (fold_of[i] == f) is held) for held in (False, True))) for f in range(n)]


def _group(case: Case) -> str:
    return f"group {case.group}" if case.group else f"case {case.id}"


def _fixed(cases: Sequence[Case], usable: Sequence[int]) -> Fold:
    held = tuple(i for i in usable if cases[i].split == "validation")
    rest = tuple(i for i in usable if cases[i].split != "validation")
    both = {_group(cases[i]) for i in held} & {_group(cases[i]) for i in rest}
    if both:
        raise DataError(f"{min(both)} is in the training and in the validation split; a donor must lie on one side only")
    if not rest:
        raise DataError("every case is of the validation split; mark some as train")
    return Fold(rest, held)


def _shares(cases: Sequence[Case], usable: Sequence[int], groups: Sequence[str], stratify: Sequence[str]) -> np.ndarray:
    """(group, column) share of all cases, and of each attribute value's cases, that a group holds; columns sum to 1."""
    row = {group: i for i, group in enumerate(groups)}
    columns: dict[tuple[str, str], int] = {("", ""): 0}
    counted = []
    for i in usable:
        keys = [("", ""), *((key, cases[i].value(key)) for key in stratify)]
        counted += [(row[_group(cases[i])], columns.setdefault(key, len(columns))) for key in keys]
    counts = np.zeros((len(groups), len(columns)))
    np.add.at(counts, tuple(np.array(counted).T), 1)
    return counts / counts.sum(0)


def _balanced(shares: np.ndarray, n: int, seed: int) -> list[int]:
    """Fold of each group: greedy, largest first; a fold's cost is the growth of its squared shares."""
    order = np.random.default_rng(seed).permutation(len(shares))
    order = order[np.argsort(-(shares[order] ** 2).sum(1), kind="stable")]
    held = np.zeros((n, shares.shape[1]))
    sizes = np.zeros(n, int)
    place = [0] * len(shares)
    for at, group in enumerate(order):
        growth = (2 * held * shares[group]).sum(1).round(12)
        growth[sizes > 0] += np.inf if (sizes == 0).sum() >= len(order) - at else 0  # no fold may end up empty
        fold = int(np.lexsort((sizes, growth))[0])
        place[int(group)] = fold
        held[fold] += shares[group]
        sizes[fold] += 1
    return place


def multilabel_folds(targets: np.ndarray, groups: Sequence[str], n: int = 5, seed: int = 0) -> list[Fold]:
    """Split items of several labels each such that each label is shared out alike and no group lies on both sides.

    Iterative stratification (Sechidis et al. 2011) with groups in place of items: the rarest label that is left is shared
    out first, largest group first, each to the fold that still wants most of it, then to the one that wants most items.
    Groups of many items leave the frequent labels uneven; so groups are moved at last while shares become more even.

    Args:
        targets: (item, class); positive where the item has the label, 0, negative or NaN where not.
        groups: of each item.
        n: folds, at least 2; every item validates in exactly one.
        seed: decides between groups and folds that are alike.

    Raises:
        DataError: fewer groups than folds.
    """
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if n < 2:
        raise DataError(f"{n} folds: validation needs at least 2 (one to train on, one held out)")
    if len(names) < n:
        raise DataError(
            f"{len(group)} images of {len(names)} group{'s' * (len(names) != 1)} (donors) cannot make {n} folds: "
            f"a group must not be on both sides; use at most {len(names)} folds, or name finer groups"
        )
    has = np.nan_to_num(np.asarray(targets, np.float64)) > 0
    counts = np.zeros((len(names), has.shape[1] + 1))  # the last column counts items
    np.add.at(counts, group, np.column_stack([has, np.ones(len(group), bool)]))
    place = _shared_out(counts, n, seed)[group]
    return [Fold(*(tuple(np.flatnonzero((place == fold) == held).tolist()) for held in (False, True))) for fold in range(n)]


def _shared_out(counts: np.ndarray, n: int, seed: int) -> np.ndarray:
    """(group,) fold of each, from (group, label and at last item) counts."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(counts))  # between groups that are alike
    counts = counts[order]
    labels, last = counts[:, :-1], counts.shape[1] - 1
    wanted = np.tile(counts.sum(0) / n, (n, 1))
    place = np.full(len(counts), -1)
    left = (labels > 0).sum(0)
    sizes, waiting = np.zeros(n, int), len(counts)
    while waiting:
        label = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max))) if left.any() else last
        mine = np.flatnonzero((place < 0) & (counts[:, label] > 0))
        for group in mine[np.argsort(-counts[mine, label], kind="stable")]:
            allowed = np.flatnonzero(sizes == 0) if (sizes == 0).sum() >= waiting else np.arange(n)  # none may stay empty
            want = wanted[allowed].round(9)
            fold = int(allowed[np.lexsort((random.random(len(allowed)), -want[:, last], -want[:, label]))[0]])
            place[group] = fold
            wanted[fold] -= counts[group]
            sizes[fold] += 1
            left -= labels[group] > 0
            waiting -= 1
    out = np.empty(len(counts), np.int64)
    out[order] = _evened(counts, place, n)
    return out


def _evened(counts: np.ndarray, place: np.ndarray, n: int, passes: int = 10) -> np.ndarray:
    """Move groups one by one while that lowers the sum of the folds' squared shares of every label."""
    shares = counts / np.maximum(counts.sum(0), 1)
    held = np.zeros((n, counts.shape[1]))
    np.add.at(held, place, shares)
    sizes = np.bincount(place, minlength=n)
    for _ in range(passes):
        moved = False
        for group, share in enumerate(shares):
            here = place[group]
            growth = (held - held[here] + share) @ share
            growth[here] = 0
            best = int(np.argmin(growth))
            if growth[best] < -1e-12 and sizes[here] > 1:
                held[here] -= share
                held[best] += share
                sizes[here] -= 1
                sizes[best] += 1
                place[group], moved = best, True
        if not moved:
            break
    return place
