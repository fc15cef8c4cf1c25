"""Cells found without learning, on scenes whose cells are known."""

import numpy as np
import pytest

from malpighi.errors import DataError
from malpighi.metrics.instances import Intersections, match
from malpighi.objects.cells import CellOptions, Cells, find_cells

FULL = CellOptions(scale=1.0, nucleus_area=50, cell_area=100)


def discs(shape, centres, radius):
    y, x = np.mgrid[: shape[0], : shape[1]]
    away = np.stack([np.hypot(y - cy, x - cx) for cy, cx in centres])
    return np.where(away.min(0) <= radius, away.argmin(0) + 1, 0).astype(np.int32)


def scene(shape, centres, nucleus=8, cell=16, noise=2.0, base=10.0, seed=0):
    """uint8 nucleus channel, (1, y, x) extent, true labels."""
    rng = np.random.default_rng(seed)
    nuclei, cells = discs(shape, centres, nucleus), discs(shape, centres, cell)
    blue = base + 100 * (nuclei > 0) + rng.normal(0, noise, shape)
    red = base + 60 * (cells > 0) + rng.normal(0, noise, shape)
    return np.clip(blue, 0, 255).astype(np.uint8), np.clip(red, 0, 255).astype(np.uint8)[None], cells


def score(cells, truth, iou=0.5):
    both = Intersections()
    both.add(cells.labels, truth)
    return match(both.pairs(), iou)


def check(cells):
    """What holds of all cells."""
    n = cells.count
    assert cells.labels.dtype == cells.nuclei.dtype == np.int32
    assert set(np.unique(cells.labels)) - {0} == set(range(1, n + 1)) == set(np.unique(cells.nuclei)) - {0}
    inner = cells.nuclei > 0
    np.testing.assert_array_equal(cells.nuclei[inner], cells.labels[inner])
    firsts = [int(np.flatnonzero(cells.labels.ravel() == i)[0]) for i in range(1, n + 1)]
    assert firsts == sorted(firsts)


FIVE = [(30, 30), (30, 100), (75, 62), (110, 20), (110, 119)]


@pytest.mark.parametrize(("scale", "iou"), [(1.0, 0.85), (0.5, 0.75), (0.37, 0.7)])  # cells are 12 working pixels wide at last
def test_finds_what_is_there(scale, iou):
    blue, red, truth = scene((130, 130), FIVE)
    cells = find_cells(blue, red, CellOptions(scale=scale, nucleus_area=50, cell_area=100))
    check(cells)
    assert score(cells, truth, iou).tp == cells.count == 5
    assert cells.border.tolist()[:3] == [False] * 3
    assert cells.border[cells.labels[110, 119] - 1]  # this one reaches to x = 135


def test_16_bits_floats_and_a_bright_background_are_one():
    blue, red, _truth = scene((130, 130), FIVE)
    as_8 = find_cells(blue, red, FULL)
    for more in (
        lambda a: a.astype(np.uint16) * 200,
        lambda a: a.astype(np.float32) / 255,
        lambda a: a.astype(np.float64) - 50,
    ):
        np.testing.assert_array_equal(find_cells(more(blue), more(red), FULL).labels, as_8.labels)


def test_nuclei_under_a_slope_of_light():
    blue, red, truth = scene((400, 400), [(y, x) for y in range(40, 400, 80) for x in range(40, 400, 80)], base=5)
    light = np.linspace(0, 120, 400)[None]  # as bright as the nuclei
    cells = find_cells(np.clip(blue + light, 0, 255).astype(np.uint8), red, FULL)
    assert score(cells, truth).tp == cells.count == 25


def test_dim_nuclei_beside_bright_ones():
    blue, red, truth = scene((130, 130), FIVE)
    blue[:, :80] = blue[:, :80] // 3 + 7
    assert score(find_cells(blue, red, FULL), truth).tp == 5


def test_touching_nuclei_are_parted_and_their_cells_meet_between():
    blue, red, truth = scene((60, 80), [(30, 32), (30, 46)])
    cells = find_cells(blue, red, FULL)
    check(cells)
    assert cells.count == 2
    assert score(cells, truth, 0.8).tp == 2
    assert find_cells(blue, red, CellOptions(scale=1, nucleus_area=50, cell_area=100, split=1.0)).count == 1


def test_a_brighter_neighbour_does_not_flood_a_cell():
    blue, red, truth = scene((60, 100), [(30, 35), (30, 62)])
    red[0][truth == 2] = 250
    cells = find_cells(blue, red, FULL)
    assert score(cells, truth, 0.8).tp == 2


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_flat_nucleus_channel_has_no_cell(value):
    _, red, _ = scene((130, 130), FIVE)
    cells = find_cells(np.full((130, 130), value, np.uint8), red, FULL)
    assert cells.count == 0
    assert not cells.labels.any()


@pytest.mark.parametrize("sigma", [1, 10, 40])
@pytest.mark.parametrize("seed", range(3))
def test_noise_is_no_cell(sigma, seed):
    noise = np.clip(np.random.default_rng(seed).normal(100, sigma, (300, 300)), 0, 255).astype(np.uint8)
    assert find_cells(noise, noise[None], FULL).count == 0


def test_cells_saturated_everywhere_are_shared_out_by_distance():
    blue, _, _ = scene((60, 100), [(30, 25), (30, 74)])
    full = np.full((1, 60, 100), 255, np.uint8)
    assert find_cells(blue, full, FULL).labels.max() == 2  # the nuclei themselves
    cells = find_cells(blue, full, CellOptions(scale=1, nucleus_area=50, cell_area=100, reach=10))
    away = np.hypot(*(np.mgrid[:60, :100] - np.array([30, 25])[:, None, None]))
    assert ((cells.labels == 1) == (away <= 18)).mean() > 0.98


def test_reach_limits_cells():
    blue, red, _ = scene((80, 80), [(40, 40)], cell=30)
    near = find_cells(blue, red, CellOptions(scale=1, nucleus_area=50, cell_area=100, reach=6))
    assert np.isclose(np.sqrt(near.labels.sum() / np.pi), 14, atol=1)


def test_no_channel_of_extent():
    blue, red, _ = scene((130, 130), FIVE)
    for nothing in (red[:0], red * 0):
        cells = find_cells(blue, nothing, FULL)
        assert cells.count == 5
        np.testing.assert_array_equal(cells.labels, cells.nuclei)


def test_small_ones_are_dropped():
    blue, red, _ = scene((130, 130), FIVE)
    assert find_cells(blue, red, CellOptions(scale=1, nucleus_area=300, cell_area=1)).count == 0
    assert find_cells(blue, red, CellOptions(scale=1, nucleus_area=50, cell_area=2000)).count == 0


def test_nuclei_from_elsewhere():
    blue, red, truth = scene((130, 130), FIVE)
    nuclei = discs((130, 130), FIVE, 6)
    nuclei[nuclei == 3] = 0
    nuclei[nuclei == 5] = 70000
    cells = find_cells(blue * 0, red, CellOptions(scale=0.5, nucleus_area=50, cell_area=100), nuclei)
    check(cells)
    assert cells.count == 4
    np.testing.assert_array_equal(cells.nuclei > 0, nuclei > 0)
    assert score(cells, truth).tp == 4


def test_2000_cells():
    centres = [(y, x) for y in range(12, 50 * 24, 24) for x in range(12, 40 * 24, 24)]
    blue, red = np.zeros((1200, 960), np.uint8), np.zeros((1200, 960), np.uint8)
    y, x = np.mgrid[-12:12, -12:12]
    away = np.hypot(y, x)
    for cy, cx in centres:
        blue[cy - 12 : cy + 12, cx - 12 : cx + 12][away < 6] = 200
        red[cy - 12 : cy + 12, cx - 12 : cx + 12][away < 10.5] = 120
    cells = find_cells(blue, red[None], CellOptions(scale=0.5, nucleus_area=30, cell_area=60))
    assert isinstance(cells, Cells)
    assert cells.count == 2000


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 3)])
def test_tiny_images(shape):
    assert (
        find_cells(np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape), np.zeros((2, *shape)), CellOptions()).count
        == 0
    )


@pytest.mark.parametrize(
    ("nucleus", "cell", "nuclei", "message"),
    [
        (np.zeros((0, 4)), np.zeros((1, 0, 4)), None, "at least one pixel"),
        (np.zeros((4, 4)), np.zeros((1, 4, 5)), None, "one size"),
        (np.full((4, 4), np.nan), np.zeros((1, 4, 4)), None, "nucleus channel: 16 values are not finite"),
        (np.zeros((4, 4)), np.full((1, 4, 4), np.inf), None, "cell channels: 16 values are not finite"),
        (np.zeros((4, 4), complex), np.zeros((1, 4, 4)), None, "complex"),
        (np.zeros((4, 4)), np.zeros((1, 4, 4)), np.zeros((4, 5), int), "labels of nuclei"),
        (np.zeros((4, 4)), np.zeros((1, 4, 4)), np.full((4, 4), -1), "below 0"),
    ],
)
def test_what_cannot_be_is_refused(nucleus, cell, nuclei, message):
    with pytest.raises(DataError, match=message):
        find_cells(nucleus, cell, FULL, nuclei)


@pytest.mark.real_data
def test_a_real_image_against_its_reference(real):
    """One image, by which thresholds and hills were chosen: it guards them, it does not prove them."""
    import cv2

    folder = real / "single_cells" / "if"
    blue, green = (
        cv2.imread(str(folder / "data" / f"383_d2_1_{name}.png"), cv2.IMREAD_GRAYSCALE) for name in ("blue", "green")
    )
    truth = cv2.imread(str(folder / "mask" / "383_d2_1_mask.png"), cv2.IMREAD_GRAYSCALE).astype(np.int32)
    cells = find_cells(blue, green[None], CellOptions())
    assert score(cells, truth).average_precision >= 0.9


@pytest.mark.real_data
def test_mosaics_hold_nine_cells(real):
    import cv2

    counts = []
    for path in sorted((real / "cell_mosaics" / "comb1").glob("*_blue.jpg"))[:6]:
        blue, red, yellow = (
            cv2.imread(str(path).replace("_blue.jpg", f"_{name}.jpg"), cv2.IMREAD_GRAYSCALE)
            for name in ("blue", "red", "yellow")
        )
        counts.append(find_cells(blue, np.stack([red, yellow]), CellOptions()).count)
    assert all(abs(count - 9) <= 1 for count in counts)
