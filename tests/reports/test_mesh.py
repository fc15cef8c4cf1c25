"""Surfaces: how large, how many triangles, what is said to be lost, and what the page unpacks."""

import base64
import gzip
import json
import re

import numpy as np
import pytest

from malpighi.geometry import Space, Spacing
from malpighi.reports import mesh
from malpighi.reports.html import Report
from malpighi.reports.mesh import decimate, enclosed, mesh_view, occupancy, scene, surface
from malpighi.reports.volume import AGREED, EXCESS, MISSED

N = 40


def ball(radius, shift=0.0, shape=(N, N, N)):
    z, y, x = np.indices(shape)
    return ((z - N / 2 + 0.5) ** 2 + (y - N / 2 + 0.5) ** 2 + (x - N / 2 + 0.5 - shift) ** 2 <= radius**2).astype(np.uint8)


def reader(array):
    """A mask read as annotations are: every `spacing`-th voxel's centre, 0 outside."""

    def read(box, spacing):
        step = tuple(round(v) for v in spacing.values)
        index = [
            np.minimum(np.arange(a, b) * s + s // 2, n - 1)
            for a, b, s, n in zip(box.start, box.stop, step, array.shape, strict=True)
        ]
        return array[np.ix_(*index)]

    return read


def test_occupancy_counts_each_code_in_each_cell():
    truth, prediction = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    truth[:2, :2, :2], prediction[:2, :2, 0] = 1, 1
    prediction[3, 3, 3] = 1
    held = occupancy({"truth": reader(truth), "prediction": reader(prediction)}, Space.of_shape((4, 4, 4)), voxels=8)
    assert held.spacing.values == (2, 2, 2)
    assert held.shares[AGREED][0, 0, 0] == held.shares[MISSED][0, 0, 0] == 0.5
    assert held.shares[EXCESS][1, 1, 1] == 1 / 8
    assert sum(share.sum() for share in held.shares.values()) == 1 + 1 / 8


def test_pieces_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    masks = {"truth": reader((rng.random((9, 14, 11)) < 0.3).astype(np.uint8))}
    whole = occupancy(masks, Space.of_shape((9, 14, 11)), voxels=200)
    monkeypatch.setattr("malpighi.reports.volume.AT_ONCE", 64)
    parts = occupancy(masks, Space.of_shape((9, 14, 11)), voxels=200)
    assert (whole.shares[AGREED] == parts.shares[AGREED]).all()


def test_of_huge_masks_every_few_voxels_are_looked_at():
    held = occupancy({"truth": reader(ball(12))}, Space.of_shape((N, N, N)), voxels=20**3, read=20**3)
    assert held.step == 2
    assert held.spacing.values == (2, 2, 2)
    assert held.shares[AGREED].sum() * 8 == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.05)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 0.5)])
def test_a_ball_keeps_volume_place_and_closed_surface(spacing):
    solid = ball(12).astype(np.float32)
    found = surface(solid, Spacing.um(spacing, 3), 10**6)
    assert found.volume == pytest.approx(solid.sum() * np.prod(spacing), rel=0.02)
    middle = found.vertices.mean(axis=0)
    assert middle == pytest.approx(np.array(spacing) * N / 2, abs=0.05 * max(spacing))
    edges = np.sort(np.concatenate([found.faces[:, [0, 1]], found.faces[:, [1, 2]], found.faces[:, [2, 0]]]), axis=1)
    assert set(np.unique(edges, axis=0, return_counts=True)[1]) == {2}  # every edge joins two triangles
    assert found.moved == 0
    assert found.found == len(found.faces)


def test_a_mask_that_meets_the_border_is_closed_there():
    found = surface(np.ones((6, 6, 6), np.float32), Spacing.pixels(3), 10**6)
    assert found.volume == pytest.approx(216, rel=0.1)


def test_decimation_keeps_to_its_number_and_to_the_volume():
    whole = surface(ball(15).astype(np.float32), Spacing.pixels(3), 10**6)
    vertices, faces, moved = decimate(whole.vertices, whole.faces, 1000)
    assert 200 < len(faces) <= 1000
    assert 0 < moved < 3
    assert enclosed(vertices, faces) == pytest.approx(whole.volume, rel=0.05)
    assert faces.max() == len(vertices) - 1


def test_a_surface_far_too_fine_is_found_on_a_coarser_grid():
    found = surface(ball(15).astype(np.float32), Spacing.pixels(3), 300)
    assert len(found.faces) <= 300 < found.found
    assert found.cell.values[0] > 1
    assert found.volume == pytest.approx(ball(15).sum(), rel=0.1)


def test_scene_of_two_masks_and_its_caption():
    masks = {"truth": reader(ball(10)), "prediction": reader(ball(10, 4))}
    shown = scene(masks, Space.of_shape((N, N, N), Spacing.um(1, 3)), triangles=5000)
    assert set(shown.meshes) == {"right", "missed", "too much", "truth", "prediction"}
    assert shown.volumes["truth"] == ball(10).sum()
    assert shown.volumes["right"] == (ball(10) & ball(10, 4)).sum()
    assert sum(len(m.faces) for m in shown.meshes.values()) <= 5000
    assert "triangles" in shown.caption()
    assert "% of their masks' volume" in shown.caption()


def test_empty_masks_are_said():
    nothing = np.zeros((8, 8, 8), np.uint8)
    shown = scene({"prediction": reader(nothing)}, Space.of_shape((8, 8, 8)))
    assert shown.meshes == {}
    assert "nothing to show" in shown.caption()
    assert 'data-view="mesh"' in mesh_view(shown)


def test_the_page_holds_vertices_faces_and_plotly(tmp_path):
    shown = scene({"truth": reader(ball(10))}, Space.of_shape((N, N, N), Spacing.um(1, 3)))
    page = Report("p").section("A").figure(mesh_view(shown, "a"), shown.caption()).html()
    assert not re.search(r'(src|href)="https?:', page)
    library = re.search(r'id="plotly"[^>]*>([^<]+)<', page)[1]
    assert b"Plotly" in gzip.decompress(base64.b64decode(library))
    data = json.loads(re.search(r'data-view="mesh"><script type="application/json">(.*?)</script>', page)[1])
    (one,) = data["meshes"]
    packed = np.frombuffer(gzip.decompress(base64.b64decode(one["vertices"])), "<u2").reshape(3, -1).T
    places = np.array(data["low"]) + packed / 65535 * (np.array(data["high"]) - data["low"])
    assert np.abs(places - shown.meshes["truth"].vertices).max() < 0.002
    faces = np.frombuffer(gzip.decompress(base64.b64decode(one["faces"])), "<u4").reshape(-1, 3)
    assert (faces == shown.meshes["truth"].faces).all()
    assert not one["hidden"]
    assert len(faces) < mesh.TRIANGLES
