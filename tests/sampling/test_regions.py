"""Regions: boxes are drawn as often here as the weight of here says, whatever else a sampler asks."""

import json
from contextlib import closing

import numpy as np
import pytest

from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Box, Space, Spacing
from malpighi.sampling.area_boxes import BoxCounts
from malpighi.sampling.boxes import SamplerOptions, sampler
from malpighi.sampling.foreground import Foreground
from malpighi.sampling.labelled import Labelled
from malpighi.sampling.regions import Weight, open_regions, weigh_regions
from sampling.drawn import Drawn

TILE = (16, 16)
PIXELS = Spacing((1.0, 1.0), "px")
SHAPE = (160, 80)  # the upper half is cortex, the lower medulla


def _halves(cortex: float, medulla: float, whole: float = 1.0) -> Weight:
    cells = np.full((80, 40), float(cortex))
    cells[40:] = medulla
    return Weight(whole, cells, (2, 2))


def _in_medulla(series, count: int = 1500, case: int | None = None) -> float:
    drawn = [series(n) for n in range(count)]
    return float(np.mean([box.start[0] + 8 >= 80 for k, box in drawn if case is None or k == case]))


def _series(kind: str, weights, **more):
    everywhere = np.argwhere(np.ones(SHAPE, bool))
    starts = np.array([(y, x) for y in range(0, 160, 16) for x in range(0, 80, 16)])
    counts = BoxCounts(starts, TILE, np.full(len(starts), 9), np.full(len(starts), 256))
    held = Labelled(np.ones((80, 40), bool), (2, 2), SHAPE)
    return sampler(
        SamplerOptions(kind, shifted=False, bins=1, **more),
        [SHAPE] * len(weights),
        TILE,
        0,
        [Foreground({"glomerulus": everywhere})] * len(weights),
        held=[held] * len(weights),
        counts=[counts] * len(weights),
        weights=weights,
    )


@pytest.mark.parametrize("kind", ["balanced", "random", "grid", "area", "until"])
def test_every_sampler_draws_by_region(kind):
    even = _in_medulla(_series(kind, [_halves(1, 1)]))
    assert even == pytest.approx(0.5, abs=0.04)
    assert _in_medulla(_series(kind, [_halves(3, 1)])) == pytest.approx(0.25, abs=0.04)
    assert _in_medulla(_series(kind, [_halves(1, 0)]), 300) <= 0.02 * (kind == "balanced")  # a jittered box may reach over


@pytest.mark.parametrize("kind", ["balanced", "random", "grid", "area", "until"])
def test_regions_and_whole_cases_count_together(kind):
    """Case 0 has weight 2 and is half medulla of weight 0: as many boxes of it as of case 1, of weight 1."""
    series = _series(kind, [_halves(1, 0, whole=2.0), _halves(1, 1)])
    cases = np.array([series(n)[0] for n in range(1500)])
    assert cases.mean() == pytest.approx(0.5, abs=0.04)
    assert _in_medulla(series, case=1) == pytest.approx(0.5, abs=0.06)


def test_a_region_far_smaller_than_the_image_is_found():
    cells = np.zeros((80, 40))
    cells[30, 20] = 0.01  # 4 of 12,800 voxels
    series = _series("random", [Weight(1.0, cells, (2, 2))])
    boxes = [series(n)[1] for n in range(50)]
    assert {Box((y, x), TILE) for y in (52, 53) for x in (32, 33)} >= set(boxes)
    assert series(7) == series(7)


def test_the_share_of_foreground_stays_what_was_asked():
    """Objects lie where weight is low: half of the boxes aim at them all the same."""
    points = np.array([[120, 40]])
    options = SamplerOptions(foreground=0.5, jitter=0.0)
    series = sampler(options, [SHAPE], TILE, 0, [Foreground({"tubule": points})], weights=[_halves(1, 0.001)])
    aimed = [series(n)[1] == Box((112, 32), TILE) for n in range(600)]
    assert np.mean(aimed) == pytest.approx(0.5, abs=0.06)


def test_nothing_of_weight_is_said():
    with pytest.raises(DataError, match=r"weight 0; give one .* region"):
        _series("random", [_halves(0, 0)])
    with pytest.raises(DataError, match="weight 0"):
        _series("grid", [_halves(0, 0)])


def test_cells_take_the_region_of_their_middle_and_the_later_of_two():
    layers = np.zeros((2, 20, 12), np.uint8)
    layers[0, :9] = 1  # cortex: rows 0 … 8
    layers[1, 4:9, :6] = 1  # a scar in it
    drawn = Drawn(layers, ("cortex", "scar"))
    cells, cell = weigh_regions(drawn, PIXELS, (32, 32), [("cortex", 2.0), ("scar", 0.0), ("pelvis", 9.0)], 0.5)
    assert cell == (4, 4)
    np.testing.assert_array_equal(cells[:, 0], [2, 0, 0.5, 0.5, 0.5])  # middles of rows: 2, 6, 10, 14, 18
    np.testing.assert_array_equal(cells[:, 2], [2, 2, 0.5, 0.5, 0.5])
    other, _ = weigh_regions(drawn, PIXELS, (32, 32), [("scar", 0.0), ("cortex", 2.0)], 0.5)
    assert other[1, 0] == 2


def test_outlines_name_regions(tmp_path):
    corners = [[0, 0], [8, 0], [8, 4], [0, 4], [0, 0]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": {"classification": {"name": "Cortex"}},
    }
    path = tmp_path / "slide-anatomical-structure.json"  # as the HuBMAP competition names it
    path.write_text(json.dumps([feature]))
    with closing(open_regions(path, Space.of_shape((16, 8)))) as regions:
        cells, _ = weigh_regions(regions, PIXELS, (16, 16), [("Cortex", 3.0)])
    np.testing.assert_array_equal(cells[:, 0], [3, 3, 1, 1, 1, 1, 1, 1])
    (tmp_path / "mask.png").write_bytes(b"")
    with pytest.raises(DataError, match="outlines that have names"):
        open_regions(tmp_path / "mask.png", Space.of_shape((16, 8)))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"regions": ("Cortex",)}, "give each a weight"),
        ({"regions": ("Cortex", "Cortex"), "region_weights": (1.0, 2.0)}, "name each region once"),
        ({"regions": ("Cortex",), "region_weights": (-1.0,)}, "0 or more"),
        ({"regions": ("Cortex",), "region_weights": (0.0,), "elsewhere": 0.0}, "at least one above"),
        ({"elsewhere": 0.0}, "elsewhere than in what"),
    ],
)
def test_weights_that_make_no_sense_are_refused(options, told):
    with pytest.raises(RecipeError, match=told):
        SamplerOptions(**options)
