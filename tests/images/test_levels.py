"""Chunks and shards of a level; what is written of them is tested with `ZarrWriter`."""

import pytest

from malpighi.images.levels import layout


@pytest.mark.parametrize(
    ("shape", "chunk", "shard", "wanted"),
    [
        ((5000, 3000), None, None, ((512, 512), (2048, 2048))),
        ((300, 300, 300), None, None, ((64, 64, 64), (256, 256, 256))),
        ((70, 101), 16, 32, ((16, 16), (32, 32))),
        ((70, 20), 16, 64, ((16, 16), (64, 32))),  # two chunks hold 20 columns
        ((5, 101), 16, 32, ((5, 16), (5, 32))),
        ((9, 40, 40), (2, 8, 8), (4, 16, 16), ((2, 8, 8), (4, 16, 16))),
        ((70, 101), 16, 40, ((16, 16), (32, 32))),  # whole chunks
    ],
)
def test_chunks_lie_inside_the_level_and_shards_are_whole_chunks(shape, chunk, shard, wanted):
    assert layout(shape, chunk, shard) == wanted
