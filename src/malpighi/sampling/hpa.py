"""Image labels as the Human Protein Atlas' competitions give them: a table of class numbers, and four files an image."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from malpighi.annotations.files import read_text, replacing
from malpighi.annotations.hpa import HPA_2018, HPA_2021
from malpighi.errors import DataError
from malpighi.images.channels import CHANNELS, channel_files, group_channels
from malpighi.sampling.cases import Case
from malpighi.sampling.files import child, images_in, stem
from malpighi.sampling.folders import Found, channel_notes
from malpighi.sampling.manifest import NAME

SEPARATORS = {("ID", "Label"): "|", ("Id", "Target"): " "}
"""Columns of id and labels → what stands between two labels; the 2021 and the 2018 competition."""

_NO_DONORS = "no donors are known: each image is its own group"


@dataclass(frozen=True)
class _Row:
    line: int
    id: str
    numbers: tuple[int, ...]
    others: Mapping[str, str]


def read_image_labels(path: Path, classes: Sequence[str] = HPA_2021) -> Mapping[str, tuple[int, ...]]:
    """Image id → numbers of its classes, of a `train.csv` (`ID,Label` or `Id,Target`).

    As they stand there: the published table of 2021 names a class twice in some rows, which means nothing.

    Args:
        classes: what the numbers mean; those beyond are refused.

    Raises:
        DataError: no such table, an id twice, labels that are empty, unknown or no numbers; names the row.
    """
    return {row.id: row.numbers for row in _rows(Path(path), classes)}


def write_image_labels(path: Path, labels: Mapping[str, Iterable[int]], columns: tuple[str, str] = ("ID", "Label")) -> int:
    """Write such a table, replaced only when all is written; a table that was read comes out as it was.

    Returns:
        How many rows were written.
    """
    between = SEPARATORS[columns]
    with replacing(Path(path)) as part, part.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(columns)
        table.writerows((name, between.join(map(str, numbers))) for name, numbers in labels.items())
    return len(labels)


def hpa_2021(root: Path) -> Found | None:
    """HPA Single Cell Classification: `train.csv` (ID, Label) and `train/ID_{red,green,blue,yellow}.png`."""
    table = root / "train.csv"
    if _columns(table) != ("ID", "Label"):
        return None
    rows = list(_rows(table, HPA_2021))
    folder = child(root, "train")
    cases, notes = _cases(table, rows, folder, HPA_2021, "")
    if not cases:
        raise _no_image(table, rows, root / "train")
    return Found(tuple(cases), (*notes, _NO_DONORS), HPA_2021)


def image_label_tables(root: Path) -> Found | None:
    """Tables `NAME.csv` (Id, Target, of 28 classes) beside a folder `NAME/` of `ID_red`, `ID_green`, … files; or one of them.

    The classes are those that occur. Other columns become attributes.
    """
    if root.is_dir() and (root / NAME).is_file():
        return None
    tables = [root] if root.is_file() else sorted(root.glob("*.csv"))
    tables = [table for table in tables if _columns(table) == ("Id", "Target")]
    tables = [table for table in tables if table.with_suffix("").is_dir() or root.is_file()]
    cases: list[Case] = []
    notes: list[str] = []
    present: set[int] = set()
    for table in tables:
        rows = list(_rows(table, HPA_2018))
        found, said = _cases(table, rows, table.with_suffix(""), HPA_2018, f"{table.stem}/" if len(tables) > 1 else "")
        if not found and len(tables) == 1:
            raise _no_image(table, rows, table.with_suffix(""))
        cases += found
        notes += said
        present.update(number for row in rows for number in row.numbers)
    if not tables:
        return None
    if not cases:
        raise DataError(f"{root}: {', '.join(table.name for table in tables)} list images, but none is in their folders")
    classes = tuple(HPA_2018[number] for number in sorted(present))
    return Found(tuple(cases), (*notes, _NO_DONORS), classes)


def _cases(
    table: Path, rows: Sequence[_Row], folder: Path | None, classes: Sequence[str], prefix: str
) -> tuple[list[Case], list[str]]:
    """A case for every row that has an image, and what a reader should know."""
    images = _images(folder) if folder is not None and folder.is_dir() else {}
    cases = [
        Case(
            f"{prefix}{row.id}",
            images[row.id],
            attributes=row.others,
            image_labels=tuple(classes[number] for number in dict.fromkeys(row.numbers)),
        )
        for row in rows
        if row.id in images
    ]
    notes = list(channel_notes([case.image for case in cases]))
    alone = [case.id for case in cases if _channel(case.image)]
    if alone:
        notes.append(f"{len(alone)} images have one channel only, such as {alone[0]}")
    gone = [row.id for row in rows if row.id not in images]
    if gone:
        notes.append(f"{len(gone)} rows of {table.name} have no image and were left out, such as {gone[0]}")
    unlisted = len(images.keys() - {row.id for row in rows})
    if unlisted:
        notes.append(f"{unlisted} images are not in {table.name} and were left out")
    return cases, notes


def _images(folder: Path) -> dict[str, Path]:
    """Image id → path, with braces where it is of a file a channel."""
    found = {}
    for path in group_channels(images_in(folder)):
        channel = _channel(path)
        found[stem(path)[: -len(channel) - 1] if channel else stem(path)] = path
    return found


def _channel(path: Path) -> str:
    """The channel that a single file is of, by its name; "" for an image of several or of its own."""
    last = stem(path).rpartition("_")[2]
    return last if last.lower() in CHANNELS and not channel_files(path) else ""


def _no_image(table: Path, rows: Sequence[_Row], folder: Path) -> DataError:
    some = ", ".join(row.id for row in rows[:2])
    return DataError(
        f"{table}: lists {len(rows)} images ({some}, …), but {folder}/ holds none; put ID_red.png, ID_green.png, ID_blue.png "
        "and ID_yellow.png there"
    )


def _columns(table: Path) -> tuple[str, str] | None:
    """Which of `SEPARATORS` a file's first line names; None: no table of image labels."""
    if not table.is_file() or table.suffix.lower() != ".csv":
        return None
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        have = {name.strip() for name in lines.readline(4096).split(",")}
    return next((columns for columns in SEPARATORS if set(columns) <= have), None)


def _rows(path: Path, classes: Sequence[str]) -> Iterator[_Row]:
    columns = _columns(path)
    if columns is None:
        known = " or ".join(",".join(names) for names in SEPARATORS)
        raise DataError(f"{path}: is no table of image labels; its first line names {known}")
    seen: dict[str, int] = {}
    with StringIO(read_text(path), newline="") as text:
        reader = csv.DictReader(text)
        reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
        for values in reader:
            row = _parsed(f"{path}, row {reader.line_num}", reader.line_num, values, columns, classes)
            if row.id in seen:
                raise DataError(f"{path}, row {row.line}: id {row.id!r} is already on row {seen[row.id]}; ids must be unique")
            seen[row.id] = row.line
            yield row
    if not seen:
        raise DataError(f"{path}: holds no row; write one line an image")


def _parsed(place: str, line: int, values: Mapping[str, str], columns: tuple[str, str], classes: Sequence[str]) -> _Row:
    name, text = ((values.get(column) or "").strip() for column in columns)
    if not name:
        raise DataError(f"{place}: {columns[0]} is empty; give the image's id, or remove the line")
    words = text.replace(SEPARATORS[columns], " ").split()
    if not words:
        raise DataError(f"{place} ({name}): no label; give class numbers, or remove the line")
    top = len(classes) - 1
    for word in words:
        if not (word.isascii() and word.isdigit() and int(word) <= top):
            raise DataError(f"{place} ({name}): label {word!r} is unknown; labels are the class numbers 0 to {top}")
    others = {key: value.strip() for key, value in values.items() if key and key not in columns and value and value.strip()}
    return _Row(line, name, tuple(map(int, words)), others)
