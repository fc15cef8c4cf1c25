import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malpighi.sampling.augment import PRESETS, AugmentOptions
from malpighi.sampling.remap import warp_item
from malpighi.sampling.remap_torch import warp_batch
from malpighi.sampling.seeds import stream
from malpighi.sampling.warp import CELLS, Warp, crop_start, draw_warp, spline_weights, spread

NONE = PRESETS["none"]


def dense(warp: Warp, size: tuple[int, ...], out: tuple[int, ...]) -> np.ndarray:
    strips = [np.stack(axes) for _, axes in warp.strips(crop_start(size, out), out, 7)]
    return np.concatenate(strips, axis=1)


@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_weights_sum_to_one_and_reproduce_what_is_linear(n: int) -> None:
    weights = spline_weights(n)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    nodes = (np.arange(-1, CELLS + 2)) * max(n - 1, 1) / CELLS
    np.testing.assert_allclose(weights @ nodes, np.arange(n), atol=1e-4)


def test_spread_is_the_tensor_product_in_3d() -> None:
    lattice = np.random.default_rng(0).random((2, 3, 4))
    weights = [np.random.default_rng(k).random((k + 4, n)) for k, n in enumerate(lattice.shape)]
    np.testing.assert_allclose(spread(lattice, weights, np.tensordot), np.einsum("abc,ia,jb,kc->ijk", lattice, *weights))


@pytest.mark.parametrize(("size", "out"), [((9, 9), (9, 9)), ((12, 15), (8, 11)), ((5, 9, 8), (4, 6, 8))])
def test_map_of_an_affine_warp_is_the_matrix(size: tuple[int, ...], out: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    warp = Warp(rng.normal(size=(len(out), len(out))), rng.normal(size=len(out)))
    got = dense(warp, size, out)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in out), indexing="ij")).astype(float)
    corner = np.array([(n - o) // 2 for n, o in zip(size, out, strict=True)])
    half = (np.array(out) - 1) / 2
    column = (-1, *(1,) * len(out))
    expected = np.tensordot(warp.matrix, index - half.reshape(column), 1) + (warp.shift + half + corner).reshape(column)
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_every_pose_of_a_square_equals_numpy(swap: bool, signs: tuple[int, int]) -> None:
    image = np.arange(3 * 6 * 6, dtype=np.uint8).reshape(3, 6, 6)
    matrix = np.eye(2)[[1, 0] if swap else [0, 1]] * signs
    expected = image.transpose(0, 2, 1) if swap else image
    expected = np.flip(expected, [axis + 1 for axis in range(2) if signs[axis] < 0])
    warp = Warp(matrix, np.zeros(2))
    assert warp.exact
    np.testing.assert_array_equal(warp.turned(image, (6, 6)), expected)
    out, labels = np.empty((6, 6, 3), np.uint8), np.empty((6, 6, 1), np.uint8)
    warp_item(image, image[:1], warp, out, labels, "reflect")
    np.testing.assert_array_equal(out.transpose(2, 0, 1), expected)
    np.testing.assert_array_equal(labels[..., 0], expected[0])
    seven = np.concatenate([image, image, image[:1]])
    out = np.empty((6, 6, 7), np.uint8)
    warp_item(seven, seven, warp, out, out.copy(), "reflect")
    np.testing.assert_array_equal(out.transpose(2, 0, 1)[3:6], expected)
    # and the general way, by the map, agrees with the short cut
    rows, columns = dense(warp, (6, 6), (6, 6)).round().astype(int)
    np.testing.assert_array_equal(image[:, rows, columns], expected)


def test_quarter_turn_is_rot90() -> None:
    image = np.arange(25, dtype=np.uint8).reshape(1, 5, 5)
    turn = Warp(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.zeros(2))
    np.testing.assert_array_equal(turn.turned(image, (5, 5))[0], np.rot90(image[0]))


def test_poses_reach_all_eight_of_a_square_but_keep_a_rectangle() -> None:
    options = dataclasses.replace(NONE, flips=True)
    square = {draw_warp(stream(k), options, (8, 8)).matrix.tobytes() for k in range(200)}
    assert len({np.frombuffer(m).round().astype(int).tobytes() for m in square}) == 8
    for k in range(20):
        assert np.array_equal(np.abs(draw_warp(stream(k), options, (8, 9)).matrix), np.eye(2))
        assert np.abs(draw_warp(stream(k), options, (8, 8, 8), (2.0, 1.0, 1.0)).matrix)[0, 0] == 1


def test_rotation_is_a_rotation_of_the_tissue_when_voxels_are_not_cubes() -> None:
    options = dataclasses.replace(NONE, rotate=30.0, tilt=30.0, chance=1.0)
    spacing = np.array([3.0, 1.0, 1.0])
    matrix = draw_warp(stream(5), options, (8, 24, 24), tuple(spacing)).matrix
    tissue = matrix * spacing[:, None] / spacing[None, :]
    np.testing.assert_allclose(tissue @ tissue.T, np.eye(3), atol=1e-12)
    assert not np.allclose(matrix @ matrix.T, np.eye(3))


@given(st.integers(0, 10**6), st.sampled_from([(40, 40), (33, 50), (12, 20, 16)]))
def test_strongest_elastic_never_folds(seed: int, out: tuple[int, ...]) -> None:
    options = dataclasses.replace(NONE, elastic=0.15, chance=1.0)
    moved = dense(draw_warp(stream(seed), options, out), out, out)
    jacobian = np.stack([np.stack(np.gradient(axis)) for axis in moved])
    assert np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1))).min() > 0


def test_opencv_and_grid_sample_agree() -> None:
    torch = pytest.importorskip("torch")
    import cv2

    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (96, 80, 3), np.uint8), (0, 0), 2).transpose(2, 0, 1)
    target = (image[:2] > 127).astype(np.uint8)
    options = AugmentOptions(distort=0.3, chance=1.0, rotate=170.0)
    for outside in ("reflect", "unlabelled"):
        for seed in range(5):
            warp = draw_warp(stream(seed), options, (64, 72))
            out, labels = np.empty((64, 72, 3), np.uint8), np.empty((64, 72, 2), np.uint8)
            warp_item(image, target, warp, out, labels, outside)
            tensors = torch.from_numpy(image.copy())[None], torch.from_numpy(target)[None]
            other, other_labels = warp_batch(*tensors, [warp], (64, 72), outside)
            difference = np.abs(out.transpose(2, 0, 1).astype(int) - other[0].numpy())
            assert difference.max() <= 3  # OpenCV rounds positions to 1/32 pixel
            assert difference.mean() < 0.3
            assert (labels.transpose(2, 0, 1) != other_labels[0].numpy()).mean() < 1e-3


def test_reflection_far_outside_agrees_too() -> None:
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(2).integers(0, 256, (1, 9, 7), np.uint8)
    warp = Warp(np.eye(2) * 4, np.array([0.3, 0.4]))
    out, labels = np.empty((9, 7, 1), np.uint8), np.empty((9, 7, 1), np.uint8)
    warp_item(image, image, warp, out, labels, "reflect")
    other, other_labels = warp_batch(torch.from_numpy(image)[None], torch.from_numpy(image)[None], [warp], (9, 7), "reflect")
    assert np.abs(out[..., 0].astype(int) - other[0, 0].numpy()).max() <= 8
    np.testing.assert_array_equal(labels[..., 0], other_labels[0, 0].numpy())


def test_unlabelled_marks_what_lies_outside() -> None:
    image = np.zeros((1, 8, 8), np.uint8)
    warp = Warp(np.eye(2), np.array([0.0, 3.0]))  # reads three columns past the right border
    out, labels = np.empty((8, 8, 1), np.uint8), np.empty((8, 8, 1), np.uint8)
    warp_item(image, image, warp, out, labels, "unlabelled")
    np.testing.assert_array_equal(labels[0, :, 0], [0, 0, 0, 0, 0, 255, 255, 255])
    warp_item(image, image, warp, out, labels, "reflect")
    assert not labels.any()


def test_many_channels_are_warped_like_few() -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 20, 20), np.uint8)
    warp = draw_warp(stream(1), AugmentOptions(chance=1.0), (16, 16))
    many = np.empty((16, 16, 7), np.uint8), np.empty((16, 16, 7), np.uint8)
    warp_item(image, image, warp, *many, "reflect")
    for c in range(7):
        one = np.empty((16, 16, 1), np.uint8), np.empty((16, 16, 1), np.uint8)
        warp_item(image[c : c + 1], image[c : c + 1], warp, *one, "reflect")
        for several, single in zip(many, one, strict=True):
            np.testing.assert_array_equal(several[..., c], single[..., 0])


@pytest.mark.parametrize("rank", [2, 3])
def test_aspect_stretches_one_axis_against_the_other_and_keeps_the_area(rank: int) -> None:
    options = dataclasses.replace(NONE, aspect=0.5, chance=1.0)
    ratios = []
    for seed in range(60):
        warp = draw_warp(stream(seed), options, (32,) * rank)
        scales = np.diag(warp.matrix)
        np.testing.assert_allclose(warp.matrix, np.diag(scales))
        np.testing.assert_allclose(np.prod(scales), 1)
        np.testing.assert_allclose(scales[: rank - 2], 1)
        ratios.append(scales[-1] / scales[-2])
    assert 1 / 1.5 - 1e-9 <= min(ratios) < 0.75
    assert 1.35 < max(ratios) <= 1.5 + 1e-9
