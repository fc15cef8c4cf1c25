"""Tables of run lengths, as Kaggle's competitions give and take them; see `docs/design/annotations.md` for the list.

A row is an image, a slice of a volume (`kidney_5_0000`), or one instance of an image that has several rows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.annotations.base import UNLABELLED, UNNAMED, Annotation
from malpighi.annotations.files import once_per_file, read_text, replacing
from malpighi.annotations.rle import Order, RunLengths
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing

KEYS = ("id", "image_id", "ID")
RUNS = ("predicted", "rle", "encoding", "annotation", "EncodedPixels")


@once_per_file
def read_table(path: Path) -> Mapping[str, tuple[str, ...]]:
    """Read id → its run-length strings, in the file's order; several where a row is an instance. Nothing is decoded yet.

    Raises:
        DataError: not a table with an id column and a run-length column.
    """
    rows = table_rows(path)
    header = [name.strip() for name in next(rows, None) or []]
    key = next((c for c in KEYS if c in header), None)
    runs = next((c for c in RUNS if c in header), None)
    if key is None or runs is None:
        raise DataError(
            f"{path}: columns {', '.join(header)[:80] or '(none)'}; a run-length table has an id column ({', '.join(KEYS)}) "
            f"and a run column ({', '.join(RUNS)})"
        )
    k, r = header.index(key), header.index(runs)
    table: dict[str, list[str]] = {}
    for line, row in enumerate(rows, 2):
        if not row:
            continue
        if len(row) != len(header):
            raise DataError(f"{path}: row {line} has {len(row)} fields, the header has {len(header)}; is the file truncated?")
        table.setdefault(row[k].strip(), []).append(row[r])
    return {name: tuple(values) for name, values in table.items()}


def table_rows(path: Path) -> Iterator[list[str]]:
    """Rows of a CSV whose fields may be longer than Python's default limit: a gigapixel mask is one field."""
    text = read_text(path)
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    try:
        yield from csv.reader(io.StringIO(text, newline=""))
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV table ({error}); export it again") from error


@contextmanager
def table_writer(path: Path, header: Iterable[str]) -> Iterator[Any]:
    """A `csv.writer` that has written the header; the file is there when all rows are."""
    with replacing(Path(path)) as part, open(part, "w", newline="", encoding="utf-8") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(header)
        yield table


def write_table(
    path: Path, rows: Iterable[tuple[str, RunLengths]], columns: tuple[str, str] = ("id", "rle"), empty: str = ""
) -> int:
    """Write (id, runs) rows as they come.

    Args:
        path: replaced only when all is written.
        rows: one an image, slice or instance; the runs' order is the caller's choice.
        columns: as the competition names them, ("id", "predicted") for HuBMAP 2021 and Sartorius.
        empty: what stands for an empty mask: "" or, for SenNet, "1 0".

    Returns:
        How many rows were written.
    """
    count = 0
    with table_writer(path, columns) as table:
        for name, runs in rows:
            table.writerow([name, runs.text(empty)])
            count += 1
    return count


class RleAnnotation(Annotation):
    """Run-length masks of one class: one of an image, one an instance of it, or one a slice of a volume.

    A slice of a volume without any is unlabelled.
    """

    def __init__(
        self, name: str, space: Space, slices: tuple[tuple[RunLengths, ...], ...], classes: tuple[str, ...] = ()
    ) -> None:
        if len(classes) > 1:
            raise DataError(f"{name}: run lengths hold one class, {len(classes)} are given ({', '.join(classes)}); give one")
        super().__init__(name, space, classes or (UNNAMED,))
        self._slices = slices  # by z; a 2-D image is one slice. Each holds its instances.

    @property
    def has_objects(self) -> bool:
        """Where several rows are instances of one image."""
        return max(map(len, self._slices)) > 1

    @property
    def masks(self) -> tuple[RunLengths, ...]:
        """The instances of a 2-D image, or its one mask."""
        return self._slices[0]

    @property
    def present(self) -> np.ndarray:
        """(z,) bool: whether the slice is labelled."""
        return np.array([len(instances) > 0 for instances in self._slices])

    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        return (
            (self._numbered(box, spacing) > 0).astype(np.uint8)[None] if self.has_objects else self._drawn(box, spacing)[None]
        )

    def _instances(self, box: Box, spacing: Spacing, classes: tuple[str, ...]) -> np.ndarray:
        if not self.has_objects:
            return super()._instances(box, spacing, classes)
        return self._numbered(box, spacing) if self.classes[0] in classes else np.zeros(box.size, np.int32)

    def _drawn(self, box: Box, spacing: Spacing) -> np.ndarray:
        *z, rows, columns = self._centres(box, spacing)
        if not z:
            return self._slices[0][0].sample(rows, columns)
        unsaid = np.full(box.size[1:], UNLABELLED, np.uint8)
        drawn = [self._slices[k][0].sample(rows, columns) if self._slices[k] else unsaid for k in z[0]]
        return np.stack(drawn)

    def _numbered(self, box: Box, spacing: Spacing) -> np.ndarray:
        rows, columns = self._centres(box, spacing)
        out = np.zeros(box.size, np.int32)
        for number, runs in enumerate(self._slices[0], 1):
            out[runs.sample(rows, columns) > 0] = number
        return out

    def _centres(self, box: Box, spacing: Spacing) -> list[np.ndarray]:
        """By axis, the level-0 voxel at the centre of each voxel of `box`."""
        ratio = spacing.over(self.space.spacing)
        return [
            np.floor((np.arange(a, b) + 0.5) * r + 1e-9).astype(np.int64)
            for a, b, r in zip(box.start, box.stop, ratio, strict=True)
        ]


def open_rle(
    path: Path,
    space: Space,
    classes: tuple[str, ...] = (),
    row: str = "",
    order: Order = "F",
    numbers: Sequence[int] = (),
) -> RleAnnotation:
    """The mask of one image (or volume) in a run-length table.

    Args:
        path: the CSV.
        space: of the image: 2-D, or 3-D for a table with a row a slice, whose ids end in `_0000`, `_0001`, ….
        classes: name of the one class.
        row: the image's id; may be left out where the table has one.
        order: "F" or "C".
        numbers: of the volume's slices; 0, 1, … where empty. A slice without a row is unlabelled.

    Raises:
        DataError: no such row, or its runs are wrong; names row and pair.
    """
    table = read_table(path)
    if space.rank == 3:
        return _open_volume(path, table, space, classes, row, order, numbers or range(space.shape[0]))
    key = row or (next(iter(table)) if len(table) == 1 else "")
    if key not in table:
        raise _no_row(path, table, key)
    return RleAnnotation(f"{path}, row {key}", space, (_parsed(path, table, key, space, order),), classes)


def _open_volume(
    path: Path,
    table: Mapping[str, tuple[str, ...]],
    space: Space,
    classes: tuple[str, ...],
    row: str,
    order: Order,
    numbers: Sequence[int],
) -> RleAnnotation:
    """Rows `ROW_0000`, `ROW_0001`, …: the slices of `numbers` that have one."""
    names = {key.rpartition("_")[0] for key in table}
    row = row or (next(iter(names)) if len(names) == 1 else "")
    keys = {int(n): key for key in table for name, _, n in [key.rpartition("_")] if name == row and n.isdigit()}
    if not keys:
        raise _no_row(path, table, f"{row}_0000")
    beyond = sorted(set(keys) - set(numbers))
    if beyond:
        raise DataError(
            f"{path}: row {keys[beyond[0]]} is of slice {beyond[0]}, the image's slices are {numbers[0]} to {numbers[-1]}; "
            "number them alike"
        )
    slices = tuple(_parsed(path, table, keys[n], space, order) if n in keys else () for n in numbers)
    if any(len(instances) > 1 for instances in slices):
        raise DataError(f"{path}, row {row}: a slice has several rows; rows of instances are read for 2-D images only")
    return RleAnnotation(f"{path}, row {row}", space, slices, classes)


def _parsed(path: Path, table: Mapping[str, tuple[str, ...]], key: str, space: Space, order: Order) -> tuple[RunLengths, ...]:
    return tuple(RunLengths.parse(text, space.shape[-2:], order, f"{path}, row {key}") for text in table[key])


def _no_row(path: Path, table: Mapping[str, tuple[str, ...]], key: str) -> DataError:
    near = ", ".join(list(table)[:4])
    return DataError(f"{path}: no row {key!r}; {len(table)} ids such as {near}. Name the row with --row")
