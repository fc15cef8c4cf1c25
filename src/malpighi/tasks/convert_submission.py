"""Predictions → one submission: a row of run lengths an image, at the image's own pixels, in the order that was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malpighi.annotations.image_table import ImageTable, read_image_table
from malpighi.annotations.rle import Order, RunLengths
from malpighi.annotations.submissions import write_table
from malpighi.errors import DataError, OutputError
from malpighi.tasks.convert_asked import Progress
from malpighi.tasks.convert_outlines import mask_of

if TYPE_CHECKING:
    from malpighi.tasks.prediction import Prediction


def prediction_folders(path: Path) -> dict[str, Path]:
    """Image id → folder that `segment` wrote: the folder itself, or those in it, sorted by name; {} where there is none."""
    from malpighi.inference.manifest import MANIFEST

    if not path.is_dir():
        return {}
    if (path / MANIFEST).is_file():
        return {path.resolve().name: path}
    return {each.name: each for each in sorted(path.iterdir()) if (each / MANIFEST).is_file()}


def write_submission(
    source: Path,
    target: Path,
    *,
    classes: Sequence[str] = (),
    order: Order = "F",
    like: Path | None = None,
    organs: Path | None = None,
    column: str = "",
    row: str = "",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the masks of `source`, a prediction or a folder of them, as one table; an image without anything has an empty row.

    Masks are brought to the image's level-0 pixels band by band: memory does not grow with the image.

    Args:
        classes: the one class to write; none: that of the image, see `class_of`.
        order: of runs, "F" as HuBMAP's.
        like: CSV whose ids, in their order, the table has, and whose column of runs it is named as: a sample submission.
        organs: CSV with a column "organ": of several classes an image's row is of the one called as its organ; None: `like`.
        column: name of the column of runs; default: that of `like`, else "rle".
        row: id of a single prediction, where it is not its folder's name.
        progress: called with (images done, images).

    Returns:
        "kind", "output", "objects" (rows), "classes" (those written), "empty" (ids without a mask), "left_out" (predictions
        that `like` does not list).

    Raises:
        DataError: an id of `like` has no prediction, or it is unknown which class an image's row is of.
        OutputError: a prediction is of a volume, or the table cannot be written.
    """
    found = prediction_folders(source)
    if row:
        if len(found) != 1:
            raise OutputError(f"{target}: --row {row} names one image, {source} holds {len(found)} predictions; leave it out")
        found = {row: next(iter(found.values()))}
    sample = read_image_table(like) if like is not None else None
    table = read_image_table(organs) if organs is not None else sample
    names = list(found) if sample is None else _listed(sample, found, source)
    empty: list[str] = []
    written: set[str] = set()

    def rows() -> Iterator[tuple[str, RunLengths]]:
        for done, name in enumerate(names):
            told, runs = _row(found[name], target, classes, order, table.value(name, "organ") if table else "")
            written.update([told] if told else [])
            empty.extend([] if len(runs) else [name])
            yield name, runs
            if progress is not None:
                progress(done + 1, len(names))

    columns = (sample.key if sample else "id", column or (sample.runs if sample else "") or "rle")
    count = write_table(target, rows(), columns)
    left_out = [name for name in found if sample and name not in sample.rows]
    told = {"output": str(target), "kind": "submission", "objects": count, "classes": sorted(written)}
    return {**told, "empty": empty, "left_out": left_out}


def _listed(sample: ImageTable, found: dict[str, Path], source: Path) -> list[str]:
    missing = [name for name in sample.rows if name not in found]
    if missing:
        near = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise DataError(
            f"{source}: {len(missing)} of the {len(sample.rows)} ids of {sample.path} have no prediction ({near}); segment those "
            "images too, each row must be there"
        )
    return list(sample.rows)


def _row(folder: Path, target: Path, classes: Sequence[str], order: Order, organ: str) -> tuple[str, RunLengths]:
    """The class that is written of an image ("" where it is not known because all are empty), and its runs."""
    from malpighi.tasks.prediction import Prediction

    prediction = Prediction(folder)
    try:
        if prediction.space.rank != 2:
            raise OutputError(f"{target}: {folder} is of a volume; convert volumes one by one, each slice is a row there")
        name = class_of(prediction, classes, organ)
        if name:
            return name, _runs(prediction, name, order)
        return _only_filled(prediction, order)
    finally:
        prediction.close()


def class_of(prediction: Prediction, classes: Sequence[str], organ: str) -> str:
    """The class whose mask stands for an image: the one asked for, the only one, or the one called as its organ; "": none is.

    Organs are compared without case and spaces: "largeintestine" is "large intestine".

    Raises:
        DataError: a class is asked for that the prediction has not, or more than one.
    """
    have = prediction.classes
    if len(classes) > 1:
        raise DataError(f"a row of run lengths holds one class, --class names {', '.join(classes)}; give one, or --organs")
    if classes and classes[0] not in have:
        raise DataError(
            f"{prediction.name}: has no class {classes[0]!r}, only {', '.join(have)}; name one of them with --class"
        )
    if classes or len(have) == 1:
        return (*classes, *have)[0]
    return next((name for name in have if organ and _plain(name) == _plain(organ)), "")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _runs(prediction: Prediction, name: str, order: Order) -> RunLengths:
    return RunLengths.encode_boxes(mask_of(prediction, name), prediction.space.shape, order)


def _only_filled(prediction: Prediction, order: Order) -> tuple[str, RunLengths]:
    """The one class that was found, as where a run keeps one class an image."""
    found = [(name, _runs(prediction, name, order)) for name in prediction.classes]
    filled = [(name, runs) for name, runs in found if len(runs)]
    if len(filled) > 1:
        raise DataError(
            f"{prediction.name}: holds {' and '.join(name for name, _ in filled)}, and a row of run lengths holds one class; "
            "name it with --class, give the images' organs with --organs, or predict with predict.one_class=true"
        )
    return filled[0] if filled else ("", found[0][1])
