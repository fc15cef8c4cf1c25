"""Tables of the Human Protein Atlas' competition of 2021: a row an image, with class, confidence and mask of each cell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from malpighi.annotations.coco_rle import from_hpa, to_hpa
from malpighi.annotations.rle import RunLengths
from malpighi.annotations.submissions import table_rows, table_writer
from malpighi.errors import DataError


@dataclass(frozen=True)
class Cell:
    """One cell of an HPA row: class number, confidence 0 … 1, mask."""

    label: int
    confidence: float
    runs: RunLengths


@dataclass(frozen=True)
class HpaRow:
    """A row of an HPA table: an image's ID, its (y, x) shape, and its cells; a cell of several labels is there with each."""

    name: str
    shape: tuple[int, int]
    cells: tuple[Cell, ...]


HPA_COLUMNS = ("ID", "ImageWidth", "ImageHeight", "PredictionString")


def is_hpa(path: Path) -> bool:
    """Whether a CSV's first line is that of an HPA table; opens nothing else of it."""
    if Path(path).suffix.lower() != ".csv":
        return False
    with Path(path).open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        return set(HPA_COLUMNS) <= {name.strip() for name in lines.readline(4096).split(",")}


def stream_hpa(path: Path) -> Iterator[HpaRow]:
    """The rows of an HPA table, one at a time; masks are decoded as they come.

    Raises:
        DataError: a column is missing, an ID is there twice, or a triple `label confidence mask` is broken: a negative
            label, no number, no mask, a mask of another size than the row's; names row and triple.
    """
    rows = table_rows(Path(path))
    header = [name.strip() for name in next(rows, None) or []]
    if any(c not in header for c in HPA_COLUMNS):
        raise DataError(f"{path}: columns {', '.join(header)[:80]}; an HPA table has {', '.join(HPA_COLUMNS)}")
    at = [header.index(c) for c in HPA_COLUMNS]
    seen: dict[str, int] = {}
    for line, row in enumerate(rows, 2):
        if not row:
            continue
        try:
            name, width, height, text = (row[i] for i in at)
            shape = (int(height), int(width))
        except (IndexError, ValueError) as error:
            raise DataError(f"{path}: row {line} is cut off or has no image size; write the table again") from error
        if min(shape) < 1:
            raise DataError(f"{path}: row {line} ({name}) says the image is of {shape[0]} × {shape[1]}; give its size")
        if name in seen:
            raise DataError(f"{path}: row {line}: ID {name!r} is already on row {seen[name]}; an image has one row")
        seen[name] = line
        yield HpaRow(name, shape, tuple(_cells(text, shape, f"{path}, row {line} ({name})")))


def _cells(text: str, shape: tuple[int, int], name: str) -> Iterator[Cell]:
    words = text.split()
    if len(words) % 3:
        raise DataError(f"{name}: {len(words)} words; PredictionString holds triples of label, confidence and mask")
    decoded: dict[str, RunLengths] = {}  # a cell of several labels repeats its mask
    for start in range(0, len(words), 3):
        label, confidence, mask = words[start : start + 3]
        place = f"{name}, triple {start // 3 + 1}"
        try:
            number, sure = int(label), float(confidence)
        except ValueError as error:
            raise DataError(f"{place}: {label!r} {confidence!r} is not a class number and a confidence") from error
        if number < 0 or not math.isfinite(sure):
            raise DataError(f"{place}: {label!r} {confidence!r}; class numbers are 0 or more, confidences finite")
        if mask not in decoded:
            decoded[mask] = from_hpa(mask, shape, place)
        yield Cell(number, sure, decoded[mask])


def write_hpa(path: Path, rows: Iterable[tuple[str, tuple[int, int], Iterable[Cell]]]) -> int:
    """Write (image ID, (y, x) shape, cells) rows as HPA's submission; returns how many.

    Confidences have as many digits as they need: what was written here comes out the same when it is read and written.
    """
    count = 0
    with table_writer(path, HPA_COLUMNS) as table:
        for name, (height, width), cells in rows:
            told, last, mask = [], None, ""
            for cell in cells:
                if cell.runs is not last:  # a cell of several labels repeats its mask
                    last, mask = cell.runs, to_hpa(cell.runs)
                told.append(f"{cell.label} {_plain(cell.confidence)} {mask}")
            table.writerow([name, width, height, " ".join(told)])
            count += 1
    return count


def _plain(confidence: float) -> str:
    return f"{confidence}".removesuffix(".0")
