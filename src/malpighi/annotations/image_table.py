"""CSV tables with a row an image, as competitions come with: sizes, organs, the order of a sample submission."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from malpighi.annotations.files import once_per_file
from malpighi.annotations.submissions import KEYS, RUNS, table_rows
from malpighi.errors import DataError

NAMES = (*KEYS, "image_file", "image")
HEIGHTS = ("img_height", "height_pixels", "height", "ImageHeight")
WIDTHS = ("img_width", "width_pixels", "width", "ImageWidth")


@dataclass(frozen=True)
class ImageTable:
    """What a table says of each image, run lengths left out.

    Attributes:
        path: of the file.
        header: all columns' names.
        rows: image id (a file's name without suffix) → column → text, in the file's order.
    """

    path: Path
    header: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]]

    @property
    def key(self) -> str:
        """The column of ids."""
        return next(name for name in NAMES if name in self.header)

    @property
    def runs(self) -> str:
        """The column of run lengths; "" where there is none."""
        return next((name for name in RUNS if name in self.header), "")

    @property
    def says_sizes(self) -> bool:
        """Whether there is a column of widths and one of heights."""
        return bool(set(HEIGHTS) & set(self.header)) and bool(set(WIDTHS) & set(self.header))

    def size(self, name: str) -> tuple[int, int]:
        """(y, x) of an image.

        Raises:
            DataError: the table does not say it, or not as whole numbers.
        """
        if not self.says_sizes:
            raise DataError(
                f"{self.path}: has no sizes; a table of sizes has a column of {', '.join(HEIGHTS[:3])} and one of "
                f"{', '.join(WIDTHS[:3])}"
            )
        if name not in self.rows:
            raise DataError(f"{self.path}: no row {name!r}; add its width and height")
        row = self.rows[name]
        texts = [next(row[each] for each in names if each in row) for names in (HEIGHTS, WIDTHS)]
        try:
            height, width = (int(float(text)) for text in texts)
        except (ValueError, OverflowError):
            height = width = 0
        if height < 1 or width < 1:
            raise DataError(f"{self.path}, row {name}: {' × '.join(texts)} is no size in pixels; give height and width")
        return height, width

    def value(self, name: str, column: str) -> str:
        """An image's text in a column; "" where it has none."""
        return self.rows.get(name, {}).get(column, "").strip()


@once_per_file
def read_image_table(path: Path) -> ImageTable:
    """Read a CSV with a row an image.

    Raises:
        DataError: no table with a column of ids, a row that is cut off, or an id that is there twice.
    """
    rows = table_rows(path)
    header = tuple(name.strip() for name in next(rows, None) or [])
    key = next((name for name in NAMES if name in header), None)
    if key is None:
        raise DataError(
            f"{path}: columns {', '.join(header)[:80] or '(none)'}; a table of images has one of {', '.join(NAMES)}"
        )
    found: dict[str, dict[str, str]] = {}
    for line, row in enumerate(rows, 2):
        if not row:
            continue
        if len(row) != len(header):
            raise DataError(f"{path}: row {line} has {len(row)} fields, the header has {len(header)}; is the file truncated?")
        facts = {column: text for column, text in zip(header, row, strict=True) if column not in RUNS}
        name = facts[key].strip()
        name = Path(name).name.split(".")[0] if key == "image_file" else name
        if name in found:
            raise DataError(f"{path}: row {line}: {name!r} is there twice; give each image one row")
        found[name] = facts
    return ImageTable(path, header, found)


def is_run_table(path: Path) -> bool:
    """Whether a file is a CSV of ids and run lengths; reads no more than its first line."""
    path = Path(path)
    if not path.is_file() or path.suffix.lower() != ".csv":
        return False
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        header = {name.strip() for name in next(csv.reader([lines.readline(4096)]), [])}
    return bool(header & set(KEYS)) and bool(header & set(RUNS))
