import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from malpighi.images.cache import Files, TileCache


def tile(size: int) -> np.ndarray:
    return np.zeros(size, np.uint8)


def test_the_oldest_tile_goes_when_the_bytes_are_used_up() -> None:
    tiles = TileCache(limit=100)
    tiles.put((1, "a"), tile(50))
    tiles.put((1, "b"), tile(50))
    assert tiles.get((1, "a")) is not None  # now the newest
    tiles.put((1, "c"), tile(50))
    assert tiles.get((1, "b")) is None
    assert tiles.get((1, "a")) is not None
    assert tiles.bytes == 100


def test_a_tile_larger_than_the_limit_is_held_alone() -> None:
    tiles = TileCache(limit=100)
    tiles.put((1, "a"), tile(50))
    tiles.put((1, "b"), tile(500))
    assert (tiles.get((1, "a")), tiles.bytes) == (None, 500)


def test_putting_a_tile_twice_counts_it_once() -> None:
    tiles = TileCache()
    tiles.put((1, "a"), tile(50))
    tiles.put((1, "a"), tile(60))
    assert tiles.bytes == 60


def test_an_owner_takes_its_tiles_along() -> None:
    tiles = TileCache()
    tiles.put((1, "a"), tile(50))
    tiles.put((2, "a"), tile(60))
    tiles.drop(1)
    assert tiles.get((1, "a")) is None
    assert tiles.bytes == 60


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_many_files_are_read_through_few_handles(tmp_path: Path) -> None:
    paths = [tmp_path / str(i) for i in range(40)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]) * 10)
    files = Files(limit=4)
    before = open_files()
    with ThreadPoolExecutor(8) as pool:
        reads = list(pool.map(lambda path: files.read(0, path, 2, 3), paths * 10))
    assert reads == [bytes([i]) * 3 for i in range(40)] * 10
    assert open_files() - before <= 4
    files.drop(0)
    assert open_files() == before


def test_a_file_that_was_replaced_is_read_anew_by_its_new_owner(tmp_path: Path) -> None:
    files = Files()
    (tmp_path / "a").write_bytes(b"old")
    assert files.read(1, tmp_path / "a", 0, 3) == b"old"
    (tmp_path / "b").write_bytes(b"new")
    (tmp_path / "b").replace(tmp_path / "a")
    assert files.read(2, tmp_path / "a", 0, 3) == b"new"
