"""Decoded tiles and open files, shared by all images of the process and bounded for all of them together.

Training opens hundreds of slides at once: a bound for each would be none.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeVar

import numpy as np

T = TypeVar("T")
TILE_BYTES = 256 * 2**20
OPEN_FILES = 64


class TileCache:
    """The most recently used tiles, at most `limit` bytes of them (or one tile, should it alone be larger).

    Keys are tuples that begin with their owner. Arrays are handed out as they are and must not be written to.

    Attributes:
        decoded: voxels (× channels) put in since the process began: over the voxels of the images read, the read
            amplification. It only grows; take differences.
    """

    def __init__(self, limit: int = TILE_BYTES) -> None:
        self.limit = limit
        self.bytes = 0
        self.decoded = 0
        self._tiles: OrderedDict[tuple[Hashable, ...], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[Hashable, ...]) -> np.ndarray | None:
        """The tile, now the most recently used one; None where it is not held."""
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
            return tile

    def put(self, key: tuple[Hashable, ...], tile: np.ndarray) -> None:
        """Hold a tile and let the oldest go."""
        with self._lock:
            old = self._tiles.pop(key, None)
            self._tiles[key] = tile
            self.decoded += tile.size
            self.bytes += tile.nbytes - (0 if old is None else old.nbytes)
            while self.bytes > self.limit and len(self._tiles) > 1:
                self.bytes -= self._tiles.popitem(last=False)[1].nbytes

    def count(self, voxels: int) -> None:
        """Note voxels that were decoded and are held elsewhere."""
        with self._lock:
            self.decoded += voxels

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._tiles.clear()
            self.bytes = 0

    def drop(self, owner: Hashable) -> None:
        """Let go of all tiles of one owner."""
        with self._lock:
            for key in [key for key in self._tiles if key[0] == owner]:
                self.bytes -= self._tiles.pop(key).nbytes


class _Open:
    """A file descriptor that closes when the last thread that reads from it lets go."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self.fd)


class Files:
    """Positioned reads from any number of files, at most `limit` of which are open.

    Each owner opens its own: a file that was replaced since is not read through a descriptor of the old one.
    """

    def __init__(self, limit: int = OPEN_FILES) -> None:
        self.limit = limit
        self._open: OrderedDict[tuple[Hashable, Path], _Open] = OrderedDict()
        self._maps: OrderedDict[tuple[Hashable, Path], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, owner: Hashable, path: Path, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`, fewer at the end of the file. Safe from many threads."""
        with self._lock:
            file = _kept(self._open, (owner, path), _Open, self.limit)
        if hasattr(os, "pread"):
            return os.pread(file.fd, count, offset)
        with self._lock:  # Windows has one position a file
            os.lseek(file.fd, offset, os.SEEK_SET)
            return os.read(file.fd, count)

    def map(self, owner: Hashable, path: Path) -> np.ndarray:
        """The file's bytes as a read-only memory map."""
        with self._lock:
            return _kept(self._maps, (owner, path), lambda p: np.memmap(p, np.uint8, "r"), self.limit)

    def drop(self, owner: Hashable) -> None:
        """Close the files of one owner; they open again should they be read."""
        with self._lock:
            for held in (self._open, self._maps):
                for key in [key for key in held if key[0] == owner]:
                    del held[key]


def _kept(held: OrderedDict[tuple[Hashable, Path], T], key: tuple[Hashable, Path], make: Callable[[Path], T], limit: int) -> T:
    """`held[key]`, made if need be, and now the one used last; the oldest go."""
    if key not in held:
        held[key] = make(key[1])
        while len(held) > limit:
            held.popitem(last=False)
    held.move_to_end(key)
    return held[key]


tiles = TileCache()
files = Files()
