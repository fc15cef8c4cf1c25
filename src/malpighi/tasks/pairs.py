"""Which prediction belongs to which truth, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malpighi.annotations.base import UNNAMED
from malpighi.annotations.open import ANNOTATION_SUFFIXES, suffix_of
from malpighi.errors import DataError
from malpighi.geometry import Spacing
from malpighi.images.open import is_image
from malpighi.inference.manifest import MANIFEST
from malpighi.sampling.cases import Case, CaseTable, Labels
from malpighi.sampling.classnames import classes_named_in
from malpighi.sampling.layouts import find_cases
from malpighi.tasks.asked import stem
from malpighi.tasks.prediction import Prediction


@dataclass(frozen=True)
class Pair:
    """A case of the truth and where its prediction lies."""

    case: Case
    prediction: Path


def find_truth(
    truth: Path,
    prediction: Path,
    classes: tuple[str, ...] = (),
    spacing: float | Spacing | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
) -> CaseTable:
    """The cases to score: a data set's, or those of bare annotations (a file, or a folder of them without images).

    Bare annotations lie on the grid of the image that the prediction of the same name was made from.

    Raises:
        DataError: neither, or no bare annotation is named as a prediction.
    """
    if not truth.exists():
        raise DataError(f"{truth}: does not exist; give an annotated data set, or annotations named as the predictions")
    single = truth.is_file() and truth.suffix != ".csv"
    if not single:
        table = find_cases(truth, spacing=spacing, classes=classes, where=only)
        if table.labelled or not _annotation_files(truth):
            return table.require_labels()
    predictions = found_predictions(prediction)
    annotations = _annotation_files(truth)
    if len(predictions) == len(annotations) == 1:
        annotations = dict(zip(predictions, annotations.values(), strict=True))
    cases, named = [], list(classes)
    for name in annotations.keys() & predictions.keys():
        image, told = _made_from(predictions[name], annotations[name])
        inside = classes_named_in(annotations[name])
        named += [each for each in inside or (() if classes else told) if each not in named]
        cases.append(Case(name, image, (Labels(annotations[name], () if inside else classes or told),), spacing=spacing))
    if not cases:
        raise DataError(
            f"{truth}: no annotation is named as a prediction; found {_some(annotations)}, predicted {_some(predictions)}"
        )
    return CaseTable(truth, tuple(sorted(cases, key=lambda case: case.id)), tuple(named), "bare annotations")


def _made_from(prediction: Path, annotation: Path) -> tuple[Path, tuple[str, ...]]:
    """The file whose grid both lie on, and the classes that the prediction speaks of."""
    if (prediction / MANIFEST).is_file():
        made = Prediction(prediction)
        made.close()
        return Path(made.manifest["image"]["path"]), made.classes
    return next((path for path in (prediction, annotation) if is_image(path)), prediction), (UNNAMED,)


def match_predictions(prediction: Path, table: CaseTable) -> tuple[list[Pair], list[str]]:
    """Find each case's prediction by its id or its image's name; also returns the ids of those without one."""
    found = found_predictions(prediction)
    pairs: list[Pair] = []
    missing: list[str] = []
    for case in table.cases:
        path = found.get(case.id) or found.get(stem(case.image))
        if path is None and len(found) == len(table.cases) == 1:
            path = next(iter(found.values()))
        taken = next((pair.case.id for pair in pairs if pair.prediction == path), None)
        if taken is not None:
            raise DataError(f"{path}: is named as the images of both {taken} and {case.id}; score them apart with --only")
        if path is None:
            missing.append(case.id)
        else:
            pairs.append(Pair(case, path))
    if not pairs:
        raise DataError(
            f"{prediction}: no prediction is named as an image of {table.root}; "
            f"found {_some(found)}, wanted {_some([case.id for case in table.cases])}"
        )
    return pairs, missing


def found_predictions(path: Path) -> dict[str, Path]:
    """Name → prediction folder of `segment`, or annotation file, in or at `path`."""
    if not path.exists():
        raise DataError(f"{path}: does not exist; give the folder that `malpighi segment -o` wrote, or masks")
    if (path / MANIFEST).is_file():
        return {path.name: path}
    folders = {p.name: p for p in sorted(path.iterdir()) if (p / MANIFEST).is_file()} if path.is_dir() else {}
    return folders or _annotation_files(path)


def _annotation_files(path: Path) -> dict[str, Path]:
    """Name → annotation file of a folder, or the file itself."""
    if not path.is_dir() or path.suffix == ".zarr":
        return {_name(path): path}
    return {_name(file): file for file in sorted(path.iterdir()) if suffix_of(file) in ANNOTATION_SUFFIXES}


def _name(path: Path) -> str:
    return path.name[: -len(suffix_of(path))].removesuffix(".ome") if suffix_of(path) else path.name


def _some(names: Sequence[str] | Mapping[str, Any]) -> str:
    listed = list(names)
    return ", ".join(listed[:5]) + (f", … ({len(listed)})" if len(listed) > 5 else "") if listed else "nothing"
