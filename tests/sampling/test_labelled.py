"""No training box is wholly unlabelled, whatever the sampler, in 2-D and 3-D."""

import pickle
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malpighi.annotations.base import UNLABELLED, Annotation
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.sampling.boxes import SamplerOptions, sampler
from malpighi.sampling.foreground import find_foreground
from malpighi.sampling.labelled import find_labelled


class Sparse(Annotation):
    """Layers held in memory."""

    def __init__(self, layers: np.ndarray) -> None:
        super().__init__("sparse", Space.of_shape(layers.shape[1:]), tuple(f"class {i}" for i in range(len(layers))))
        self.layers = layers

    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        return self.layers[(slice(None), *box.slices)]


def sparse(shape: tuple[int, ...], *known: Box) -> Sparse:
    layers = np.full((2, *shape), UNLABELLED, np.uint8)
    for number, box in enumerate(known):
        layers[(number % 2, *box.slices)] = np.arange(box.volume).reshape(box.size) % 2
    return Sparse(layers)


def told(case: Sparse, box: Box) -> bool:
    return bool((case.rasterise(box)[(slice(None), *box.clip(case.space.shape).relative_to(box.start).slices)] != 255).any())


SLICES = [  # two slices of a volume; a corner of another; nothing at all of a third
    sparse((40, 50, 60), Box((7, 0, 0), (1, 50, 60)), Box((30, 0, 0), (1, 50, 60))),
    sparse((33, 20, 21), Box((30, 18, 19), (3, 2, 2))),
    sparse((64, 64, 64)),
]
PLANES = [sparse((100, 80), Box((90, 3), (2, 70))), sparse((300, 300))]


@pytest.mark.parametrize("kind", ["random", "balanced", "grid"])
@pytest.mark.parametrize(
    ("cases", "tile"),
    [(SLICES, (16, 16, 16)), (SLICES, (1, 16, 24)), (SLICES, (3, 32, 32)), (PLANES, (32, 32)), (PLANES, (9, 9))],
)
def test_every_box_holds_a_labelled_voxel(kind: str, cases: list[Sparse], tile: tuple[int, ...]) -> None:
    spacing = Spacing.pixels(len(tile))
    shapes = [case.space.shape for case in cases]
    labelled = [find_labelled(case, spacing, tile) for case in cases]
    foreground = [find_foreground(case, spacing, tile) for case in cases]
    draw = sampler(SamplerOptions(kind), shapes, tile, 3, foreground, labelled)  # type: ignore[arg-type]
    boxes = list(islice(draw.series(), 60))
    assert all(told(cases[case], box) for case, box in boxes)
    assert all(box.size == tile for _, box in boxes)
    assert list(islice(draw.series(20), 40)) == boxes[20:]  # a function of n
    assert [pickle.loads(pickle.dumps(draw))(n) for n in range(10)] == boxes[:10]
    assert len({box.start for _, box in boxes}) > 10 or kind == "grid"
    without = sampler(SamplerOptions(kind), shapes, tile, 3, foreground)  # type: ignore[arg-type]
    assert not all(told(cases[case], box) for case, box in islice(without.series(), 200))


def test_where_all_is_labelled_boxes_are_the_same_as_ever() -> None:
    case = Sparse(np.zeros((1, 40, 44), np.uint8))
    labelled = find_labelled(case, Spacing.pixels(2), (16, 16))
    assert labelled.cells.all()
    plain, asked = (sampler(SamplerOptions("random"), [(40, 44)], (16, 16), 5, (), known) for known in ((), [labelled]))
    assert [plain(n) for n in range(50)] == [asked(n) for n in range(50)]


@settings(max_examples=30, deadline=None)  # a busy machine is no error
@given(st.integers(0, 10**6), st.sampled_from([((21, 30), (9, 17)), ((5, 40), (16, 16)), ((9, 17, 30), (3, 16, 20))]))
def test_what_is_said_of_a_box_is_true(seed: int, case: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    shape, tile = case
    rng = np.random.default_rng(seed)
    layers = np.where(rng.random((1, *shape)) < 0.005, 1, UNLABELLED).astype(np.uint8)
    annotation = Sparse(layers)
    labelled = find_labelled(annotation, Spacing.pixels(len(shape)), tile)
    for _ in range(10):
        box = Box(tuple(int(rng.integers(-t, n + t)) for n, t in zip(shape, tile, strict=True)), tile)
        assert told(annotation, box) or not labelled.any(box)
    for number in range(labelled.count):
        assert told(annotation, labelled.place(number))
    assert labelled.count == sum(told(annotation, box) for box in Box.of_shape(shape).split(labelled.cell))


@pytest.mark.parametrize("kind", ["random", "grid"])
def test_nothing_labelled_is_an_error(kind: str) -> None:
    labelled = [find_labelled(SLICES[2], Spacing.pixels(3), (16, 16, 16))]
    with pytest.raises(DataError, match="label"):
        sampler(SamplerOptions(kind), [(64, 64, 64)], (16, 16, 16), 0, (), labelled)  # type: ignore[arg-type]
