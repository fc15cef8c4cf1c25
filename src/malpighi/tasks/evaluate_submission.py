"""`evaluate` of a submission: run lengths of two tables against each other, as the HuBMAP competitions score them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from malpighi.annotations.image_table import ImageTable, is_run_table, read_image_table
from malpighi.annotations.rle import RunLengths
from malpighi.annotations.submissions import read_table
from malpighi.errors import DataError
from malpighi.metrics.official import ImageScore, official_summary, run_overlap

ORGAN = "organ"
"""Shown by itself where the truth has it."""


def is_submission(prediction: Path, truth: Path) -> bool:
    """Whether both are tables of run lengths."""
    return is_run_table(prediction) and is_run_table(truth)


def evaluate_submission(submission: Path, truth: Path, *, sizes: Path | None = None, by: Sequence[str] = ()) -> dict[str, Any]:
    """Score a submission as the competition does: the mean over images of Dice, 1 where both masks are empty.

    Masks are never drawn: time and memory go with the runs, not with the pixels. Which way the runs run does not matter, as
    long as both tables' run the same way.

    Args:
        submission: CSV of ids and run lengths, a row an image.
        truth: the same, of all images that count; may hold more columns.
        sizes: CSV with each image's width and height, and perhaps attributes; None: the truth's own columns say them.
        by: columns of the truth (or of `sizes`) to make tables of; "organ" is shown anyhow where there is one.

    Returns:
        As `official_summary`, and "seconds".

    Raises:
        DataError: ids are missing, surplus or there twice, a size is unknown, runs are wrong, or no table has a column of `by`.
    """
    began = time.monotonic()
    predicted, true = read_table(Path(submission)), read_table(Path(truth))
    _same_ids(Path(submission), list(predicted), Path(truth), list(true))
    for path, table in ((submission, predicted), (truth, true)):
        _one_row_each(Path(path), table)
    facts = [read_image_table(Path(path)) for path in (truth, *([sizes] if sizes else []))]
    sized = facts[-1] if sizes is not None else facts[0]
    if not sized.says_sizes and sizes is None:
        raise DataError(f"{truth}: does not say how large the images are; give a table of widths and heights with --sizes")
    columns = _columns(facts, by)
    scores = [
        _score(name, predicted[name][0], true[name][0], sized.size(name), (submission, truth), facts, columns) for name in true
    ]
    return {**official_summary(scores, columns), "seconds": round(time.monotonic() - began, 3)}


def _score(
    name: str,
    predicted: str,
    true: str,
    shape: tuple[int, int],
    paths: tuple[Path, Path],
    facts: Sequence[ImageTable],
    columns: Sequence[str],
) -> ImageScore:
    texts = zip(paths, (predicted, true), strict=True)
    one, other = (RunLengths.parse(text, shape, name=f"{path}, row {name}") for path, text in texts)
    overlap = run_overlap((one.starts, one.stops), (other.starts, other.stops), shape[0] * shape[1])
    known = {column: next((v for each in facts if (v := each.value(name, column))), "") for column in columns}
    return ImageScore(name, overlap, known)


def _columns(facts: Sequence[ImageTable], by: Sequence[str]) -> list[str]:
    there = list(dict.fromkeys(name for table in facts for name in table.header))
    for name in by:
        if name not in there:
            raise DataError(
                f"--by {name}: {' and '.join(str(table.path) for table in facts)} have no such column, only {', '.join(there)}"
            )
    return list(dict.fromkeys((*by, *([ORGAN] if ORGAN in there else []))))


def _same_ids(submission: Path, have: Sequence[str], truth: Path, want: Sequence[str]) -> None:
    missing, surplus = sorted(set(want) - set(have)), sorted(set(have) - set(want))
    told = [f"{len(ids)} {word} ({_some(ids)})" for word, ids in (("missing", missing), ("surplus", surplus)) if ids]
    if told:
        raise DataError(
            f"{submission}: {' and '.join(told)} of the {len(want)} ids of {truth}; give each of them one row, an empty mask too"
        )


def _one_row_each(path: Path, table: Any) -> None:
    twice = [name for name, rows in table.items() if len(rows) > 1]
    if twice:
        raise DataError(f"{path}: {_some(twice)} has several rows; this score is of one mask an image, write one row an id")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
