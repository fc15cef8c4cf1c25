"""A mask turning: where it lies in the picture, how it is coloured, what is written."""

import io

import numpy as np
import pytest
from PIL import Image

from malpighi.errors import DataError
from malpighi.geometry import Spacing
from malpighi.reports.projections import animation, brightest, draw, surface_points, turn, write_turning
from malpighi.reports.volume import COLORS, MISSED

GROUND = (12, 13, 18)


def rods():
    """A thick and a thin rod along z."""
    mask = np.zeros((30, 30, 30), np.uint8)
    mask[3:27, 3:14, 3:14] = 1
    mask[3:27, 22:25, 22:25] = 1
    return mask


def test_points_lie_on_the_surface_with_outward_normals():
    y, x, z = np.indices((25, 25, 25)) - 12
    points = surface_points((x**2 + y**2 + z**2 <= 81).astype(np.uint8), Spacing.pixels(3))
    distance = np.linalg.norm(points.places, axis=1)
    assert abs(distance - 9).max() < 0.8
    assert ((points.places / distance[:, None]) * points.normals).sum(axis=1).min() > 0.9


def test_thick_vessels_are_warmer_than_thin_ones():
    points = surface_points(rods(), Spacing.pixels(3))
    thick = points.places[:, 2] < 3
    warmth = points.colors[:, 0] - points.colors[:, 2]
    assert warmth[thick].mean() > 50 > 0 > warmth[~thick].mean()


def test_codes_have_their_colours():
    points = surface_points(rods() * np.uint8(MISSED), Spacing.pixels(3), by="code")
    assert (points.colors == COLORS[MISSED]).all()


def test_the_whole_mask_stays_in_the_picture_at_every_angle():
    points = surface_points(rods(), Spacing.um((2, 1, 1), 3))
    for picture in turn(points, 4, (60, 80)):
        lit = (picture.astype(int) - GROUND).max(axis=-1) > 8
        assert picture.shape == (60, 80, 3)
        assert lit.sum() > 100
        assert not (lit[0].any())
        assert not (lit[-1].any())
        assert not (lit[:, 0].any())
        assert not (lit[:, -1].any())


def test_a_full_turn_comes_back():
    points = surface_points(rods(), Spacing.pixels(3))
    assert np.abs(draw(points, 0, (40, 40)).astype(int) - draw(points, 360, (40, 40))).mean() < 1
    assert np.abs(draw(points, 0, (40, 40)).astype(int) - draw(points, 90, (40, 40))).mean() > 1


def test_maximum_intensity_is_the_maximum_along_the_line():
    volume = np.zeros((20, 20, 20), np.uint16)
    volume[5, 10, 10] = 1000
    shown = brightest(volume, Spacing.pixels(3), 0, (29, 29))
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    assert shown.max() > 200
    assert abs(row - (4 + 5)) <= 1
    assert abs(column - 14) <= 1


def test_files_hold_every_frame(tmp_path):
    path = write_turning(rods(), Spacing.pixels(3), tmp_path / "turn.webp", frames=5, size=(40, 50))
    with Image.open(path) as opened:
        assert (opened.n_frames, opened.size) == (5, (50, 40))
    frames = turn(surface_points(rods(), Spacing.pixels(3)), 3, (20, 20))
    with Image.open(io.BytesIO(animation(frames, "gif"))) as opened:
        assert opened.n_frames == 3


def test_what_cannot_be_shown_is_said():
    with pytest.raises(DataError, match="empty"):
        surface_points(np.zeros((4, 4, 4), np.uint8), Spacing.pixels(3))
    with pytest.raises(DataError, match="mood"):
        surface_points(rods(), Spacing.pixels(3), by="mood")
    with pytest.raises(DataError, match="mp4"):
        animation([np.zeros((4, 4, 3), np.uint8)], "mp4")
