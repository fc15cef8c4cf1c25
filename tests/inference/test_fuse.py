"""Scores of a cell joined; and weights learnt where only images are labelled."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from malpighi.errors import DataError
from malpighi.inference.fuse import MOST_IMAGE, FuseOptions, Rule, learn, pool

CELL, MAPS = np.array([[0.8, 0.2], [0.4, 0.0]]), np.array([[0.4, 0.2], [0.0, 1.0]])
IMAGE, OF = np.array([[0.0, 0.0], [1.0, 0.5]]), np.array([1, 1])
INSIDE, AREA = np.array([False, False]), np.array([100.0, 100.0])


def test_weights_by_hand():
    found = Rule(image=0.5, maps=0.25).apply(CELL, MAPS, IMAGE, OF, INSIDE, AREA)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.5 * 0.7 + 0.5, 0.5 * 0.2 + 0.25], [0.5 * 0.3 + 0.5, 0.5 * 0.25 + 0.25]], rtol=1e-6)


def test_what_is_negative_is_nothing_else():
    found = Rule(image=0, maps=0, negative=1).apply(CELL, MAPS, IMAGE, OF, INSIDE, AREA)
    np.testing.assert_allclose(found, [[0.8 * 0.8, 0.2], [0.4, 0.0]], rtol=1e-6)


def test_cells_cut_by_the_border_count_less():
    rule = Rule(image=0, maps=0, edge_area=400)
    np.testing.assert_allclose(
        rule.apply(CELL, MAPS, IMAGE, OF, np.array([True, False]), AREA), [CELL[0] / 4, CELL[1]], rtol=1e-6
    )
    np.testing.assert_allclose(rule.apply(CELL, MAPS, IMAGE, OF, ~INSIDE, np.array([400.0, 900])), CELL, rtol=1e-6)


def test_inputs_stay_as_they_are():
    before = CELL.astype(np.float32)
    given = before.copy()
    Rule(image=0, maps=0, negative=1, edge_area=400).apply(given, MAPS, IMAGE, OF, ~INSIDE, AREA)
    np.testing.assert_array_equal(given, before)


def test_a_rule_goes_through_json():
    rule = Rule(0.2, 0.3, None, 80000.0, (0.5, 0.25))
    assert Rule(**json.loads(json.dumps(asdict(rule)))) == rule


def test_pooling_by_hand():
    scores = np.array([[0.2, 0.9], [0.6, 0.1], [0.3, 0.5]])
    np.testing.assert_allclose(pool(scores, np.array([0, 0, 2]), 3), [[0.6, 0.9], [0, 0], [0.3, 0.5]])
    np.testing.assert_allclose(pool(scores, np.array([0, 0, 2]), 3, negative=1)[:, 1], [0.5, 0, 0.5])


def made(seed, good="cell", images=120, cells=6, classes=4):
    """Scores of images of which about half of the cells have the label; `good` of the three sources sees it, others are noise."""
    draw = np.random.default_rng(seed)
    targets = (draw.random((images, classes)) < 0.4).astype(float)
    image_of = np.repeat(np.arange(images), cells)
    has = (targets[image_of] > 0) & (draw.random((images * cells, classes)) < 0.5)

    def noise(shape):
        return draw.random(shape)

    seen = 0.5 * has + 0.5 * noise(has.shape)
    image = 0.6 * targets + 0.4 * noise(targets.shape) if good == "image" else noise(targets.shape)
    return {
        "cell": seen if good == "cell" else noise(has.shape),
        "maps": seen if good == "maps" else noise(has.shape),
        "image": image,
        "image_of": image_of,
        "border": np.zeros(len(image_of), bool),
        "area": np.ones(len(image_of)),
        "targets": targets,
    }


def learnt(given, options=None, held=None, classes=("a", "b", "c", "d")):
    options = options or FuseOptions(edge_area=0)
    return learn(options, **given, held=np.arange(60, 120) if held is None else held, classes=classes)


@pytest.mark.parametrize("seed", range(3))
def test_what_sees_cells_is_trusted(seed):
    rule, _ = learnt(made(seed, "cell"))
    assert rule.maps <= 0.3
    rule, _ = learnt(made(seed, "maps"))
    assert rule.maps >= 0.6


@pytest.mark.parametrize("seed", range(3))
def test_an_image_classifier_that_adds_nothing_gets_no_weight(seed):
    assert learnt(made(seed, "cell"))[0].image == 0


@pytest.mark.parametrize("seed", range(3))
def test_an_image_classifier_that_knows_everything_never_gets_all(seed):
    rule, rows = learnt(made(seed, "image"))
    assert 0 < rule.image <= MOST_IMAGE
    assert max(row["value"] for row in rows if row["weight"] == "image") == MOST_IMAGE


def test_only_held_out_images_are_looked_at():
    given = made(0, "maps")
    other = {**given, "targets": given["targets"].copy()}
    other["targets"][:60] = 1 - other["targets"][:60]
    assert learnt(given) == learnt(other)


def test_given_weights_stay():
    rule, rows = learnt(made(1), FuseOptions(image=0.7, maps=0.2, negative="d", edge_area=5))
    assert (rule.image, rule.maps, rule.negative, rule.edge_area) == (0.7, 0.2, 3, 5)
    assert rows == []
    assert len(rule.thresholds) == 4


def test_one_row_of_each_weight_is_chosen():
    rule, rows = learnt(made(2))
    chosen = {row["weight"]: row["value"] for row in rows if row["chosen"]}
    assert chosen == {"maps": rule.maps, "image": rule.image}
    assert sum(row["chosen"] for row in rows) == 2
    json.dumps(rows)


def test_without_held_out_images_nothing_is_preferred():
    rule, _ = learnt(made(3), held=np.zeros(0, int))
    assert (rule.image, rule.maps, rule.thresholds) == (0.0, 0.0, (0.5,) * 4)


def test_thresholds_are_of_pooled_scores():
    given = made(4)
    given["cell"] = np.repeat(given["targets"], 6, axis=0) * 0.6 + 0.2  # .8 where the image has it, .2 where not
    rule, _ = learnt(given, FuseOptions(image=0, maps=0, edge_area=0))
    assert rule.thresholds == pytest.approx((0.5,) * 4)


def test_shapes_are_checked():
    with pytest.raises(DataError, match="maps has shape"):
        Rule(0, 0).apply(CELL, MAPS[:1], IMAGE, OF, INSIDE, AREA)
    with pytest.raises(DataError, match="there are 2"):
        Rule(0, 0).apply(CELL, MAPS, IMAGE, OF + 1, INSIDE, AREA)
