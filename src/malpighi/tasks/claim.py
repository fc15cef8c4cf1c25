"""Whose folder it is: a run's own that goes on, a fresh one, or somebody else's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from malpighi.errors import DataError, OutputError
from malpighi.geometry import Spacing
from malpighi.reports.runfolder import read_json


def asked_for(
    raw: Mapping[str, Any], data: Path, spacing: float | Spacing | None, only: Mapping[str, Sequence[str]] | None
) -> dict[str, Any]:
    """What makes a run on a data set that run, as JSON holds it: see `claim`.

    Args:
        raw: the recipe as it was asked for.
        data, spacing, only: as `find_cases` takes them.
    """
    return {
        "recipe": raw,
        "data": str(Path(data).resolve()),
        "spacing": str(spacing) if isinstance(spacing, Spacing) else spacing,
        "only": {key: list(values) for key, values in (only or {}).items()},
    }


def claim(run: Path, mark: str, asked: Mapping[str, Any], *, overwrite: bool, unmarked: Collection[str] = ()) -> bool:
    """Make the folder this run's; whether it already was, and can be gone on with.

    Args:
        run: folder to make.
        mark: name of the JSON file in it that says under "asked" what a run is; who claims writes it.
        asked: what this run is, as JSON would hold it.
        overwrite: an earlier run's folder is emptied.
        unmarked: all that a run killed before it was marked can hold, besides files that it had not written whole.

    Raises:
        OutputError: the folder holds another run, or something else, or cannot be made.
    """
    if run.exists() and not run.is_dir():
        raise OutputError(f"{run}: exists and is not a folder; choose another -o")
    marked = (run / mark).is_file()
    if marked and overwrite:
        shutil.rmtree(run)
    elif marked:
        before = _asked(run / mark)
        now = json.loads(json.dumps(asked))
        different = [_named(key, before.get(key), now[key]) for key in now if before.get(key) != now[key]]
        if different:
            raise OutputError(
                f"{run}: holds a run with another {', '.join(different)}; choose another -o, or begin again with --overwrite"
            )
        return True
    if run.is_dir() and any(path.name not in unmarked and not _unfinished(path) for path in run.iterdir()):
        raise OutputError(f"{run}: is not empty and no run; choose another -o")
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{run}: cannot be made ({error.strerror}); choose another -o") from error
    return False


def _named(key: str, before: Any, now: Any) -> str:
    """What differs; of a recipe also in which of its keys."""
    leaves = list(_differing(before, now)) if isinstance(before, dict) and isinstance(now, dict) else []
    return key + (f" ({', '.join(leaves[:5])}{', …' if len(leaves) > 5 else ''})" if leaves else "")


def _differing(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in dict.fromkeys((*before, *now)):
        old, new = before.get(key), now.get(key)
        one, other = (each if isinstance(each, dict) else {} for each in (old, new))
        if one or other:
            yield from _differing(one, other, f"{prefix}{key}.")
        elif old != new:
            yield prefix + key


def _unfinished(path: Path) -> bool:
    """Whether a file is what a process that was killed left of one it wrote; see `replacing`."""
    return path.name.startswith(".") and path.suffix == ".part"


def _asked(path: Path) -> Mapping[str, Any]:
    try:
        return read_json(path).get("asked", {})
    except DataError as error:
        raise OutputError(f"{error}; begin again with --overwrite") from error
