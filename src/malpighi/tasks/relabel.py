"""`relabel`, whole: predictions, and what a person made of their outlines → labels that say who drew what, and what was changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from rich.markup import escape

from malpighi.annotations.geojson import read_geojson, write_geojson
from malpighi.annotations.open import suffix_of
from malpighi.errors import DataError, OutputError, RecipeError
from malpighi.geometry import Shape, Space, Spacing
from malpighi.inference.manifest import MANIFEST
from malpighi.reports.colors import class_colors
from malpighi.reports.runfolder import read_json
from malpighi.tasks.edit_tables import COLUMNS, change, counted
from malpighi.tasks.edits import Edit, compare, read_edited, require_own
from malpighi.tasks.manifest_rows import spacing_text, write_rows
from malpighi.tasks.object_files import OUTLINES
from malpighi.tasks.pairs import found_predictions
from malpighi.tasks.prepare import write_json
from malpighi.tasks.talk import Talk

LABELS, TABLE, CHANGES, SUMMARY = "labels", "manifest.csv", "changes.csv", "summary.json"
SUFFIXES = (".geojson", ".geojson.gz")


@dataclass(frozen=True)
class Signed:
    """Who annotated, and when (ISO 8601)."""

    by: str
    at: str


def relabel(
    predictions: Path,
    edited: Path,
    out: Path,
    *,
    by: str,
    at: str | None = None,
    allow_empty: bool = False,
    overwrite: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Take outlines that a person edited over predictions as labels to train on, and say what was changed.

    Args:
        predictions: folder that `segment -o` wrote, of one image or of several.
        edited: GeoJSON (`.geojson`, `.geojson.gz`) named as its image, or a folder of such; whoever edits it has looked at the
            whole image: what is outlined in none of it is background. Predictions without a file are left out.
        out: folder to make: labels/, manifest.csv, changes.csv, summary.json.
        by: who annotated.
        at: when: a date, or a date and time, as ISO 8601 writes it; now where None.
        allow_empty: a file may hold none of the objects that were predicted: no object at all, or new ones alone.
        overwrite: replace what an earlier call left in `out`.
        talk: where to report.

    Returns:
        "output", "objects", a count for each of `KINDS`, "median_iou" of what was changed, "by_class", "images", "unedited".

    Raises:
        DataError: a file that belongs to no prediction or to another image, holds none of the objects predicted, or one of an
            unknown class.
        OutputError: `out` holds something, or cannot be written; nothing half-written is left.
        RecipeError: no name, or no date.
    """
    talk, out = talk or Talk(), Path(out)
    signed = _signed(by, at)
    _require_free(out, overwrite)
    folders = _folders(Path(predictions))
    pairs = _pairs(folders, Path(predictions), Path(edited))
    unedited = [name for name in folders if name not in pairs]
    owners = cache(lambda: {one.id: name for name, folder in folders.items() for one in _predicted(folder)})
    part = out.with_name(f".{out.name}-part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        images = []
        with talk.bar("comparing with what was predicted", total=len(pairs)) as advance:
            for name, (folder, file) in pairs.items():
                images.append(_relabel(name, folder, file, part, signed, allow_empty, owners))
                advance()
        told = _write(part, images, signed, unedited)
        _replace(part, out, overwrite)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if unedited:
        talk.say(f"{len(unedited)} predictions have no edited file and were left out, such as {escape(unedited[0])}")
    return {"output": str(out), **told}


def _signed(by: str, at: str | None) -> Signed:
    if not by.strip():
        raise RecipeError("--by is empty; give the name of who annotated")
    if at is None:
        return Signed(by.strip(), datetime.now().astimezone().isoformat(timespec="seconds"))
    try:
        datetime.fromisoformat(at)
    except ValueError:
        raise RecipeError(f"--at {at}: is no date; write it as 2024-05-31 or 2024-05-31T14:30") from None
    return Signed(by.strip(), at)


def _require_free(out: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something, unless it is an earlier call's and may be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / CHANGES).is_file():
        raise OutputError(f"{out}: is not empty and not what `malpighi relabel` wrote; choose another -o")
    if not overwrite:
        raise OutputError(f"{out}: holds labels already; choose another -o, or replace them with --overwrite")


def _replace(part: Path, out: Path, overwrite: bool) -> None:
    try:
        if out.is_dir():
            shutil.rmtree(out) if overwrite else out.rmdir()
        part.rename(out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); choose another -o") from error


def _folders(predictions: Path) -> dict[str, Path]:
    """Name → prediction."""
    folders = {name: path for name, path in found_predictions(predictions).items() if (path / MANIFEST).is_file()}
    if not folders:
        raise DataError(f"{predictions}: holds no prediction; give the folder that `malpighi segment -o` wrote")
    return folders


def _pairs(folders: Mapping[str, Path], predictions: Path, edited: Path) -> dict[str, tuple[Path, Path]]:
    """Name → (prediction, edited file), of those that have one."""
    if not edited.exists():
        raise DataError(f"{edited}: does not exist; give a GeoJSON file, or a folder of them named as the images")
    files = [path for path in sorted(edited.iterdir()) if suffix_of(path) in SUFFIXES] if edited.is_dir() else [edited]
    if not files or suffix_of(files[0]) not in SUFFIXES:
        raise DataError(f"{edited}: holds no {' or '.join(SUFFIXES)}; in QuPath: File, Export objects as GeoJSON")
    names = {name: name for name in folders} | {
        Path(read_json(path / MANIFEST)["image"]["path"]).name: name for name, path in folders.items()
    }
    pairs: dict[str, tuple[Path, Path]] = {}
    for file in files:
        stem = file.name[: -len(suffix_of(file))]
        name = names.get(stem) or (next(iter(folders)) if len(folders) == len(files) == 1 else None)
        if name is None:
            listed = ", ".join(list(folders)[:5]) + (", …" if len(folders) > 5 else "")
            raise DataError(
                f"{file}: there is no prediction of {stem!r} in {predictions}; name the file as its image: {listed}"
            )
        if name in pairs:
            raise DataError(f"{file} and {pairs[name][1]} are both of {name}; keep one of them")
        pairs[name] = (folders[name], file)
    return pairs


@dataclass(frozen=True)
class Relabelled:
    """One image: its row of the manifest, and what became of each object."""

    row: dict[str, str]
    edits: tuple[Edit, ...]


def _predicted(folder: Path) -> tuple[Shape, ...]:
    """The outlines of a prediction; none of a volume."""
    return read_geojson(folder / OUTLINES).shapes if (folder / OUTLINES).is_file() else ()


def _relabel(
    name: str,
    folder: Path,
    file: Path,
    part: Path,
    signed: Signed,
    allow_empty: bool,
    owners: Callable[[], Mapping[str, str]],
) -> Relabelled:
    """Compare one image's outlines with what was predicted, and write them with who drew each."""
    told = read_json(folder / MANIFEST)
    if not (folder / OUTLINES).is_file():
        raise DataError(f"{folder}: has no outlines ({OUTLINES}); only predictions of 2-D images can be edited as outlines")
    image, classes = told["image"], tuple(told["classes"])
    space = Space.of_shape(image["shape"], Spacing(tuple(image["spacing"]["values"]), image["spacing"]["unit"]))
    before = _predicted(folder)
    after = read_edited(file, space, classes, empty=allow_empty or not before)
    edits = compare(before, after)
    require_own(edits, file, folder, owners, none_left=allow_empty)
    origin = {edit.after.id: _origin(edit, signed, str(told.get("run", ""))) for edit in edits if edit.after is not None}
    labels = part / LABELS / f"{name}.geojson.gz"
    labels.parent.mkdir(parents=True, exist_ok=True)
    shapes = [edit.after for edit in edits if edit.after is not None]
    write_geojson(labels, shapes, class_colors(classes), lambda shape: origin[shape.id])
    row = {
        "id": name,
        "image": image["path"],
        "labels": f"{LABELS}/{name}.geojson.gz",
        "classes": ";".join(classes),
        "spacing": spacing_text(space.spacing),
        "annotator": signed.by,
        "annotated_at": signed.at,
        "predicted_by": str(told.get("run", "")),
    }
    return Relabelled(row, edits)


def _origin(edit: Edit, signed: Signed, run: str) -> dict[str, str]:
    """What is to be known of an object: a person answers for what was drawn or changed, the network for what was left."""
    drawn = {"origin": "model" if edit.kind == "kept" else "human", "edit": edit.kind}
    return {**drawn, "annotator": signed.by, "annotated_at": signed.at, "predicted_by": run if edit.before is not None else ""}


def _write(part: Path, images: Sequence[Relabelled], signed: Signed, unedited: Sequence[str]) -> dict[str, Any]:
    """The tables and the summary."""
    write_rows(part / TABLE, list(images[0].row), [one.row for one in images])
    rows = [change(one.row["id"], edit) for one in images for edit in one.edits]
    write_rows(part / CHANGES, COLUMNS, rows)
    edits = [edit for one in images for edit in one.edits]
    classes = dict.fromkeys(name for one in images for name in one.row["classes"].split(";"))
    told = {
        **counted(edits),
        "by_class": {name: counted([edit for edit in edits if edit.label == name]) for name in classes},
        "images": {one.row["id"]: counted(one.edits) for one in images},
        "unedited": list(unedited),
        "annotator": signed.by,
        "annotated_at": signed.at,
    }
    write_json(part / SUMMARY, told)
    return told
