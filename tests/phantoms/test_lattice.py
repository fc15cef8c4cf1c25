"""Randomness by place."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from malpighi.phantoms.lattice import GRAIN, Lattice, grain, uniform


def test_uniform_numbers_are_uniform_and_uncorrelated():
    u = uniform(np.arange(-200, 200)[:, None], np.arange(-200, 200)[None], 5)
    counts, _ = np.histogram(u, 10, (0, 1))
    assert counts.min() > 0.95 * u.size / 10
    for a, b in ((u[1:], u[:-1]), (u[:, 1:], u[:, :-1]), (u[1:, 1:], u[:-1, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02


def test_streams_and_keys_are_independent():
    iy, ix = np.divmod(np.arange(10_000), 100)
    lattice = Lattice.of(10, seed=1, name="a")
    others = [lattice.value(iy, ix, 1), Lattice.of(10, 2, "a").value(iy, ix, 0), Lattice.of(10, 1, "b").value(iy, ix, 0)]
    for other in others:
        assert abs(np.corrcoef(lattice.value(iy, ix, 0), other)[0, 1]) < 0.05


def test_a_period_moves_the_pitch_to_a_divisor():
    lattice = Lattice.of(400, 0, "a", period=4096)
    assert lattice.wrap == 10
    assert lattice.pitch == 409.6


@given(st.integers(-5000, 5000), st.integers(-5000, 5000))
def test_noise_and_points_repeat_with_the_period(y, x):
    lattice = Lattice.of(90, 3, "a", period=2048)
    at = np.array([float(y)]), np.array([float(x)])
    np.testing.assert_allclose(lattice.noise(*at), lattice.noise(at[0] + 2048, at[1] - 2048), atol=1e-5)
    cell = np.array([y // 90]), np.array([x // 90])
    moved = lattice.points(cell[0] + lattice.wrap, cell[1]) - lattice.points(*cell)
    np.testing.assert_allclose(moved, [[2048, 0]], atol=1e-6)


def test_noise_is_continuous_and_bounded():
    lattice = Lattice.of(50, 3, "a")
    noise = lattice.noise(np.arange(-300, 300)[:, None], np.arange(-300, 300)[None])
    assert np.abs(noise).max() <= 1
    assert max(np.abs(np.diff(noise, axis=a)).max() for a in (0, 1)) < 0.07  # slope at most 3/2 · 2 / pitch


def test_cells_cover_the_rectangle():
    iy, ix = Lattice.of(10, 0, "a").cells((-5, 12), (11, 20))
    assert sorted(set(iy.tolist())) == [-1, 0, 1]
    assert sorted(set(ix.tolist())) == [1]


def test_grain_has_unit_variance_and_its_period():
    whole = grain((0, 0), (GRAIN, GRAIN), 1.0)
    assert abs(whole.std() - 1) < 1e-3
    np.testing.assert_array_equal(grain((-7, GRAIN + 5), (9, 9), 1.0), grain((GRAIN - 7, 5), (9, 9), 1.0))
