"""Weights that are known, and a sample that stands for the whole."""

import numpy as np
import pytest

from malpighi.inference.ensemble_combine import Combination, even, expand, limit_of
from malpighi.inference.ensemble_sample import STRATA, Drawer, Sample
from malpighi.inference.ensemble_search import Judge, convex_weights, evolved_weights
from malpighi.metrics.stability import dice_curve, histogram


def columns(seed: int = 0, voxels: int = 4000, images: int = 3) -> Sample:
    """Two good columns with independent errors, and one of noise."""
    random = np.random.default_rng(seed)
    truth = (random.random(voxels) < 0.3).astype(np.uint8)
    middle = np.where(truth == 1, 165, 90)
    good = [np.clip(random.normal(middle, 45), 0, 255) for _ in range(2)]
    noise = random.integers(0, 256, voxels)
    image = np.sort(random.integers(0, images, voxels))
    return Sample(np.stack([*good, noise], 1).astype(np.uint8), truth, np.ones(voxels), image, images)


def log_loss(sample: Sample, weights: np.ndarray) -> float:
    """Mean over images of the mean minus log of what the weighted mean gives to the truth."""
    p = (sample.levels + 0.5) / 256 @ weights
    each = -np.log(np.where(sample.truth == 1, p, 1 - p))
    return float(np.mean([each[sample.image == image].mean() for image in range(sample.images)]))


def test_the_convex_fit_by_hand():
    # a voxel is true three times of four; one column always says "surely", the other "surely not": the mean must say .75
    sample = Sample(
        np.tile(np.array([[255, 0]], np.uint8), (4, 1)), np.array([1, 1, 1, 0], np.uint8), np.ones(4), np.zeros(4, np.int64), 1
    )
    high, low = 255.5 / 256, 0.5 / 256
    np.testing.assert_allclose(convex_weights([sample], tolerance=0)[0], (0.75 - low) / (high - low), atol=1e-4)


def test_the_convex_fit_is_the_optimum():
    from scipy.optimize import minimize

    sample = columns()
    found = convex_weights([sample], tolerance=1e-10)
    limits, whole = [(0, 1)] * 3, {"type": "eq", "fun": lambda w: w.sum() - 1}
    other = minimize(lambda w: log_loss(sample, w), even(3), bounds=limits, constraints=whole, method="SLSQP").x
    np.testing.assert_allclose(found, other, atol=0.01)
    assert found.sum() == pytest.approx(1)
    assert found[2] < 0.05
    assert log_loss(sample, found) <= log_loss(sample, other) + 1e-7


def test_em_never_climbs():
    sample = columns(1)
    losses = [log_loss(sample, convex_weights([sample], steps=n, tolerance=-1)) for n in range(8)]
    assert losses == sorted(losses, reverse=True)


def test_without_a_labelled_voxel_weights_are_even():
    nothing = columns().only(np.zeros(3, bool))
    np.testing.assert_allclose(convex_weights([nothing, nothing]), even(3))
    np.testing.assert_allclose(convex_weights([nothing, columns()]), convex_weights([columns()]))


def test_images_count_alike_in_the_convex_fit():
    sample = columns(2)
    heavy = Sample(sample.levels, sample.truth, np.where(sample.image == 0, 1000.0, 1.0), sample.image, sample.images)
    np.testing.assert_allclose(convex_weights([sample]), convex_weights([heavy]), atol=1e-12)


def test_evolution_finds_the_good_ones_and_is_never_worse_than_what_it_starts_from():
    sample = columns(3)
    judge = Judge([sample])
    convex = convex_weights([sample])
    found = evolved_weights([sample], [convex], seed=1, generations=10)
    assert found.sum() == pytest.approx(1)
    assert found.min() >= 0
    assert found[2] < 0.2
    assert judge(found) >= max(judge(convex), judge(even(3)), *(judge(w) for w in np.eye(3)))
    np.testing.assert_array_equal(found, evolved_weights([sample], [convex], seed=1, generations=10))
    assert evolved_weights([Sample(sample.levels[:, :1], sample.truth, sample.weight, sample.image, 3)]).tolist() == [1]


def test_a_sample_that_may_keep_all_is_exact():
    random = np.random.default_rng(0)
    levels, truth = random.integers(0, 256, (2, 30, 40), np.uint8), random.choice([0, 1, 255], (30, 40)).astype(np.uint8)
    drawer = Drawer(2, 10**6, [0])
    drawer.add(levels[:, :11], truth[:11])
    drawer.add(levels[:, 11:], truth[11:])
    sample = drawer.drawn()
    assert (sample.weight == 1).all()
    exact = histogram(levels[1], truth)
    np.testing.assert_array_equal(sample.histograms(sample.levels[:, 1])[0, :, :2], exact[:, :2])


def test_a_small_sample_stands_for_the_whole():
    whole = columns(4, 200_000, 1)
    drawer = Drawer(3, 20_000, [5])
    for part in np.array_split(np.arange(200_000), 7):
        drawer.add(whole.levels[part].T, whole.truth[part])
    sample = drawer.drawn()
    assert len(sample.truth) <= 20_000
    assert sample.weight.sum() == pytest.approx(200_000)
    assert (sample.weight * sample.truth).sum() == pytest.approx(whole.truth.sum())
    truth = dice_curve(whole.histograms(whole.levels[:, 0])[0])
    assert np.abs(dice_curve(sample.histograms(sample.levels[:, 0])[0]) - truth).max() < 0.02
    assert len(Drawer(3, 4000, [5]).drawn().truth) == 0
    assert STRATA == 16


def test_only_some_images():
    sample = columns(5)
    part = sample.only(np.array([True, False, True]))
    assert set(part.image) == {0, 2}
    assert not part.histograms(part.levels[:, 0])[1].any()


def test_combinations_by_hand():
    members = np.array([[[10, 200, 255]], [[20, 100, 0]], [[0, 0, 0]]], np.uint8)  # (member, class, x)
    np.testing.assert_array_equal(Combination(np.array([0.5, 0.5, 0])).levels(members), [[15, 150, 128]])
    votes = Combination(even(3), np.array([[128], [100], [1]]))
    shares = votes.levels(members) / 255
    np.testing.assert_allclose(shares, [[0, 2 / 3, 1 / 3]], atol=0.002)
    union, majority = limit_of("union", 3), limit_of("vote", 3)
    assert (shares >= union).tolist() == [[False, True, True]]
    assert (shares >= majority).tolist() == [[False, True, False]]
    assert limit_of("vote", 2) > 0.5  # one of two is no majority
    assert limit_of("weighted", 3) is None
    np.testing.assert_allclose(expand([0.6, 0.4], [3, 1]), [0.2, 0.2, 0.2, 0.4])
