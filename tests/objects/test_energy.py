"""Energy against the formula as written, and what 8 bits can tell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malpighi.geometry import Space, Spacing
from malpighi.objects.energy import energies
from malpighi.objects.measure import ObjectOptions, find_numbered_objects, find_objects


@given(st.floats(0.01, 0.99), st.floats(0.5, 20))
def test_the_formula_of_the_paper(probability, temperature):
    logit = np.log(probability / (1 - probability))
    minus_free_energy = temperature * np.log(1 + np.exp(logit / temperature))  # classes: this one, and background of logit 0
    found = energies(np.array([probability]), temperature)[0]
    assert found == pytest.approx(minus_free_energy, rel=1e-5)


def test_at_one_degree_it_is_minus_the_log_of_what_is_left():
    stored = np.array([1, 51, 128, 254], np.uint8)
    np.testing.assert_allclose(energies(stored), -np.log(1 - stored / 255), rtol=1e-6)
    assert energies(np.array([0.5]))[0] == pytest.approx(np.log(2))


def test_what_8_bits_do_not_know_is_held_half_a_step_from_the_ends():
    low, high = energies(np.array([0, 255], np.uint8))
    assert (low, high) == pytest.approx((-np.log(1 - 1 / 510), np.log(510)), rel=1e-5)
    np.testing.assert_array_equal(energies(np.array([0.0, 1.0])), energies(np.array([0, 255], np.uint8)))
    np.testing.assert_array_equal(energies(np.array([0, 65535], np.uint16)), energies(np.array([0, 255], np.uint8)))


@pytest.mark.parametrize("find", [find_objects, find_numbered_objects])
@pytest.mark.parametrize("block", [None, 4])
def test_an_object_has_the_mean_over_its_voxels(find, block):
    mask = np.zeros((6, 8), np.uint8)
    mask[1:3, 2:5] = 1
    probability = np.full((6, 8), 255, np.uint8)
    probability[1, 2:5], probability[2, 2:5] = 128, 250
    space = Space.of_shape(mask.shape, Spacing.um(1.0))
    [found] = find(
        lambda box: mask[box.slices], space, space.spacing, "a", ObjectOptions(temperature=2.0),
        lambda box: probability[box.slices], block,
    )  # fmt: skip
    expected = energies(np.array([128, 250], np.uint8), 2.0).mean()
    assert found.row["energy"] == pytest.approx(expected, rel=1e-6)
    assert found.shape.measurements["Energy"] == found.row["energy"]
    assert found.row["mean_probability"] == pytest.approx(189 / 255)
