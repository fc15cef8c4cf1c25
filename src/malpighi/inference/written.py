"""`unfinished.log`: what an unfinished prediction has, a line as soon as it has it, so that the run that goes on knows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from malpighi.geometry import Box
from malpighi.images.base import Damage

LOG = "unfinished.log"


class WrittenLog:
    """The log of a prediction folder: read when it is opened, then added to.

    Attributes:
        boxes: that are written.
        steps: that are done.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOG
        self._file: TextIO | None = None
        self.boxes: set[Box] = set()
        self.steps: set[str] = set()
        self._damage: dict[tuple[int, Box], Damage] = {}
        for line in self._lines():
            match json.loads(line):
                case [start, size]:
                    self.boxes.add(Box(tuple(start), tuple(size)))
                case {"level": level, "box": [start, size], "reason": reason}:
                    box = Box(tuple(start), tuple(size))
                    self._damage[level, box] = Damage(level, box, reason)
                case {"step": step}:
                    self.steps.add(step)

    def _lines(self) -> list[bytes]:
        """Whole lines; the last may be cut off, and goes."""
        if not self._path.exists():
            return []
        complete = self._path.read_bytes().rpartition(b"\n")[0]
        os.truncate(self._path, len(complete) + bool(complete))
        return complete.splitlines()

    @property
    def damage(self) -> list[Damage]:
        """Parts of the image that could not be read, in order of position."""
        return [self._damage[key] for key in sorted(self._damage)]

    def add(self, box: Box, damage: Iterable[Damage] = ()) -> None:
        """A box is written, and so much damage was met up to now; what is known of it is left out."""
        fresh = {(found.level, found.box): found for found in damage if (found.level, found.box) not in self._damage}
        told = [{"level": level, "box": [at.start, at.size], "reason": found.reason} for (level, at), found in fresh.items()]
        self._write(*told, [box.start, box.size])
        self._damage |= fresh
        self.boxes.add(box)

    def mark(self, step: str) -> None:
        """A step is done."""
        self._write({"step": step})
        self.steps.add(step)

    def close(self) -> None:
        """Close the file; what it says stays."""
        if self._file is not None:
            self._file.close()

    def _write(self, *told: Any) -> None:
        if self._file is None:
            self._file = self._path.open("a")
        self._file.write("".join(json.dumps(line) + "\n" for line in told))
        self._file.flush()
