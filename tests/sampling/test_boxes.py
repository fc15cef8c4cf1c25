import pickle
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malpighi.annotations.base import UNLABELLED
from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Box
from malpighi.sampling.boxes import SamplerOptions, balanced_boxes, grid_boxes, grid_round, random_boxes, sampler
from malpighi.sampling.foreground import Foreground, find_foreground
from malpighi.sampling.regions import Weight
from sampling.drawn import Drawn

SHAPES = [(100, 80), (20, 300)]
POINTS = [
    Foreground({"tuft": np.array([[5, 5], [90, 70]]), "capsule": np.empty((0, 2), int)}),
    Foreground({"capsule": np.array([[3, 250]])}),
]


def hangs_over_no_more_than_needed(box: Box, shape: tuple[int, ...]) -> bool:
    return all(
        (a >= 0 and b <= n) if n >= b - a else (a <= 0 and b >= n) for a, b, n in zip(box.start, box.stop, shape, strict=True)
    )


@given(
    st.sampled_from([((30, 40), (16, 16)), ((5, 40), (16, 16)), ((9, 7, 30), (4, 8, 8)), ((1, 1), (3, 2))]),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
)
def test_random_boxes_stay_inside_as_far_as_they_fit(case: tuple[tuple[int, ...], tuple[int, ...]], seed: int, n: int) -> None:
    shape, tile = case
    index, box = random_boxes([shape], tile, seed)(n)
    assert index == 0
    assert box.size == tile
    assert hangs_over_no_more_than_needed(box, shape)


def test_random_boxes_reach_both_borders_and_go_by_area() -> None:
    drawn = [random_boxes([(10, 10), (10, 30)], (8, 8), 1)(n) for n in range(2000)]
    assert {box.start[0] for _, box in drawn} == {0, 1, 2}
    assert {box.start[1] for case, box in drawn if case == 1} == set(range(23))
    assert np.mean([case for case, _ in drawn]) == pytest.approx(0.75, abs=0.04)


@pytest.mark.parametrize("kind", ["grid", "random", "balanced"])
def test_any_series_can_be_taken_up_anywhere(kind: str) -> None:
    drawn = sampler(SamplerOptions(kind=kind), SHAPES, (32, 32), 7, POINTS)  # type: ignore[arg-type]
    first = list(islice(drawn.series(), 40))
    assert list(islice(drawn.series(15), 25)) == first[15:]
    assert [pickle.loads(pickle.dumps(drawn))(n) for n in range(40)] == first
    other = sampler(SamplerOptions(kind=kind), SHAPES, (32, 32), 8, POINTS)  # type: ignore[arg-type]
    assert list(islice(other.series(), 40)) != first


def test_series_with_neighbouring_seeds_share_no_boxes_by_counting_on() -> None:
    a, b = (random_boxes([(5000, 5000)], (8, 8), seed) for seed in (1, 2))
    assert not {a(n) for n in range(50)} & {b(n) for n in range(50)}


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("shape", "tile"), [((37, 20), (16, 8)), ((5, 9), (16, 16)), ((9, 20, 11), (4, 8, 8))])
def test_grid_covers_every_voxel_and_repeats_no_box(shape: tuple[int, ...], tile: tuple[int, ...], shifted: bool) -> None:
    boxes = list(grid_round([shape], tile, shifted=shifted))
    assert len(set(boxes)) == len(boxes)
    covered = np.zeros(shape, bool)
    for _, box in boxes:
        assert hangs_over_no_more_than_needed(box, shape)
        covered[box.clip(shape).slices] = True
    assert covered.all()


def test_second_grid_is_moved_by_half_a_step() -> None:
    starts = {box.start for _, box in grid_round([(64, 64)], (32, 32))}
    assert {(0, 0), (0, 32), (32, 0), (32, 32), (16, 16)} <= starts


def test_grid_shuffles_each_round_and_keeps_order_without_a_seed() -> None:
    one_round = list(grid_round(SHAPES, (32, 32)))
    count = len(one_round)
    series = grid_boxes(SHAPES, (32, 32), seed=3)
    rounds = [[series(turn * count + k) for k in range(count)] for turn in range(2)]
    assert sorted(rounds[0]) == sorted(rounds[1]) == sorted(one_round)
    assert rounds[0] != rounds[1]
    assert list(islice(grid_boxes(SHAPES, (32, 32)).series(), count)) == one_round


def test_balanced_boxes_hold_foreground_of_all_classes_alike() -> None:
    series = balanced_boxes(SHAPES, (32, 32), 5, POINTS, share=1.0, jitter=1.0)
    hits = {"tuft": 0, "capsule": 0}
    for case, box in islice(series.series(), 400):
        held = {n for n, ps in POINTS[case].points.items() if any(box.contains(Box(tuple(p), (1, 1))) for p in ps)}
        assert held
        assert hangs_over_no_more_than_needed(box, SHAPES[case])
        for name in held:
            hits[name] += 1
    assert hits["tuft"] == pytest.approx(200, abs=40)


def test_jitter_moves_the_point_within_the_box_and_none_centres_it() -> None:
    points = [Foreground({"cell": np.array([[500, 500]])})]
    centred = {b.start for _, b in islice(balanced_boxes([(1000, 1000)], (33, 33), 1, points, 1.0, 0.0).series(), 20)}
    assert centred == {(484, 484)}
    moved = [b.start[0] for _, b in islice(balanced_boxes([(1000, 1000)], (33, 33), 1, points, 1.0, 1.0).series(), 300)]
    assert min(moved) <= 470
    assert max(moved) >= 498


def test_without_foreground_balanced_is_random() -> None:
    empty = [Foreground(), Foreground()]
    balanced, random = balanced_boxes(SHAPES, (32, 32), 5, empty), random_boxes(SHAPES, (32, 32), 5)
    assert [balanced(n) for n in range(20)] == [random(n) for n in range(20)]
    share = balanced_boxes(SHAPES, (32, 32), 5, POINTS, share=0.5)
    assert sum(share(n) == random(n) for n in range(400)) == pytest.approx(200, abs=40)


def test_wrong_use_is_named() -> None:
    with pytest.raises(RecipeError, match=r"sampler\.kind"):
        SamplerOptions(kind="all")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=r"sampler\.foreground is 2"):
        SamplerOptions(foreground=2)
    with pytest.raises(ValueError, match="rank"):
        random_boxes([(10, 10, 10)], (4, 4), 0)
    with pytest.raises(ValueError, match="one a case"):
        balanced_boxes(SHAPES, (8, 8), 0, [])


@pytest.mark.parametrize(("shape", "tile"), [((90, 130), (32, 32)), ((10, 40, 50), (8, 16, 16))])
def test_found_points_lie_in_their_class_and_leave_no_object_out(shape: tuple[int, ...], tile: tuple[int, ...]) -> None:
    layers = np.zeros((2, *shape), np.uint8)
    layers[1] = UNLABELLED
    large, small = Box((1,) * len(shape), tuple(n // 2 for n in shape)), Box(tuple(n - 3 for n in shape), (2,) * len(shape))
    layers[(0, *large.slices)] = layers[(0, *small.slices)] = 1
    annotation = Drawn(layers, ("tuft", "capsule"))
    found = find_foreground(annotation, annotation.space.spacing, tile, block=24)
    points = found.points["tuft"]
    assert (layers[0][tuple(points.T)] == 1).all()
    assert len(np.unique(points, axis=0)) == len(points)
    assert any(small.contains(Box(tuple(p), (1,) * len(shape))) for p in points)
    assert len(found.points["capsule"]) == 0
    assert found.voxels == {"tuft": int((layers[0] == 1).sum()), "capsule": 0}
    assert len(annotation.asked) == len(set(annotation.asked)) > 1
    assert sum(box.volume for box in annotation.asked) == np.prod(shape)  # once over


def test_no_more_points_than_asked_for_and_the_same_each_time() -> None:
    annotation = Drawn(np.ones((1, 200, 200), np.uint8), ("tissue",))
    found = [find_foreground(annotation, annotation.space.spacing, (32, 32), most=50).points["tissue"] for _ in range(2)]
    assert len(found[0]) == 50
    np.testing.assert_array_equal(*found)
    quadrants = np.unique(found[0] // 100, axis=0, return_counts=True)[1]
    assert len(quadrants) == 4
    assert quadrants.min() >= 4


def test_weights_multiply_area_and_points() -> None:
    drawn = [random_boxes([(20, 20), (20, 20)], (8, 8), 1, [Weight(3), Weight(1)])(n)[0] for n in range(1500)]
    assert np.mean(drawn) == pytest.approx(0.25, abs=0.04)
    points = [Foreground({"cell": np.array([[5, 5]])}), Foreground({"cell": np.array([[5, 5], [9, 9], [12, 12]])})]
    series = balanced_boxes([(20, 20), (20, 20)], (8, 8), 2, points, share=1.0, weights=[Weight(3), Weight(1)])
    assert np.mean([series(n)[0] for n in range(1500)]) == pytest.approx(0.5, abs=0.05)
    with pytest.raises(DataError, match="weight 0"):
        random_boxes([(20, 20)], (8, 8), 1, [Weight(0)])


def test_a_case_of_weight_0_is_never_drawn() -> None:
    points = [Foreground({"rare": np.array([[5, 5]])}), Foreground({"cell": np.array([[5, 5]])})]
    for options in (SamplerOptions(), SamplerOptions("grid"), SamplerOptions("random")):
        series = sampler(options, [(20, 20), (20, 20)], (8, 8), 0, points, weights=[Weight(0), Weight(1)])
        assert {series(n)[0] for n in range(100)} == {1}


def test_grid_rounds_repeat_boxes_by_weight_and_stay_as_long() -> None:
    series = grid_boxes([(16, 16), (16, 16)], (8, 8), shifted=False, seed=4, weights=[Weight(3), Weight(1)])
    for turn in range(3):
        counts = Counter(series(turn * 8 + k) for k in range(8))
        assert {counts[box] for box in counts if box[0] == 0} <= {1, 2}  # 1.5 times a round
        assert sum(n for box, n in counts.items() if box[0] == 0) == 6
    alike = grid_boxes([(16, 16), (16, 16)], (8, 8), shifted=False, seed=4, weights=[Weight(2), Weight(2)])
    assert set(Counter(alike(k) for k in range(8)).values()) == {1}
    with pytest.raises(ValueError, match="give a seed"):
        grid_boxes([(16, 16)], (8, 8), weights=[Weight(1)])
