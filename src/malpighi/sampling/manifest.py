"""manifest.csv: the layout for any folder that has another."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Literal

from malpighi.errors import DataError, SpacingError
from malpighi.geometry import Box, Spacing
from malpighi.images.channels import image_exists
from malpighi.sampling.cases import Case, Labels
from malpighi.sampling.files import stem
from malpighi.sampling.folders import SPLITS, Found, group_of

NAME = "manifest.csv"
GROUPS = ("group", "donor", "patient", "slide")
OWN = {"id", "image", "labels", "class", "classes", "group", "spacing", "split", "row", "order", "unlabelled", "region"}
OWN |= {"image_labels", "weight", "pseudo", "soft", "sure", "regions"}
NONE = "none"
"""Image label of images that show none of the classes."""


def manifest(root: Path) -> Found | None:
    """`manifest.csv`: a row an image, paths relative to the table.

    | column | what it holds |
    | --- | --- |
    | `image` | path of the image, of a file a channel (`ID_{red,green,blue}.png`), or of the folder of a volume's slices; the only column that must be there |
    | `id` | unique name; the image's stem where absent |
    | `labels` | path of the label file, several separated by `;`; empty: not annotated |
    | `class` or `classes` | of one label file: the classes of its values 1, 2, … separated by `;`. Of several files: one entry a file in the same order, values separated by `+` |
    | `group`, `donor`, `patient` or `slide` | cases of one group never lie on both sides of a split; the first that is there |
    | `spacing` | level-0 µm per pixel, one number or z,y,x in quotes ("2,0.5,0.5"); empty: what the file says |
    | `split` | train, validation or test; empty: folds decide |
    | `row` | key of the case's row where `labels` is a table of run lengths, of its image where it is COCO JSON; the id where absent |
    | `image_labels` | classes that the image as a whole shows, separated by `;`; `none`: it shows none; empty: nobody said |
    | `order` | of run lengths: F column-major (the default) or C row-major |
    | `unlabelled` | value of the masks where nobody said what is there: neither a class nor background |
    | `weight` | how often its boxes are drawn, relative to those of other images of its size; 1 where empty, 0: never |
    | `pseudo` | where the labels come from, if not from people: the run that made them; such images are never held out |
    | `soft` | true: the labels are probabilities, a channel a class, as `segment --probabilities` writes them |
    | `sure` | of probabilities: between 1 minus this and this nobody says what is there; 0.5, or empty, labels all |
    | `regions` | path of a GeoJSON file whose outlines are named (Cortex, Medulla, …), for `sampling.regions`; not to be segmented |
    | `region` | what was annotated; outside nothing is labelled: path of a mask that is not 0 there, or a box z0:z1,y0:y1,x0:x1 |

    Every other column (organ, stain, donor, …) becomes an attribute to count, stratify and choose by.
    """
    table = root / NAME if root.is_dir() else root
    if not table.is_file() or table.suffix.lower() != ".csv":
        return None
    with StringIO(_text(table), newline="") as text:
        rows = csv.DictReader(text)
        columns = [name.strip().lower() for name in rows.fieldnames or []]
        rows.fieldnames = columns
        if "image" not in columns:
            have = ", ".join(columns) or "nothing"
            raise DataError(f"{table}: the column 'image' is missing, the first line holds {have}; name it in the first line")
        cases: dict[str, tuple[int, Case]] = {}
        for values in rows:
            line = _Line(table, rows.line_num, {k: (v or "").strip() for k, v in values.items() if isinstance(k, str)})
            case = line.case()
            if case.id in cases:
                raise line.error(f"id {case.id!r} is already on line {cases[case.id][0]}; ids must be unique")
            cases[case.id] = (rows.line_num, case)
    if not cases:
        raise DataError(f"{table}: holds no row; write one line an image")
    known = any(case.group for _, case in cases.values())
    notes = () if known else ("no column group, donor, patient or slide: each image is its own group",)
    return Found(tuple(case for _, case in cases.values()), (*notes, *_misspelt(columns)))


def _misspelt(columns: Sequence[str]) -> Iterator[str]:
    """Columns that nearly have a name that means something: they became attributes."""
    known = sorted(OWN.union(GROUPS))
    for column in columns:
        for name in [] if column in known else get_close_matches(column, known, n=1, cutoff=0.8):
            yield f"column {column!r} of {NAME} is taken for an attribute; if {name!r} was meant, call it so"


def _text(table: Path) -> str:
    try:
        return table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{table}: is not UTF-8 text ({error.reason} at byte {error.start}); save it as CSV UTF-8") from error


@dataclass(frozen=True)
class _Line:
    """One row of the table and where it stands, so that its errors can say so."""

    table: Path
    number: int
    values: dict[str, str]

    def error(self, message: str) -> DataError:
        return DataError(f"{self.table}, line {self.number}: {message}")

    def case(self) -> Case:
        image = self.path("image")
        case = self.values.get("id") or stem(image)
        group = next((self.values[name] for name in GROUPS if self.values.get(name)), "") or group_of(case)
        attributes = {key: value for key, value in self.values.items() if key not in OWN and value}
        told = (self.spacing(), self.split(), self.image_labels(), self.weight(), self.values.get("pseudo", ""))
        regions = self.path("regions") if self.values.get("regions") else None
        made = Case(case, image, self.labels(case), group, attributes, *told, regions)
        if made.pseudo and made.split == "validation":
            raise self.error(f"pseudo {made.pseudo!r}: what a network labelled is never held out; take another split, or none")
        return made

    def path(self, column: str, text: str = "") -> Path:
        text = text or self.values.get(column, "")
        path = self.table.parent / text
        if not text:
            raise self.error(f"{column} is empty; give a path, or remove the line")
        if not image_exists(path):
            raise self.error(
                f"{column} {text!r} does not exist in {self.table.parent}; correct the path (relative to the table)"
            )
        return path

    def labels(self, case: str) -> tuple[Labels, ...]:
        files = _list(self.values.get("labels", ""), ";")
        names = _list(self.values.get("classes") or self.values.get("class", ""), ";")
        if len(files) > 1 and names and len(names) != len(files):
            raise self.error(f"{len(files)} label files but {len(names)} classes; give one class a file, separated by ';'")
        per_file = [names] if len(files) == 1 else [[name] for name in names] or [[] for _ in files]
        made = []
        for text, told in zip(files, per_file, strict=True) if files else ():
            path = self.path("labels", text)
            row = (self.values.get("row") or case) if path.suffix.lower() in (".csv", ".json") else ""
            names_of = tuple(part for name in told for part in _list(name, "+"))
            how = (self.order(), self.unlabelled(), self.region(), self.soft(), self.sure())
            made.append(Labels(path, names_of, row, *how))
        return tuple(made)

    def image_labels(self) -> tuple[str, ...] | None:
        names = _list(self.values.get("image_labels", ""), ";")
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice:
            raise self.error(f"image_labels names {twice!r} twice; name each class once")
        if NONE in (name.lower() for name in names):
            if len(names) > 1:
                raise self.error(f"image_labels {';'.join(names)!r}: {NONE!r} stands alone, or leave it out")
            return ()
        return tuple(names) or None

    def order(self) -> Literal["F", "C"]:
        text = self.values.get("order", "").upper()
        if text not in ("", "F", "C"):
            raise self.error(f"order {text!r} is unknown; run lengths are F (column-major) or C (row-major)")
        return "C" if text == "C" else "F"

    def unlabelled(self) -> int | None:
        text = self.values.get("unlabelled", "")
        try:
            return int(text) if text else None
        except ValueError:
            raise self.error(f"unlabelled {text!r} is not a whole number; give the masks' value for it, or nothing") from None

    def region(self) -> Box | Path | None:
        text = self.values.get("region", "")
        if ":" not in text:
            return self.path("region") if text else None
        try:
            bounds = [tuple(int(edge) for edge in part.split(":")) for part in text.split(",")]
            return Box.of_bounds([start for start, _ in bounds], [stop for _, stop in bounds])
        except ValueError:
            raise self.error(f"region {text!r} is no box; write z0:z1,y0:y1,x0:x1 in voxels, or the path of a mask") from None

    def spacing(self) -> float | Spacing | None:
        text = self.values.get("spacing", "")
        try:
            given = Spacing.parse(text) if text else None
        except SpacingError as error:
            raise self.error(f"{error}, or nothing") from None
        return given.values[0] if given is not None and given.rank == 1 and given.physical else given

    def weight(self) -> float:
        weight = self.amount("weight", 1.0)
        if not 0 <= weight < math.inf:
            raise self.error(f"weight {weight:g} must be a number of 0 or more; 2 draws the image twice as often, 0 never")
        return weight

    def soft(self) -> bool:
        text = self.values.get("soft", "").lower()
        if text not in ("", "true", "false"):
            raise self.error(f"soft {text!r} is unknown; use true, false or nothing")
        return text == "true"

    def sure(self) -> float:
        sure = self.amount("sure", 0.5)
        if not 0.5 <= sure < 1:
            raise self.error(f"sure {sure:g} must be at least 0.5 (every voxel is labelled) and below 1")
        return sure

    def amount(self, column: str, default: float) -> float:
        text = self.values.get(column, "")
        try:
            return float(text) if text else default
        except ValueError:
            raise self.error(f"{column} {text!r} is not a number; give one, or nothing") from None

    def split(self) -> str:
        text = self.values.get("split", "").lower()
        if text and text not in SPLITS:
            raise self.error(f"split {text!r} is unknown; use train, validation, test or nothing")
        return SPLITS.get(text, "")


def _list(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator) if part.strip()]
