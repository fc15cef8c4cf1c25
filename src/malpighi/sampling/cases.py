"""Case: one image with what is known of it. A data set is a table of cases, whatever folder layout it came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from malpighi.errors import DataError

if TYPE_CHECKING:
    from malpighi.annotations.base import Annotation
    from malpighi.geometry import Box, Space, Spacing
    from malpighi.images.base import Source

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
        unlabelled: value of a label image where nobody said what is there; None: only what the format itself says.
        region: what was annotated: a box in level-0 voxels, or a mask of the image's size that is not 0 there; outside,
            nothing is labelled. None: everything.
        soft: `path` holds probabilities, a channel a class, as `segment --probabilities` writes them.
        sure: of probabilities: voxels between `1 - sure` and `sure` are unlabelled; 0.5 labels all of them.
    """

    path: Path
    classes: tuple[str, ...] = ()
    row: str = ""
    order: Literal["F", "C"] = "F"
    unlabelled: int | None = None
    region: Box | Path | None = None
    soft: bool = False
    sure: float = 0.5


@dataclass(frozen=True)
class Case:
    """One image, its labels, and what it is grouped and stratified by.

    Attributes:
        id: unique in the data set.
        labels: one or more label files; each speaks only of its own classes. Empty: not annotated.
        group: cases of one group (donor) never lie on both sides of a split; empty: the case is its own group.
        attributes: "organ", "stain", "donor", … → value, for tables and stratified folds.
        image: file, Zarr, or the folder of a volume's slices.
        spacing: level-0 µm per pixel given by the manifest or `--spacing`, on every axis or by axis; None: what the file says.
        split: "train", "validation", "test" where the manifest fixes it; empty: folds decide.
        image_labels: what the image as a whole shows; () is "none of the classes", None is "nobody said".
        weight: how often its boxes are drawn, relative to those of other cases of its size.
        pseudo: where its labels come from, if not from people: the run that made them; such cases are never held out.
        regions: file of outlines with names (cortex, medulla, …) for `sampling.regions`.
    """

    id: str
    image: Path
    labels: tuple[Labels, ...] = ()
    group: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    spacing: float | Spacing | None = None
    split: str = ""
    image_labels: tuple[str, ...] | None = None
    weight: float = 1.0
    pseudo: str = ""
    regions: Path | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that the labels are said to speak of, each once; empty where only the files themselves know."""
        return tuple(dict.fromkeys(name for labels in self.labels for name in labels.classes))

    def value(self, key: str) -> str:
        """What the case is counted under: an attribute, or "id", "group", "split", "class"; `UNKNOWN` where not given."""
        own = {"id": self.id, "group": self.group or self.id, "split": self.split, "class": "+".join(self.classes)}
        return self.attributes.get(key) or own.get(key) or UNKNOWN


@dataclass(frozen=True)
class CaseTable:
    """A data set before any pixel of it is opened.

    Attributes:
        root: folder or file it was found in.
        classes: the data set's classes; their order is that of network outputs and of `open_case`'s layers.
        layout: name of the folder layout that was recognised.
        notes: what a reader should know: what was assumed, what was left out.
    """

    root: Path
    cases: tuple[Case, ...]
    classes: tuple[str, ...]
    layout: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def labelled(self) -> tuple[Case, ...]:
        """The cases that have labels."""
        return tuple(case for case in self.cases if case.labels)

    def counts(self, key: str) -> dict[str, int]:
        """Cases by value of an attribute (or "class", "group", "split"), most frequent first."""
        if key == "class":
            every = [name for case in self.labelled for name in case.classes or self.classes]
        else:
            every = [case.value(key) for case in self.cases]
        return dict(sorted(Counter(every).items(), key=lambda item: (-item[1], item[0])))

    def keys(self) -> tuple[str, ...]:
        """What cases can be chosen by: "class", "split", "group" and "id", and every attribute that some case has."""
        named = {name for case in self.cases for name in case.attributes}
        return tuple(dict.fromkeys(["class", *sorted(named), "split", "group", "id"]))

    def require_labels(self) -> CaseTable:
        """The labelled cases alone.

        Raises:
            DataError: no case has labels.
        """
        if not self.labelled:
            raise DataError(
                f"{self.root}: none of the {len(self)} images has an annotation; put masks in masks/ beside images/, "
                "GeoJSON beside the slides, or list both in manifest.csv"
            )
        left = len(self) - len(self.labelled)
        notes = (*self.notes, f"{left} images without annotation were left out") if left else self.notes
        return replace(self, cases=self.labelled, notes=notes)

    def only(self, where: Mapping[str, Sequence[str]]) -> CaseTable:
        """The cases whose value is among those asked for, key by key; capitals do not matter, but in class names they do.

        For "class", labels of other classes (files and those of whole images) are dropped too, and with them the cases that
        have no others.

        Raises:
            DataError: a key or a value that no case has, or nothing is left.
        """
        for key, wanted in where.items():
            self._check(key, wanted)
        table = self
        for key, wanted in where.items():
            table = table._of_classes(wanted) if key == "class" else table._of_values(key, wanted)
        if not table.cases:
            raise DataError(f"{self.root}: no case is left of {len(self)} with {_spell(where)}; loosen --only")
        return table

    def _check(self, key: str, wanted: Sequence[str]) -> None:
        """Complain of a key or a value that no case has."""
        if key not in self.keys():
            raise DataError(f"{self.root}: cases have no {key!r}; choose by {', '.join(self.keys())}")
        if key == "class":
            have, known = set(self.classes), set(self.classes)
        else:
            have = {case.value(key) for case in self.cases}
            known = have | {value.lower() for value in have}
        for value in wanted:
            if value not in known and (key == "class" or value.lower() not in known):
                what = f"class {value!r} is unknown" if key == "class" else f"no case has {key} {value!r}"
                raise DataError(f"{self.root}: {what}{_nearest(value, have)}")

    def _of_values(self, key: str, wanted: Sequence[str]) -> CaseTable:
        asked = {value.lower() for value in wanted}
        return replace(self, cases=tuple(case for case in self.cases if case.value(key).lower() in asked))

    def _of_classes(self, wanted: Sequence[str]) -> CaseTable:
        cases = []
        for case in self.cases:
            labels = tuple(part for part in case.labels if not part.classes or set(part.classes) & set(wanted))
            shown = None if case.image_labels is None else tuple(name for name in case.image_labels if name in wanted)
            if labels or shown:
                cases.append(replace(case, labels=labels, image_labels=shown))
        return replace(self, cases=tuple(cases), classes=tuple(name for name in self.classes if name in wanted))


@dataclass(frozen=True)
class OpenCase:
    """A case with its files open.

    Attributes:
        annotation: over all of the data set's classes, in their order; `UNLABELLED` for classes that the case does not
            speak of. None where the case has no labels.
    """

    case: Case
    source: Source
    annotation: Annotation | None

    def close(self) -> None:
        """Let go of the files."""
        self.source.close()
        if self.annotation is not None:
            self.annotation.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_case(case: Case, classes: Sequence[str], on_damage: Literal["raise", "fill"] = "raise") -> OpenCase:
    """Open a case's image and labels.

    Args:
        case: as `find_cases` returns it.
        classes: the data set's, `CaseTable.classes`; the order of the annotation's layers.
        on_damage: what a tile that cannot be decoded does, see `Source`.

    Raises:
        DataError: image or labels cannot be read, or do not match each other.
    """
    from malpighi.images.open import open_image

    source = open_image(case.image, spacing=case.spacing, on_damage=on_damage)
    try:
        return OpenCase(case, source, open_labels(case, source.space, tuple(classes)) if case.labels else None)
    except BaseException:
        source.close()
        raise


def open_labels(case: Case, space: Space, classes: tuple[str, ...]) -> Annotation:
    """The label files of a case as one annotation over `classes`, on the `space` of its image.

    Raises:
        DataError: a file cannot be read, or does not match the image.
    """
    from malpighi.annotations.combined import CombinedAnnotation
    from malpighi.annotations.open import open_annotation
    from malpighi.annotations.probabilities import ProbabilityAnnotation, holds_probabilities
    from malpighi.annotations.region import within_region
    from malpighi.images.stack import slice_numbers
    from malpighi.sampling.inclasses import InClasses

    parts: list[Annotation] = []
    try:
        numbers = slice_numbers(case.image) if space.rank == 3 else ()
        for labels in case.labels:
            told = labels.classes or classes
            if labels.soft or holds_probabilities(labels.path):
                parts.append(ProbabilityAnnotation(labels.path, space, told, labels.sure, soft=labels.soft))
            else:
                read = partial(open_annotation, numbers=numbers, unlabelled=labels.unlabelled)
                parts.append(read(labels.path, space, told, labels.row, labels.order))
            if labels.region is not None:
                parts[-1] = within_region(parts[-1], labels.region)
        name = ", ".join(str(labels.path) for labels in case.labels)
        return InClasses(parts[0] if len(parts) == 1 else CombinedAnnotation(name, parts), classes)
    except BaseException:
        for part in parts:
            part.close()
        raise


def _nearest(value: str, have: Iterable[str]) -> str:
    known = sorted(have)
    close = get_close_matches(value, known, n=1)
    listed = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return f" (did you mean {close[0]!r}?); here are: {listed}" if close else f"; here are: {listed}"


def _spell(where: Mapping[str, Sequence[str]]) -> str:
    return " and ".join(f"{key}={','.join(values)}" for key, values in where.items())
