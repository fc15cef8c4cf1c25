"""Images → a prepared folder of images, cells and crops: read, segmented, measured, an image at a time, in threads.

What is there of an image is whole, so that a stopped run goes on with the next one.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.errors import DataError, MalpighiError, OutputError
from malpighi.geometry import Box
from malpighi.objects.cells import Cells
from malpighi.recipes.cells import CellsRecipe
from malpighi.sampling.cases import Case
from malpighi.sampling.cell_data import FACTS, PARTS, CellData
from malpighi.sampling.cell_folder import ImageRow, Sizes, finish, part_path, write_image
from malpighi.tasks.claim import claim
from malpighi.tasks.prepare import write_json
from malpighi.tasks.talk import Talk

ASKED = "asked.json"
"""What the folder is being made of; written first, so that nothing else is ever mixed in."""
THREADS = 8
"""At most: each holds a whole image."""
_NAMED = 5  # ids in a line that lists some

Segment = Callable[[np.ndarray], Cells]
Keep = Callable[[Case, np.ndarray, Cells], None]
"""Is given each image, (channel, y, x), with its cells at its own size, from any thread, before it counts as prepared."""


def prepare_cells(
    cases: Sequence[Case], classes: Sequence[str], recipe: CellsRecipe, folder: Path, talk: Talk, keep: Keep | None = None
) -> CellData:
    """Store every image with its cells as networks will see them. Images that are there already are not done again.

    An image that cannot be used is left out, and that is said; one without cells is kept.

    Args:
        cases: images, with `image_labels` where they are known.
        classes: columns of `CellData.targets`.
        folder: to make, or to go on with.
        keep: for those who want cells at full size.

    Raises:
        DataError: no image, two with one id, or none that can be used.
        OutputError: the folder holds something else, or was made with other options, or cannot be written.
    """
    if not cases:
        raise DataError("no images to find cells in; give a folder or a manifest with at least one")
    twice = [identifier for identifier, count in Counter(case.id for case in cases).items() if count > 1]
    if twice:
        raise DataError(f"{_some(twice)}: more than one image of that name; every image needs an id of its own")
    asked = _asked(cases, classes, recipe)
    try:
        claim(folder, ASKED, asked, overwrite=False)
    except OutputError as error:
        raise OutputError(f"{error} (prepared cells: delete the folder to prepare them anew)") from error
    if (folder / FACTS).is_file():
        shutil.rmtree(folder / PARTS, ignore_errors=True)  # where the last run was stopped while it deleted them
        return CellData.open(folder)
    write_json(folder / ASKED, {"asked": asked})
    found = _Found(notes=_unknown_labels(cases, classes))
    _write_all(cases, recipe, folder, found, talk, keep)
    rows = [ImageRow(c.id, c.group or c.id, c.split, c.image_labels) for c in cases if c.id not in found.bad]
    found.tell(talk, len(cases))
    finish(folder, rows, {**_facts(classes, recipe), "asked": asked, "left_out": found.bad})
    return CellData.open(folder)


@dataclass
class _Found:
    """What was found of images that a user should know: why one is left out, which have no cells or no protein."""

    bad: dict[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    dark: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def tell(self, talk: Talk, count: int) -> None:
        """Say it; stop where nothing is left.

        Raises:
            DataError: no image can be used.
        """
        if len(self.bad) == count:
            first = next(iter(self.bad.values()))
            raise DataError(f"none of the {count} images can be used; the first: {first}")
        for reason in self.bad.values():
            talk.say(f"[yellow]left out:[/yellow] {reason}")
        for note, often in Counter(self.notes).items():
            talk.say(f"[yellow]note:[/yellow] {note}" + (f" ({often} images)" if often > 1 else ""))
        if self.empty:
            talk.say(f"[yellow]note:[/yellow] no cell was found in {len(self.empty)} of {count} images: {_some(self.empty)}")
        if self.dark:
            talk.say(
                f"[yellow]note:[/yellow] the protein channel is 0 everywhere in {len(self.dark)} of {count} images, "
                f"which says that their cells are negative: {_some(self.dark)}"
            )


def _write_all(cases: Sequence[Case], recipe: CellsRecipe, folder: Path, found: _Found, talk: Talk, keep: Keep | None) -> None:
    """Write what is not there yet, in threads: OpenCV, SciPy and Numba let go of the interpreter."""
    from malpighi.tasks.cells.segmenters import segmenter

    missing = [case for case in cases if not part_path(folder, case.id).is_file()]
    (folder / PARTS).mkdir(parents=True, exist_ok=True)
    if len(missing) < len(cases):
        talk.say(f"{len(cases) - len(missing)} of {len(cases)} images are prepared already")
    segment = segmenter(recipe.cells, recipe.channels) if missing else None
    pool = ThreadPoolExecutor(max(1, min(_cores(), THREADS, len(missing))), thread_name_prefix="cells")
    try:
        with talk.bar("finding cells", total=len(cases)) as advance:
            advance(len(cases) - len(missing))
            futures = {pool.submit(_write, case, recipe, segment, folder, keep): case for case in missing}
            for future in as_completed(futures):
                case = futures.pop(future)  # with its result, or all would be held
                try:
                    future.result()
                except OutputError:
                    raise
                except MalpighiError as error:
                    reason = str(error)
                    found.bad[case.id] = reason if case.id in reason else f"{case.id}: {reason}"
                advance()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    found.bad = {case.id: found.bad[case.id] for case in cases if case.id in found.bad}  # in order, whoever was first
    _look(cases, folder, found)


def _write(case: Case, recipe: CellsRecipe, segment: Segment | None, folder: Path, keep: Keep | None) -> None:
    """One image, from its file to the folder."""
    from malpighi.objects.cell_features import cell_features

    assert segment is not None
    image, notes = read_channels(case, recipe)
    channels, data = recipe.channels, recipe.data
    cells = segment(image)
    features = cell_features(cells, image, channels.names, channels.protein) if cells.count else {}
    sizes = Sizes(data.side, data.crop, data.margin, data.crop_span)
    if keep is not None:
        keep(case, image, cells)
    dark = not image[channels.names.index(channels.protein)].any()
    write_image(folder, case.id, image, cells, sizes, features, {"dark": dark, "notes": notes})


def read_channels(case: Case, recipe: CellsRecipe) -> tuple[np.ndarray, list[str]]:
    """A case's whole image, (channel, y, x) in the recipe's order, and what is to be said of it.

    Raises:
        DataError: it cannot be read, has not these channels, or is not two-dimensional.
    """
    from malpighi.images.open import open_image
    from malpighi.images.select import select_channels

    with open_image(case.image, spacing=case.spacing) as source:
        if source.space.rank != 2:
            raise DataError(f"{source.name}: a volume; cells are found in two-dimensional images, give its slices one by one")
        chosen = select_channels(source, recipe.channels.names, recipe.channels.missing)
        # without the image's name, so that what holds of all images is said once
        notes = [note.removeprefix(f"{source.name}: ") for note in chosen.notes if note not in source.notes]
        return chosen.read(Box.of_shape(chosen.shape)), notes


def _look(cases: Sequence[Case], folder: Path, found: _Found) -> None:
    """Remember what is to be said, of images of earlier sittings too."""
    import json

    import pyarrow.parquet as pq

    for case in cases:
        if case.id in found.bad:
            continue
        fact = json.loads(pq.read_schema(part_path(folder, case.id)).metadata[b"image"])
        if not fact["cells"]:
            found.empty.append(case.id)
        if fact["dark"]:
            found.dark.append(case.id)
        found.notes += fact["notes"]


def _facts(classes: Sequence[str], recipe: CellsRecipe) -> dict[str, Any]:
    data, channels = recipe.data, recipe.channels
    return {"classes": list(classes), "channels": list(channels.names), "side": data.side, "crop": data.crop}


def _unknown_labels(cases: Sequence[Case], classes: Sequence[str]) -> list[str]:
    """A note on labels that are not among the classes; none where all are."""
    counts = Counter(name for case in cases for name in case.image_labels or () if name not in classes)
    if not counts:
        return []
    listed = _some([f"{name!r} ({count} images)" for name, count in counts.most_common()])
    return [f"labels that are not among the classes are not learnt: {listed}"]


def _asked(cases: Sequence[Case], classes: Sequence[str], recipe: CellsRecipe) -> dict[str, Any]:
    """All that what is stored depends on; not how crops are masked or which fold is held out: that is for readers to say."""
    data = recipe.data
    images = [
        [c.id, os.path.abspath(c.image), c.group, c.split, None if c.image_labels is None else list(c.image_labels)]
        for c in cases
    ]
    return {
        "classes": list(classes),
        "data": {name: getattr(data, name) for name in ("side", "crop", "margin", "crop_span")},
        "channels": asdict(recipe.channels),
        "cells": asdict(recipe.cells),
        "images": images,
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _some(identifiers: Sequence[str]) -> str:
    """A few of many names."""
    more = f" and {len(identifiers) - _NAMED} more" if len(identifiers) > _NAMED else ""
    return ", ".join(identifiers[:_NAMED]) + more
