"""The folder of a prediction: what lies in it, whose it is, and what a disk that refuses means for it."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from malpighi.errors import OutputError
from malpighi.inference.manifest import MANIFEST, differences, read_json, write_json
from malpighi.inference.written import LOG, WrittenLog

LABELS = "labels.ome.zarr"
PROBABILITIES = "probabilities.ome.zarr"
BEGUN = "unfinished.json"
CONFIDENCE = "unfinished-confidence.zarr"
"""Probabilities that nobody asked for, until the objects are measured."""
UNDECIDED = "unfinished-probabilities.zarr"
"""Those of `top`, until the masks are decided."""
BEFORE = "unfinished-masks.zarr"
"""Masks as they were before the step that is changing them."""


def claim(path: Path, asked: Mapping[str, Any], overwrite: bool) -> bool:
    """Make a folder that of the prediction with the identity `asked`; whether it already was.

    Raises:
        OutputError: it holds a finished prediction, another one, or something else; or cannot be written.
    """
    if path.exists() and not overwrite and _goes_on(path, asked):
        return True
    try:
        _clear(path)
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / BEGUN, asked)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another output") from error
    return False


def _goes_on(path: Path, asked: Mapping[str, Any]) -> bool:
    if not path.is_dir():
        raise OutputError(f"{path}: exists and is not a folder; choose another output")
    if (path / MANIFEST).exists():
        raise OutputError(f"{path}: holds a finished prediction; choose another output or replace it with --overwrite")
    if not (path / BEGUN).exists():
        if any(path.iterdir()):
            raise OutputError(f"{path}: is not empty and no prediction; choose another output")
        return False
    if not WrittenLog(path).boxes:  # nothing to go on with, and nothing to lose
        return False
    if different := differences(read_json(path / BEGUN), asked):
        raise OutputError(
            f"{path}: holds an unfinished prediction with another {', '.join(different)}; "
            "give the same input and options to go on, choose another output, or begin again with --overwrite"
        )
    return True


def _clear(path: Path) -> None:
    """Remove an earlier prediction, the mark of being finished first; files that are not ours stay."""
    (path / MANIFEST).unlink(missing_ok=True)
    tidy(path)
    for name in (LABELS, PROBABILITIES):
        if (path / name).is_dir():
            shutil.rmtree(path / name)


def tidy(path: Path) -> None:
    """Remove what only an unfinished prediction needs."""
    for name in (LOG, BEGUN):
        (path / name).unlink(missing_ok=True)
    for name in (CONFIDENCE, UNDECIDED, BEFORE):
        shutil.rmtree(path / name, ignore_errors=True)


@contextmanager
def explained(path: Path, boxes: Callable[[], tuple[int, int]]) -> Iterator[None]:
    """What the disk refuses while a prediction is written is an `OutputError`; of a full disk it says how much is needed.

    Args:
        path: of the folder.
        boxes: how many are written, of how many.
    """
    try:
        yield
    except OSError as error:
        cause = error
        while isinstance(cause.__cause__, OSError):
            cause = cause.__cause__
        if cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(_full(path, *boxes())) from error
        if isinstance(error, OutputError):  # chained to itself, it would be without end
            raise
        raise OutputError(f"{path}: cannot be written ({error})") from error


def _full(path: Path, done: int, total: int) -> str:
    written = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    free = shutil.disk_usage(path).free
    needed = written / max(1, done) * (total - done) * 1.35  # the coarser levels are a third
    more = f"about {_megabytes(needed)} more are needed: free them" if done else "free space"
    return (
        f"{path}: the disk is full after {done} of {total} boxes ({_megabytes(written)}; {_megabytes(free)} "
        f"free); {more} and run the same command again to go on"
    )


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB"
