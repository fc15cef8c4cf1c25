"""Annotation files as files: parsed once while they do not change, and written whole or not at all."""

from __future__ import annotations

import gc
import gzip
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TypeVar

from malpighi.errors import DataError
from malpighi.images.replacing import replacing

__all__ = ["no_collector", "once_per_file", "read_text", "replacing"]

T = TypeVar("T")

KEPT = 16
"""Parsed files a process remembers: many cases of one table parse it once, a thousand GeoJSONs do not pile up."""


def once_per_file(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """`read(path)`, remembered until the file's time or size changes. The result is shared: never change it."""
    seen: OrderedDict[tuple[str, int, int], T] = OrderedDict()
    lock = threading.Lock()

    @wraps(read)
    def remembered(path: Path) -> T:
        try:
            stat = os.stat(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and permissions") from error
        key = (os.fspath(path), stat.st_mtime_ns, stat.st_size)
        with lock:
            if key not in seen:
                seen[key] = read(Path(path))
            seen.move_to_end(key)
            while len(seen) > KEPT:
                seen.popitem(last=False)
            return seen[key]

    return remembered


def read_text(path: Path) -> str:
    """A UTF-8 text file, or a `.gz` of one.

    Raises:
        DataError: the file is unreadable, truncated, or not text.
    """
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file, or copy it again") from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path}: compressed file is truncated or damaged ({error}); copy or export it again") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a UTF-8 text file ({error.reason} at byte {error.start})") from error


@contextmanager
def no_collector() -> Iterator[None]:
    """Parse without the cyclic collector: it would walk millions of small lists again and again, two thirds of the time."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
