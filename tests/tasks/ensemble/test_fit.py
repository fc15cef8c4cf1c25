"""Columns whose worth is known: the good ones are found, noise is not, and nothing is gained where there is nothing to gain."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from malpighi.inference.ensemble_combine import Combination
from malpighi.metrics.overlap import count as overlap
from malpighi.metrics.stability import dice_curve
from malpighi.sampling.cases import Case
from malpighi.tasks.ensemble.choose import BEST_SINGLE, CONVEX, EVOLUTION, MEAN
from malpighi.tasks.ensemble.fit import Fitting, fit, outer_folds
from malpighi.tasks.ensemble.passes import count, recount


class Image:
    """One drawn image in two boxes."""

    def __init__(self, levels: np.ndarray, truth: np.ndarray) -> None:
        self.levels, self.truth = levels, truth

    def boxes(self):
        for part in (slice(0, 20), slice(20, None)):
            yield self.levels[:, :, part], self.truth[:, part]


def images(spreads: list[float], n: int = 6, seed: int = 0, noise: int = 0, shared: float = 0) -> list[Image]:
    """`n` images of one class: a column for each spread of its own errors, `shared` errors that all make, then columns of noise."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        truth = (random.random((1, 48, 50)) < 0.3).astype(np.uint8)
        middle = np.where(truth == 1, 160, 90) + shared * random.normal(size=truth.shape)
        columns = [middle + spread * random.normal(size=truth.shape) for spread in spreads]
        columns += [random.uniform(0, 255, truth.shape) for _ in range(noise)]
        found.append(Image(np.clip(columns, 0, 255).astype(np.uint8), truth))
    return found


def work(drawn: list[Image], **more) -> Fitting:
    columns = len(drawn[0].levels)

    def open_one(image):
        return nullcontext(drawn[image])

    counted = count(open_one, len(drawn), columns, 1)
    folds = outer_folds([Case(str(n), None) for n in range(len(drawn))])
    return Fitting(open_one, counted, [f"column {n}" for n in range(columns)], folds, **more)


def scores(found) -> dict:
    return {each.name: each for each in found.judged}


def test_counts_are_exact_and_streamed():
    drawn = images([40, 60], n=2)
    counted = work(drawn).counted
    for level in (1, 100, 128, 255):
        for image, each in enumerate(drawn):
            for column in range(2):
                exact = overlap(each.levels[column, 0] >= level, each.truth[0]).dice[0]
                assert dice_curve(counted.columns[column, image, 0])[level - 1] == exact
            mean = Combination(np.array([0.5, 0.5])).levels(each.levels)[0]
            assert dice_curve(counted.mean[image, 0])[level - 1] == overlap(mean >= level, each.truth[0]).dice[0]


def test_the_second_pass_is_exact_too():
    drawn = images([40, 60], n=2)
    weighted = Combination(np.array([0.8, 0.2]))
    exact = recount(lambda i: nullcontext(drawn[i]), [{"a": weighted}] * 2, 1)["a"]
    for image, each in enumerate(drawn):
        mask = weighted.levels(each.levels)[0] >= 120
        assert dice_curve(exact[image, 0])[119] == overlap(mask, each.truth[0]).dice[0]


@pytest.mark.parametrize("search", ["convex", "evolution", "both"])
def test_noise_gets_no_weight_and_good_columns_alike(search):
    found = fit(work(images([45, 45], noise=1)), "weighted", search)
    assert found.how == "weighted"
    assert found.weights[2] < 0.06
    np.testing.assert_allclose(found.weights[:2], 0.5, atol=0.12)
    told = scores(found)
    assert found.chosen in (CONVEX, EVOLUTION)
    assert told[found.chosen].best > told[MEAN].best
    assert told[found.chosen].best > told[BEST_SINGLE].best
    assert "weights are used" in found.remarks[0]
    assert found.limits is not None
    curve = dice_curve(found.histograms[:, 0]).mean(0)
    assert found.limits.optima[0].dice == curve.max()


def test_searched_weights_that_gain_nothing_on_images_left_out_give_way_to_the_mean():
    # each column fails on one image: those that never failed on the others are the ones that fail on the image left out
    drawn = images([45] * 4, n=4)
    for failing, each in enumerate(drawn):
        each.levels[failing] = np.random.default_rng(failing).integers(0, 256, each.truth.shape)
    found = fit(work(drawn), "weighted")
    told = scores(found)
    assert told[EVOLUTION].fooled >= told[MEAN].fooled - 1e-3
    for search in (CONVEX, EVOLUTION):
        assert told[search].best < told[MEAN].best - 0.05
        assert told[search].fooled > told[search].nested + 0.05
    assert (found.how, found.chosen) == ("mean", MEAN)
    np.testing.assert_array_equal(found.weights, 0.25)
    assert "the plain mean is used" in found.remarks[0]


@pytest.mark.parametrize(("how", "names"), [("weighted", (CONVEX, EVOLUTION)), ("vote", ("vote",))])
def test_what_an_image_is_scored_with_does_not_depend_on_its_own_group(monkeypatch, how, names):
    cases = [Case(str(n), None, group=f"donor {n // 2}") for n in range(6)]
    given = []

    def spy(open_one, wanted, *more):
        given.append(wanted)
        return recount(open_one, wanted, *more)

    monkeypatch.setattr("malpighi.tasks.ensemble.fit.recount", spy)
    for lie in (False, True):
        drawn = images([40, 60, 50])
        if lie:  # donor 0's truth is another
            for each in drawn[:2]:
                each.truth[:] = each.levels[1] < 128
        fit(replace(work(drawn), folds=outer_folds(cases)), how)
    said = lambda each: each.weights if each.cuts is None else each.cuts  # noqa: E731
    honest, lying = given
    for name in names:
        left_out = "left out" if how == "vote" else f"{name} left out"
        for image in (0, 1):
            np.testing.assert_array_equal(said(honest[image][left_out]), said(lying[image][left_out]))
        assert (said(honest[2][left_out]) != said(lying[2][left_out])).any()
        assert (said(honest[0][name]) != said(lying[0][name])).any()


def test_groups_where_nothing_is_labelled_do_not_stop_the_search():
    drawn = images([45, 45], n=2)
    drawn[0].truth[:] = 255
    found = fit(work(drawn), "weighted")  # without the other image there is nothing to fit on
    assert found.weights.sum() == pytest.approx(1)
    assert np.isfinite(scores(found)[MEAN].nested)


def test_one_run_alone_has_its_thresholds_fitted():
    drawn = images([30])
    for each in drawn:
        each.levels[:] = np.clip(each.levels.astype(int) - 60, 0, 255)  # 100 against 30: one half is too high
    found = fit(work(drawn), "weighted")
    assert found.weights.tolist() == [1]
    assert 0.2 < found.limits.optima[0].threshold < 0.32
    (told,) = found.judged
    assert told.nested > told.half + 0.1
    assert "fitted thresholds against 0.5: +" in found.remarks[0]


def test_thresholds_by_value():
    drawn = images([30], n=8)
    values = ["kidney"] * 4 + ["spleen"] * 4
    for each in drawn[4:]:
        each.levels[:] = np.clip(each.levels.astype(int) - 60, 0, 255)
    found = fit(work(drawn, values=values), "weighted")
    assert found.limits.levels("kidney")[0] - found.limits.levels("spleen")[0] > 40
    (told,) = found.judged
    assert told.by > told.nested
    assert "thresholds by value against those by class: +" in found.remarks[1]


@pytest.mark.parametrize("how", ["union", "vote"])
def test_votes_are_scored_as_they_are_cast(how):
    drawn = images([45, 45, 45])
    found = fit(work(drawn), how)
    cuts = [limits.optima[0].level for limits in found.cuts]
    needed = 1 if how == "union" else 2
    dice = []
    for each in drawn:
        votes = sum((each.levels[c, 0] >= cut).astype(int) for c, cut in enumerate(cuts))
        dice.append(overlap(votes >= needed, each.truth[0]).dice[0])
    told = scores(found)[how]
    assert told.fooled == pytest.approx(np.mean(dice))
    assert told.nested == pytest.approx(told.fooled, abs=0.02)
    assert found.limits is None


def test_the_plain_mean_on_request_and_a_search_that_cannot_be_checked():
    drawn = images([45, 45], noise=1)
    assert fit(work(drawn), "mean").found.keys() == {MEAN}
    unchecked = fit(work(drawn), "weighted", nested=False)
    assert "unchecked" in unchecked.remarks[0]
    assert np.isnan(scores(unchecked)[MEAN].nested)


def test_outer_folds_keep_groups_together():
    cases = [Case(str(n), None, group=f"donor {n // 2}", split="validation") for n in range(6)]
    folds = outer_folds(cases)
    assert sorted(set(folds)) == [0, 1, 2]
    assert (folds[::2] == folds[1::2]).all()
    assert outer_folds(cases[:2]).tolist() == [0, 0]
