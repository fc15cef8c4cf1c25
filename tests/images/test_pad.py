import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malpighi.geometry import Box
from malpighi.images.pad import read_padded

sides = st.lists(st.integers(1, 6), min_size=1, max_size=3)


@settings(deadline=None)
@given(st.data(), sides, st.sampled_from(["reflect", "edge", 3]))
def test_any_box_is_cut_from_numpys_padding(data: st.DataObject, shape: list[int], pad: str | int) -> None:
    array = np.arange(1, 1 + 2 * int(np.prod(shape))).reshape(2, *shape)
    margin = 2 * max(shape)  # further than one reflection
    start = tuple(data.draw(st.integers(-margin, n + margin - 1)) for n in shape)
    size = tuple(data.draw(st.integers(1, n + margin - a)) for a, n in zip(start, shape, strict=True))
    mode = {"mode": pad} if isinstance(pad, str) else {"mode": "constant", "constant_values": pad}
    padded = np.pad(array, [(0, 0)] + [(margin, margin)] * len(shape), **mode)
    box = Box(start, size)
    read = read_padded(lambda b: array[(slice(None), *b.slices)].copy(), box, tuple(shape), pad, array.dtype, 2)
    np.testing.assert_array_equal(read, padded[(slice(None), *box.shift((margin,) * box.rank).slices)])


def test_only_what_is_needed_is_read() -> None:
    asked = []

    def read(box: Box) -> np.ndarray:
        asked.append(box)
        return np.zeros((1, *box.size), np.uint8)

    read_padded(read, Box((-3, 50), (10, 10)), (1000, 1000), "reflect", np.dtype(np.uint8), 1)
    assert asked == [Box((0, 50), (7, 10))]


def test_an_unknown_mode() -> None:
    with pytest.raises(ValueError, match="use 'reflect', 'edge' or a number"):
        read_padded(lambda b: np.zeros((1, *b.size)), Box((-1,), (2,)), (4,), "wrap", np.dtype(float), 1)  # type: ignore[arg-type]
