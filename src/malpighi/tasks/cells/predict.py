"""`segment` with a run of cells: images → every cell outlined and scored, tables, the competition's submission, a page an image.

All images pass through the prepared folder, as in training; it is removed when all is written. What is prepared already is
not done again by a call that goes on.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.annotations.geojson import write_geojson
from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.channels import image_files
from malpighi.images.open import open_image
from malpighi.images.write import ZarrWriter, write_labels_group
from malpighi.objects.cell_table import write_cells_table
from malpighi.objects.cells import Cells
from malpighi.objects.measure import ObjectOptions, find_numbered_objects
from malpighi.recipes.load import build_cells, read_raw
from malpighi.reports.cells import write_cells_report
from malpighi.reports.cells_pictures import outlined
from malpighi.reports.colors import class_colors
from malpighi.reports.runfolder import read_json
from malpighi.sampling.cases import Case
from malpighi.sampling.cell_data import CellData
from malpighi.tasks.asked import find_images, stem
from malpighi.tasks.cells.export import ScoredCells, write_submission
from malpighi.tasks.cells.images import map_cells, score_images
from malpighi.tasks.cells.pictures import sheet
from malpighi.tasks.cells.prepare import prepare_cells
from malpighi.tasks.cells.run import CellRun, open_cell_run
from malpighi.tasks.cells.table import TABLE, score_columns
from malpighi.tasks.claim import claim
from malpighi.tasks.prepare import write_json
from malpighi.tasks.talk import Talk, peak_memory_mb

MARK, SUMMARY, UNFINISHED = "asked.json", "cells.json", "unfinished"
LABELS, OUTLINES, SUBMISSION, REPORT = "labels.ome.zarr", "objects.geojson.gz", "submission.csv", "report.html"
LEAST = 0.001
"""Confidence above which a label of a cell enters the submission: below, it only makes the file larger."""
_SHARD = 2048


def segment_cells(
    images: Sequence[str | Path],
    run: Path,
    out: Path,
    *,
    overrides: Sequence[str] = (),
    spacing: float | Spacing | None = None,
    cycle: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Find and score every cell of images. The same call goes on where it was stopped.

    ```
    out/  submission.csv   classes.json   cells.json
    out/IMAGE/  labels.ome.zarr (cells, nuclei)   cells.parquet   objects.geojson.gz   report.html
    ```

    Args:
        images: files, paths with braces ("ID_{red,green,blue,yellow}.png"), folders, patterns; files of single channels in a
            folder are put together.
        run: folder of `cycle --task cells`.
        out: folder to make.
        overrides: "fuse.key=value" or "cells.key=value" against the run's recipe; of the rule, weights that were learnt.
        spacing: level-0 µm per pixel of every image, where the files do not say.
        cycle: whose cell classifier is taken; None: the best one's.
        strict: stop at the first image that cannot be used, instead of leaving it out and saying so.
        overwrite: begin again whatever is there.
        talk: where to report.

    Returns:
        "outputs" (folders), "cells", "by_class" (cells by their class), "submission", "failed", "seconds",
        "peak_memory_mb".

    Raises:
        MalpighiError: of the kind that says what is wrong: options, data, spacing or output.
    """
    talk, began, out = talk or Talk(), time.monotonic(), Path(out)
    opened = _overridden(open_cell_run(run, cycle), overrides)
    paths = find_images(images, channels=opened.recipe.channels.names)
    cases = [Case(stem(path), path, spacing=spacing) for path in paths]
    begun = claim(out, MARK, asked := _asked(opened, cases, overrides), overwrite=overwrite)
    if begun and (out / SUMMARY).is_file():
        talk.say(f"{out}: is finished; --overwrite predicts it again")
        return read_json(out / SUMMARY)
    write_json(out / MARK, {"asked": asked})
    keep = lambda case, _, cells: _keep(out / case.id, case, cells)  # noqa: E731
    data = prepare_cells(cases, opened.classes, opened.recipe, out / UNFINISHED, talk, keep)
    failed = dict(data.facts["left_out"])
    if failed and strict:
        raise DataError(next(iter(failed.values())))
    scored = _score(opened, data, talk)
    _write(opened, data, scored, {case.id: case for case in cases}, out, talk)
    labels = given_names(opened, scored.fused)
    summary = {
        "outputs": [str(out / name) for name in data.image_ids],
        "cells": data.cells,
        "by_class": {name: sum(name == own for own, _ in labels) for name in opened.classes},
        "submission": str(out / SUBMISSION),
        "failed": list(failed.values()),
        "damage": [],
        "rule": {"image": opened.rule.image, "maps": opened.rule.maps},
        "seconds": round(time.monotonic() - began, 2),
        "peak_memory_mb": peak_memory_mb(),
    }
    write_json(out / SUMMARY, summary)
    shutil.rmtree(out / UNFINISHED)
    talk.say(f"{data.cells} cells in {len(data)} images: {out / SUBMISSION}")
    return summary


def _overridden(opened: CellRun, overrides: Sequence[str]) -> CellRun:
    """The run with other rules of joining scores, or of finding cells."""
    for override in overrides:
        if override.partition(".")[0] not in ("fuse", "cells"):
            raise RecipeError(f"--set {override}: only fuse.* and cells.* can change after a cycle; run it again for the rest")
    if not overrides:
        return opened
    recipe = build_cells(read_raw(str(opened.path / "recipe.toml"), overrides), "--set")
    fuse, rule = recipe.fuse, opened.rule
    told = {override.partition("=")[0].strip() for override in overrides}
    negative = opened.classes.index(fuse.negative) if fuse.negative in opened.classes else None
    rule = replace(
        rule,
        image=fuse.image if "fuse.image" in told and fuse.image >= 0 else rule.image,
        maps=fuse.maps if "fuse.maps" in told and fuse.maps >= 0 else rule.maps,
        negative=negative,
        edge_area=fuse.edge_area,
    )
    return replace(opened, recipe=recipe, rule=rule)


def _asked(opened: CellRun, cases: Sequence[Case], overrides: Sequence[str]) -> dict[str, Any]:
    """What a prediction depends on: the same again, and it can go on or stand."""
    weights = {name: _digest(run / "weights.safetensors") for name, run in _runs(opened).items()}
    files = [[case.id, *([str(f), f.stat().st_size] for f in image_files(case.image))] for case in cases]
    return {"weights": weights, "images": files, "overrides": list(overrides)}


def _runs(opened: CellRun) -> dict[str, Path]:
    return {"image": opened.image_run, "cell": opened.cell_run}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _keep(folder: Path, case: Case, cells: Cells) -> None:
    """Cells and nuclei at full size, as OME-Zarr labels; an earlier attempt's are replaced."""
    path = folder / LABELS
    shutil.rmtree(path, ignore_errors=True)
    whole = Box.of_shape(cells.labels.shape)
    with open_image(case.image, spacing=case.spacing) as source:
        at = source.space.spacing
    for name, labels in (("cells", cells.labels), ("nuclei", cells.nuclei)):
        writer = ZarrWriter(path / "labels" / name, whole.size, at, np.uint32, kind="labels", shard=_SHARD)
        for box in whole.split(writer.shard):
            writer.write(box, labels[box.slices].astype(np.uint32))
        writer.finish()
    write_labels_group(path, ("cells", "nuclei"))


@dataclass(frozen=True, eq=False)
class _Scored:
    """(image, class) of the images; (cell, class) of the cells, by stage and joined."""

    image: np.ndarray
    maps: np.ndarray
    cell: np.ndarray
    fused: np.ndarray


def _score(opened: CellRun, data: CellData, talk: Talk) -> _Scored:
    from malpighi.tasks.cells.crops import score_cells

    image = score_images(opened.image_run, data, opened.recipe, talk)
    maps = map_cells(opened.image_run, data, opened.recipe, talk)
    cell = score_cells(opened.cell_run, data, opened.recipe, talk)
    fused = opened.rule.apply(cell, maps, image, data.image_of, data.border, data.area)
    return _Scored(image, maps, cell, fused)


def _write(opened: CellRun, data: CellData, scored: _Scored, cases: Mapping[str, Case], out: Path, talk: Talk) -> None:
    with talk.bar("writing", total=2 * len(data)) as advance:
        for i, name in enumerate(data.image_ids):
            _write_image(opened, data, scored, i, cases[name], out / name)
            advance()

        def images() -> Iterator[ScoredCells]:
            for i, name in enumerate(data.image_ids):
                rows = data.cells_of(i)
                yield ScoredCells(name, read_labels(out / name), scored.fused[rows], data.number[rows])
                advance()

        write_submission(out / SUBMISSION, images(), opened.classes, least=LEAST)


def read_labels(folder: Path, name: str = "cells") -> np.ndarray:
    """(y, x) numbers of the cells, or of their "nuclei", that `segment` wrote for one image."""
    with open_image(folder / LABELS / "labels" / name, labels=True) as source:
        return source.read(Box.of_shape(source.shape))[0].astype(np.int32)


def _write_image(opened: CellRun, data: CellData, scored: _Scored, i: int, case: Case, folder: Path) -> None:
    """Table, outlines and page of one image."""
    rows = data.cells_of(i)
    stages = {
        "fused": scored.fused[rows],
        "cell": scored.cell[rows],
        "maps": scored.maps[rows],
        "image": np.repeat(scored.image[[i]], rows.stop - rows.start, axis=0),
    }
    given = given_names(opened, stages["fused"])
    label = [name for name, _ in given]
    measured = {name: data.feature(name)[rows] for name in ("area", *data.features)}
    columns: dict[str, Any] = {
        "cell": data.number[rows],
        "class": label,
        "classes": [every for _, every in given],
        "border": data.border[rows],
        **measured,
    }
    write_cells_table(folder / TABLE, [columns | score_columns(stages, opened.classes)])
    labels = read_labels(folder)
    space = Space.of_shape(labels.shape)
    names = dict(zip(data.number[rows].tolist(), label, strict=True))
    found = find_numbered_objects(lambda box: labels[box.slices], space, space.spacing, "cell", ObjectOptions(kind="cell"))
    shapes = (_named(one.shape, names[one.row["id"]] or "none") for one in found if one.shape is not None)
    write_geojson(folder / OUTLINES, shapes, class_colors((*opened.classes, "none")))
    _page(opened, data, scored, i, case, folder, names)


def given_names(opened: CellRun, scores: np.ndarray) -> list[tuple[str, str]]:
    """Of each cell the likeliest class that is sure enough ("" for none), and all that are, joined by ";".

    Sure enough is the threshold of the rule: where held-out images were told apart best.
    """
    limits = np.array(opened.rule.thresholds or (0.5,) * len(opened.classes), np.float32)
    sure = scores >= limits
    likeliest = np.where(sure, scores, -1.0).argmax(1) if len(scores) else np.zeros(0, np.int64)
    return [
        (opened.classes[k] if row.any() else "", ";".join(opened.classes[n] for n in np.flatnonzero(row)))
        for k, row in zip(likeliest, sure, strict=True)
    ]


def _named(shape: Any, name: str) -> Any:
    return replace(shape, label=name)


def _page(opened: CellRun, data: CellData, scored: _Scored, i: int, case: Case, folder: Path, names: Mapping[int, str]) -> None:
    rows = data.cells_of(i)
    every = np.arange(rows.start, rows.stop)
    best = scored.fused[rows].max(1) if len(every) else np.zeros(0)
    listed = [
        {"cell": int(data.number[j]), "class": names[int(data.number[j])], "score": round(float(best[n]), 3)}
        | {"area": float(data.area[j]), "border": bool(data.border[j])}
        for n, j in enumerate(every)
    ]
    write_cells_report(
        folder / REPORT,
        {"cells": len(every), "at the border": int(data.border[rows].sum())},
        listed,
        classes=opened.classes,
        title=case.id,
        subtitle=str(case.image),
        overview=outlined(data.image(i), data.labels(i), names, opened.classes, channels=data.channels),
        sheets={"The surest cells of each class.": sheet(data, scored.fused, every)},
        image_scores=dict(zip(opened.classes, scored.image[i].tolist(), strict=True)),
        provenance={"run": str(opened.path), "rule": f"image {opened.rule.image:g}, maps {opened.rule.maps:g}"},
    )
