"""Pseudo-labels of cells with their provenance, as a table; and how two of them agree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.errors import DataError
from malpighi.images.replacing import replacing

NONE, LEFT_OUT = -1, -2
"""Labels of cells that are of no class, and of those that teach nothing."""
NONE_OF_THESE = "none of these"
REASONS = ("score", "lone", "negative", "none", "left out", "unlabelled")
"""Why a cell has its label: its score; its image's only label; its image shows nothing; every score is low. Why it has none:
its score lies between; nobody said what its image shows."""


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """What each cell was given, by which score, and since when.

    Attributes:
        classes: the labels; targets have one column more, "none of these".
        targets: (cell, class + 1) float32 of 1 and 0. A row of NaN: the cell is left out; one NaN: nobody knows.
        label: (cell,) int64 the label (the likeliest of several), NONE or LEFT_OUT.
        score: (cell,) float32 the score that decided: of its label, or of the likeliest of its image's; NaN where its image
            has none.
        reason: (cell,) one of REASONS.
        since: (cell,) int64 cycle from which on it has had this label without a break; 0 where left out.
        border: (cell,) whether it touches its image's border.
        image_of: (cell,) row of its image.
        given: (image,) the labels of each image, as texts; None where nobody said.
        threshold: from which a label was given.
        cycle, source: which cycle, and whose scores.
    """

    classes: tuple[str, ...]
    targets: np.ndarray
    label: np.ndarray
    score: np.ndarray
    reason: np.ndarray
    since: np.ndarray
    border: np.ndarray
    image_of: np.ndarray
    given: tuple[tuple[str, ...] | None, ...]
    threshold: float
    cycle: int
    source: str

    def counts(self) -> dict[str, int]:
        """How many cells have each label (one may have several), and how many are of none of them."""
        columns = (self.targets == 1).sum(axis=0).tolist()
        return dict(zip((*self.classes, NONE_OF_THESE), columns, strict=True))

    def write(self, path: Path, image_ids: Sequence[str], number: np.ndarray) -> None:
        """Write a Parquet table, a row a cell; the file appears whole or not at all.

        Columns: image, cell (its number), label ("" where left out), score, reason, since, border, image_labels, targets; the
        metadata says classes, threshold, cycle and source.

        Args:
            path: of the table.
            image_ids: (image,) names.
            number: (cell,) numbers within their images.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if len(image_ids) != len(self.given) or len(number) != len(self.label):
            raise DataError(
                f"{len(image_ids)} image ids and {len(number)} cell numbers for {len(self.given)} images and {len(self.label)} cells"
            )
        names = np.array([*self.classes, "", NONE_OF_THESE], object)  # -2 left out, -1 none of these
        columns = {
            "image": pa.array([image_ids[i] for i in self.image_of], pa.string()),
            "cell": pa.array(np.asarray(number, np.int32)),
            "label": pa.array(names[self.label], pa.string()),
            "score": pa.array(self.score, pa.float32()),
            "reason": pa.array(self.reason.tolist(), pa.string()),
            "since": pa.array(self.since, pa.int32()),
            "border": pa.array(self.border, pa.bool_()),
            "image_labels": pa.array([self.given[i] for i in self.image_of], pa.list_(pa.string())),
            "targets": pa.array(list(self.targets), pa.list_(pa.float32())),
            "image_row": pa.array(self.image_of, pa.int32()),
        }
        about = {"classes": list(self.classes), "threshold": self.threshold, "cycle": self.cycle, "source": self.source}
        said = {"pseudo_labels": json.dumps({**about, "given": self.given})}
        with replacing(path) as part:
            pq.write_table(pa.table(columns).replace_schema_metadata(said), part)

    @classmethod
    def read(cls, path: Path) -> PseudoLabels:
        """Read what `write` wrote.

        Raises:
            DataError: it is no such table.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
            about = json.loads((table.schema.metadata or {})[b"pseudo_labels"])
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise DataError(f"{path}: not a table of pseudo-labels ({error}); run the cycle again") from error
        classes = tuple(about["classes"])
        codes = {name: i for i, name in enumerate(classes)} | {"": LEFT_OUT, NONE_OF_THESE: NONE}
        targets = table["targets"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return cls(
            classes,
            targets.astype(np.float32).reshape(-1, len(classes) + 1),
            np.array([codes[name] for name in table["label"].to_pylist()], np.int64),
            table["score"].to_numpy().astype(np.float32),
            np.array(table["reason"].to_pylist()),
            table["since"].to_numpy().astype(np.int64),
            table["border"].to_numpy().astype(bool),
            table["image_row"].to_numpy().astype(np.int64),
            tuple(None if names is None else tuple(names) for names in about["given"]),
            about["threshold"],
            about["cycle"],
            about["source"],
        )


def agreement(previous: PseudoLabels, now: PseudoLabels) -> dict[str, Any]:
    """How labels of the same cells changed.

    Returns:
        "same": share of the cells labelled in both that kept their label (None without such cells); "both": their number;
        "gained", "lost": cells labelled only now, only before; "by_class": class → the same four, of cells that had it before
        or have it now; "same" is there the share of those with it in both.
    """
    before, after = same_cells(previous, now.label).label, now.label
    both = (before != LEFT_OUT) & (after != LEFT_OUT)
    rows: dict[str, Any] = {
        "same": _share(before[both] == after[both]),
        "both": int(both.sum()),
        "gained": int(((before == LEFT_OUT) & (after != LEFT_OUT)).sum()),
        "lost": int(((before != LEFT_OUT) & (after == LEFT_OUT)).sum()),
        "by_class": {},
    }
    for name, code in zip((*now.classes, NONE_OF_THESE), (*range(len(now.classes)), NONE), strict=True):
        had, has = before == code, after == code
        rows["by_class"][name] = {
            "same": _share((had & has)[(had | has) & both]),
            "both": int((had & has).sum()),
            "gained": int((has & ~had).sum()),
            "lost": int((had & ~has).sum()),
        }
    return rows


def same_cells(labels: PseudoLabels, of: np.ndarray) -> PseudoLabels:
    """`labels`, where it is of as many cells as `of`.

    Raises:
        DataError: it is not.
    """
    if labels.label.shape != of.shape:
        raise DataError(f"labels of {len(labels.label)} cells against {len(of)}; compare cycles of the same cells")
    return labels


def _share(same: np.ndarray) -> float | None:
    return float(same.mean()) if same.size else None
