"""Options, decoding by hand, round trips, noise."""

import numpy as np
import pytest
from PIL import Image

from malpighi.errors import DataError, RecipeError
from malpighi.metrics.instances import Intersections, average_precisions
from malpighi.objects.instances import InstanceOptions, decode
from malpighi.sampling.instance_targets import instance_targets
from objects.label_pictures import discs, neurites, spoiled

KINDS = ("distance", "flow")


def scores(found, labels):
    shared = Intersections()
    shared.add(found, labels)
    precisions = average_precisions(shared.pairs())
    return precisions[0.5], np.mean(list(precisions.values()))


def round_trip(labels, kind, **options):
    return decode(instance_targets(labels[None], kind)[0], InstanceOptions(kind, **options))


@pytest.mark.parametrize("wrong", [{"foreground": 1.0}, {"seed": 0.0}, {"steps": 0}, {"halo": -1}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(RecipeError, match=f"instances.{next(iter(wrong))}|seed"):
        InstanceOptions("flow", **wrong)


def test_layers_of_another_kind_are_refused():
    with pytest.raises(DataError, match="'flow' needs foreground flow_y flow_x"):
        decode(np.zeros((2, 4, 4), np.float32), InstanceOptions("flow"))
    with pytest.raises(ValueError, match="connected components"):
        decode(np.zeros((0, 4, 4), np.float32), InstanceOptions())


def test_two_squares_that_touch():
    labels = np.zeros((10, 18), np.int32)
    labels[1:9, 1:9], labels[1:9, 9:17] = 1, 2
    for kind in KINDS:
        np.testing.assert_array_equal(round_trip(labels, kind), labels)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 1), (5, 9), (0, 4)])
def test_nothing_and_nothing_but_one_object(kind, shape):
    assert (round_trip(np.zeros(shape, int), kind) == 0).all()
    found = round_trip(np.ones(shape, int), kind)
    assert found.dtype == np.int32
    assert found.shape == shape
    assert (found == 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_objects_of_one_pixel(kind):
    labels = np.zeros((7, 9), int)
    labels[0, 0], labels[3, 4], labels[6, 8] = 1, 2, 3
    np.testing.assert_array_equal(round_trip(labels, kind), labels)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_not_predicted_is_background(kind):
    layers = instance_targets(np.pad(np.ones((1, 6, 6), int), ((0, 0), (2, 2), (2, 2))), kind)[0]
    layers[:, :, :4] = np.nan
    found = decode(layers, InstanceOptions(kind))
    assert (found[:, :4] == 0).all()
    assert (found[2:8, 4:8] == 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_have_no_gaps_and_objects_are_connected(kind):
    from skimage.measure import label

    random = np.random.default_rng(0)
    layers = np.stack([random.random((60, 70)) for _ in InstanceOptions(kind).layers]).astype(np.float32)
    found = decode(layers, InstanceOptions(kind))
    np.testing.assert_array_equal(found > 0, layers[0] >= 0.5)
    assert np.unique(found).tolist() == list(range(found.max() + 1))
    assert all(label(found == i, connectivity=2).max() == 1 for i in range(1, found.max() + 1))
    np.testing.assert_array_equal(found, decode(layers, InstanceOptions(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_discs_that_touch_come_back_from_layers_as_a_network_gives_them(kind):
    found = []
    for seed in range(4):
        labels = discs((160, 160), 60, seed, radius=(5, 12))
        layers = instance_targets(labels[None], kind)[0]
        found.append([scores(decode(layers, InstanceOptions(kind)), labels)[0]])
        found[-1].append(scores(decode(spoiled(layers, seed), InstanceOptions(kind)), labels)[0])
    exact, noisy = np.mean(found, 0)
    assert exact > 0.97
    assert noisy > 0.9


def test_long_bent_processes_come_back_from_flow():
    found = [scores(round_trip(labels, "flow"), labels) for labels in (neurites(256, 14, seed) for seed in range(3))]
    assert np.mean(found, 0)[0] > 0.95


def test_a_deeper_saddle_is_asked_for_and_one_object_stays_one():
    row = np.array([0.2, 0.6, 1.0, 0.6, 0.4, 0.6, 1.0, 0.6, 0.2], np.float32)
    layers = np.stack([np.ones((9, 36), np.float32), np.tile(np.repeat(row, 4), (9, 1))])
    assert decode(layers, InstanceOptions("distance", seed=0.1)).max() == 2
    assert decode(layers, InstanceOptions("distance", seed=0.9)).max() == 1


@pytest.mark.real_data
@pytest.mark.parametrize("kind", KINDS)
def test_real_nuclei_come_back(real, kind):
    found = []
    for path in sorted((real / "nuclei" / "labels").glob("*.png"))[::25]:
        labels = np.asarray(Image.open(path)).astype(np.int32)
        found.append(scores(round_trip(labels, kind), labels))
    ap50, mean = np.mean(found, 0)
    assert ap50 > 0.97
    assert mean > 0.93
