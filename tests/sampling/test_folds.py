from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from malpighi.errors import DataError
from malpighi.sampling.cases import Case, Labels
from malpighi.sampling.folds import Fold, left_out, make_folds, multilabel_folds
from malpighi.sampling.layouts import find_cases


def case(name, group="", split="", **attributes):
    return Case(str(name), Path("x.png"), group=group, split=split, attributes=attributes)


def test_four_cases_two_folds_by_hand():
    cases = [case(0, "a"), case(1, "a"), case(2, "b"), case(3, "b")]
    folds = make_folds(cases, 2)
    assert sorted(fold.validation for fold in folds) == [(0, 1), (2, 3)]
    assert all(sorted(fold.train + fold.validation) == [0, 1, 2, 3] for fold in folds)


def test_strata_are_even_where_groups_allow():
    cases = [case(i, stain="PAS" if i < 10 else "H&E", organ="kidney" if i % 2 else "lung") for i in range(20)]
    for fold in make_folds(cases, 5):
        assert Counter(cases[i].attributes["stain"] for i in fold.validation) == {"PAS": 2, "H&E": 2}
        assert Counter(cases[i].attributes["organ"] for i in fold.validation) == {"kidney": 2, "lung": 2}


def test_classes_are_strata_too():
    cases = [Case(str(i), Path("x"), (Labels(Path("m"), ("tuft" if i % 3 else "vessel",)),)) for i in range(12)]
    for fold in make_folds(cases, 4):
        assert Counter(cases[i].value("class") for i in fold.validation) == {"vessel": 1, "tuft": 2}


@given(
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["PAS", "H&E", "DAB"])), min_size=1, max_size=40),
    st.integers(2, 5),
    st.integers(0, 3),
)
def test_whatever_the_groups(told, n, seed):
    cases = [case(i, f"g{group}", stain=stain) for i, (group, stain) in enumerate(told)]
    groups = {c.group for c in cases}
    if len(groups) < n:
        with pytest.raises(DataError, match=f"{len(groups)} group.*at most {len(groups)} folds"):
            make_folds(cases, n, seed)
        return
    folds = make_folds(cases, n, seed)
    assert folds == make_folds(cases, n, seed)
    assert sorted(i for fold in folds for i in fold.validation) == list(range(len(cases)))
    for fold in folds:
        assert fold.train
        assert fold.validation
        assert sorted(fold.train + fold.validation) == list(range(len(cases)))
        assert not {cases[i].group for i in fold.train} & {cases[i].group for i in fold.validation}


def test_a_fixed_split_is_the_only_fold():
    cases = [case("a", split="train"), case("b", split="validation"), case("c", split="test"), case("d")]
    assert make_folds(cases, 5) == [Fold((0, 3), (1,))]


def test_test_cases_are_in_no_fold():
    cases = [case(i, split="test" if i < 2 else "train") for i in range(6)]
    assert {i for fold in make_folds(cases, 2) for i in fold.train + fold.validation} == {2, 3, 4, 5}


def test_a_donor_on_both_sides_is_refused():
    cases = [case("a", "D1", "train"), case("b", "D1", "validation"), case("c", "D2", "train")]
    with pytest.raises(DataError, match="group D1 is in the training and in the validation"):
        make_folds(cases)


def test_another_seed_is_another_split():
    cases = [case(i) for i in range(20)]
    assert make_folds(cases, 4, seed=1) != make_folds(cases, 4, seed=2)


def test_one_fold_is_no_validation():
    with pytest.raises(DataError, match="at least 2"):
        make_folds([case(1), case(2)], 1)


@pytest.mark.real_data
def test_kidney_structures_spread_over_five_folds(real):
    table = find_cases(real / "kidney_structures")
    for fold in make_folds(table.cases):
        counts = Counter(table.cases[i].value("class") for i in fold.validation)
        assert set(counts) == set(table.classes)
        assert 12 <= len(fold.validation) <= 14


def shares(folds, targets):
    """(fold, class): what part of a label's items each fold holds."""
    held = np.array([targets[list(fold.validation)].sum(0) for fold in folds])
    return held / targets.sum(0)


def test_labels_are_shared_out_by_hand():
    targets = np.array([[1, 0], [1, 0], [1, 1], [1, 1], [0, 0], [0, 0]])
    for fold in multilabel_folds(targets, list("abcdef"), 2):
        held = targets[list(fold.validation)]
        assert held.sum(0).tolist() == [2, 1]
        assert len(held) == 3


def test_a_group_of_several_labels_is_never_split():
    targets = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
    folds = multilabel_folds(targets, ["x", "x", "y", "y"], 2)
    assert sorted(fold.validation for fold in folds) == [(0, 1), (2, 3)]


def test_a_rare_label_is_in_as_many_folds_as_it_has_groups():
    targets = np.zeros((60, 3))
    targets[:, 0] = 1
    targets[[3, 17, 40], 1] = 1
    targets[[3, 5, 8, 9, 30, 31, 32], 2] = 1
    folds = multilabel_folds(targets, [str(i) for i in range(60)], 5)
    held = np.array([targets[list(fold.validation)].sum(0) for fold in folds])
    assert sorted(held[:, 1]) == [0, 0, 1, 1, 1]
    assert sorted(held[:, 2]) == [1, 1, 1, 2, 2]
    assert held[:, 0].tolist() == [12] * 5


def test_unknown_labels_count_as_absent():
    targets = np.array([[1, np.nan], [1, 0], [np.nan, 1], [0, 1]])
    folds = multilabel_folds(targets, list("abcd"), 2)
    assert all(np.nansum(targets[list(fold.validation)], axis=0).tolist() == [1, 1] for fold in folds)


@given(
    arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 6))),
    st.integers(2, 5),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_every_item_validates_once_and_groups_stay_whole(targets, n, seed, random):
    groups = [str(random.randrange(12)) for _ in targets]
    if len(set(groups)) < n:
        with pytest.raises(DataError, match=f"cannot make {n} folds"):
            multilabel_folds(targets, groups, n, seed)
        return
    folds = multilabel_folds(targets, groups, n, seed)
    assert folds == multilabel_folds(targets, groups, n, seed)
    assert sorted(i for fold in folds for i in fold.validation) == list(range(len(targets)))
    for fold in folds:
        assert fold.validation
        assert sorted(fold.train + fold.validation) == list(range(len(targets)))
        assert not {groups[i] for i in fold.train} & {groups[i] for i in fold.validation}


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_even_on_random_data(seed):
    generator = np.random.default_rng(seed)
    targets = generator.random((600, 8)) < np.array([0.5, 0.3, 0.2, 0.1, 0.1, 0.05, 0.05, 0.02])
    groups = generator.integers(0, 200, 600).astype(str)
    even = np.abs(shares(multilabel_folds(targets, list(groups), 5, seed), targets) - 0.2)
    assert even[:, :4].max() < 0.03
    assert even.max() < 0.15  # of about 12 images with the rarest label, one more or less is 0.08


def test_pseudo_labels_teach_wherever_their_donor_is_not_held_out():
    cases = [case(0, "a"), case(1, "b"), replace(case(2, "b"), pseudo="run"), replace(case(3, "c"), pseudo="run")]
    folds = make_folds(cases, 2)
    assert sorted(folds, key=lambda fold: fold.validation) == [Fold((1, 2, 3), (0,)), Fold((0, 3), (1,))]
    assert [left_out(cases, fold) for fold in sorted(folds, key=lambda fold: fold.validation)] == [(), (2,)]


def test_pseudo_labels_change_no_fold_and_are_kept_off_fixed_splits():
    hand = [case(i, f"g{i % 6}", stain="PAS" if i % 4 else "H&E") for i in range(18)]
    pseudo = [replace(case(f"p{i}", f"g{i}"), pseudo="run") for i in range(8)]
    for plain, more in zip(make_folds(hand, 3), make_folds(hand + pseudo, 3), strict=True):
        assert more.validation == plain.validation
        assert set(more.train) & set(range(18)) == set(plain.train)
        held = {hand[i].group for i in more.validation}
        assert {(hand + pseudo)[i].group for i in more.train}.isdisjoint(held)
        assert {24, 25} <= set(more.train)  # donors of their own
    fixed = [
        case(0, "a"),
        case(1, "b", "validation"),
        replace(case(2, "b"), pseudo="r"),
        replace(case(3, "", "test"), pseudo="r"),
    ]
    assert make_folds(fixed) == [Fold((0,), (1,))]
    with pytest.raises(DataError, match="never held out"):
        make_folds([replace(case(0), pseudo="r")])
