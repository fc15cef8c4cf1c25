"""Case: one image with what is known of it. A data set is a list of cases, whatever folder layout it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Labels:
    """Where a case's labels are and how to read them, before anything is opened.

    Attributes:
        path: file (or folder of one-PNG-an-object) with the labels.
        classes: what the values mean: class k+1 of a label image, or every object of a file without class names. Empty:
            the file names its classes itself (GeoJSON), or is binary and takes the data set's only class.
        row: key of the row that holds this case, in a table that holds many (a competition's `train.csv`).
        order: for run lengths, "F" column-major or "C" row-major.
    """

    path: Path
    classes: tuple[str, ...] = ()
    row: str = ""
    order: str = "F"


@dataclass(frozen=True)
class Case:
    """One image, its labels, and what it is grouped and stratified by.

    Attributes:
        id: unique in the data set.
        labels: one or more label files; each speaks only of its own classes. Empty: not annotated.
        group: cases of one group (donor) never lie on both sides of a split.
        attributes: "organ", "stain", "donor", … → value, for tables and stratified folds.
        spacing: level-0 µm per pixel given by the manifest or `--spacing`; None: what the file says.
        split: "train", "validation", "test" where the manifest fixes it; empty: folds decide.
    """

    id: str
    image: Path
    labels: tuple[Labels, ...] = ()
    group: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    spacing: float | None = None
    split: str = ""
