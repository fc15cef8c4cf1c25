"""The pages of a prediction and of an evaluation: what was found, how sure the scores are, what could not be read."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from malpighi.errors import DataError
from malpighi.geometry import Spacing
from malpighi.reports.colors import RGB, class_colors
from malpighi.reports.html import Report
from malpighi.reports.plots import histogram
from malpighi.reports.runfolder import read_json
from malpighi.reports.scores import add_scores, dice, further
from malpighi.reports.words import duration_text, interval_text, memory_text

_COLUMNS = ("class", "area_um2", "area_px2", "volume_um3", "volume_px3", "circularity", "mean_probability")  # that a page shows
_LISTED = 200  # damaged places that a page lists
Pictures = Mapping[str, bytes | Markup]


def write_prediction_report(folder: Path, pictures: Pictures | None = None, report: str = "report.html") -> Path:
    """Write the page of `segment`'s output folder from its `manifest.json` and `objects.parquet`.

    Args:
        folder: the output folder.
        pictures: caption → PNG bytes, usually `overview`.
        report: name of the page in the folder.

    Raises:
        DataError: the folder holds no manifest, or a file in it is damaged.
        OutputError: the page cannot be written.
    """
    folder = Path(folder)
    manifest = read_json(folder / "manifest.json")
    if not manifest:
        raise DataError(f"{folder}: no manifest.json; give a folder that `malpighi segment -o` made")
    table = _objects(folder / "objects.parquet")
    counts = manifest.get("objects") or {}
    colors = class_colors(list(counts) or sorted(set(table.get("class", ()))))

    page = Report(Path(_image(manifest) or folder.resolve().name).name, _subtitle(manifest), kind="segmentation report")
    _headline(page, manifest, counts)
    if pictures:
        page.section("Overview", "What was found, on the image.")
        for caption, image in pictures.items():
            page.figure(image, caption)
    _objects_section(page, table, counts, colors)
    _how(page, folder, manifest)
    return page.write(folder / report)


def write_evaluation_report(
    path: Path,
    scores: Mapping[str, Any],
    pictures: Pictures | None = None,
    title: str = "Evaluation",
    subtitle: str = "",
    classes: Sequence[str] = (),
) -> Path:
    """Write the page of `evaluate`.

    Args:
        path: the HTML file.
        scores: result of `metrics.report.summarise`.
        pictures: caption → PNG bytes, usually `comparison` of the best, median and worst image.
        title: heading, usually the prediction's name.
        subtitle: what was compared with what.
        classes: the run's, so that each keeps its colour; default those scored.

    Raises:
        OutputError: the page cannot be written.
    """
    page = Report(title, subtitle, kind="evaluation report")
    facts = {
        "Dice": scores.get("dice"),
        "interval": interval_text(*dice(scores)[1:]),
        "IoU": scores.get("iou"),
        "precision": scores.get("precision"),
        "recall": scores.get("recall"),
        **further(scores),
        "object F1": (scores.get("objects") or {}).get("f1"),
        "images": scores.get("images"),
    }
    page.facts({name: value for name, value in facts.items() if value not in (None, "–")})
    page.section("Scores")
    add_scores(page, scores, class_colors(list(classes) or list((scores.get("by") or {}).get("class") or ())))
    if pictures:
        page.section("Cases", "Truth, prediction, and where they disagree.")
        for caption, image in pictures.items():
            page.figure(image, caption)
    return page.write(path)


def _subtitle(manifest: Mapping[str, Any]) -> str:
    spacing = _spacing(manifest)
    where = f", worked at {spacing} a pixel" if spacing else ""
    return f"Segmented with {manifest['run']}{where}." if manifest.get("run") else ""


def _image(manifest: Mapping[str, Any]) -> str:
    image = manifest.get("image") or ""
    return str(image.get("path", "") if isinstance(image, Mapping) else image)


def _spacing(manifest: Mapping[str, Any]) -> str:
    """The spacing the image was worked at, as text; "" where the manifest does not say."""
    spacing = manifest.get("spacing") or ""
    return str(Spacing(tuple(spacing["values"]), spacing["unit"])) if isinstance(spacing, Mapping) else str(spacing)


def _headline(page: Report, manifest: Mapping[str, Any], counts: Mapping[str, int]) -> None:
    facts = {
        "objects": sum(counts.values()) if counts else None,
        "tiles": manifest.get("tiles"),
        "skipped as glass": manifest.get("skipped_tiles"),
        "time": duration_text(manifest.get("seconds")),
        "peak memory": memory_text(manifest.get("peak_memory_mb")),
    }
    page.facts({name: value for name, value in facts.items() if value not in (None, "–")})
    if _spacing(manifest).endswith("px"):
        page.warning("The image carries no pixel size: all sizes and areas are in pixels, not in micrometres.")
    damage = list(manifest.get("damage") or ())
    if damage:
        parts = "1 part" if len(damage) == 1 else f"{len(damage)} parts"
        page.warning(f"{parts} of the image could not be read and {'is' if len(damage) == 1 else 'are'} empty in the result.")
        page.section("Damage", "What could not be read. All other tiles were worked as usual.")
        page.table([[line] for line in damage[:_LISTED]], ["where and why"])
        if len(damage) > _LISTED:
            page.text(f"… and {len(damage) - _LISTED} more; manifest.json lists them all.")


def _objects(path: Path) -> dict[str, np.ndarray]:
    """Columns of the objects' table as arrays; {} where there is none."""
    if not path.is_file():
        return {}
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, columns=[n for n in parquet.read_schema(path).names if n in _COLUMNS])
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet table ({error}); run `malpighi segment` again") from error
    return {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}


def _objects_section(
    page: Report, table: Mapping[str, np.ndarray], counts: Mapping[str, int], colors: Mapping[str, RGB]
) -> None:
    if not table and not counts:
        return
    area = next((name for name in table if name.startswith(("area", "volume"))), None)
    labels = table.get("class", np.array([]))
    page.section("Objects", "" if sum(counts.values()) or len(labels) else "Nothing was found.")
    rows = [_object_row(name, counts.get(name), table, labels == name, area) for name in colors]
    page.table(rows, colors=colors)
    plots = {}
    for column in (area, "circularity", "mean_probability"):
        if column is not None and column in table and len(labels):
            values = {name: table[column][labels == name] for name in colors}
            caption = f"{quantity(column).capitalize()}, objects by class."
            plots[caption] = histogram(values, quantity(column), colors)
    if plots:
        page.figures(plots)


def _object_row(
    name: str, count: int | None, table: Mapping[str, np.ndarray], mine: np.ndarray, area: str | None
) -> dict[str, Any]:
    row: dict[str, Any] = {"class": name, "objects": int(mine.sum()) if count is None else count}
    if area is not None:
        values = table[area][mine]
        row[f"median {quantity(area)}"] = float(np.median(values)) if len(values) else None
        row[f"total {quantity(area)}"] = float(values.sum()) if len(values) else None
    for column in ("circularity", "mean_probability"):
        if column in table:
            values = table[column][mine]
            values = values[np.isfinite(values)]
            row[f"median {quantity(column).removeprefix('mean ')}"] = float(np.median(values)) if len(values) else None
    return row


def quantity(column: str) -> str:
    """A column's name as text: area_um2 → area, µm²."""
    for suffix, unit in (("_um3", "µm³"), ("_um2", "µm²"), ("_um", "µm"), ("_px3", "px³"), ("_px2", "px²"), ("_px", "px")):
        if column.endswith(suffix):
            return f"{column.removesuffix(suffix).replace('_', ' ')}, {unit}"
    return column.replace("_", " ")


def _how(page: Report, folder: Path, manifest: Mapping[str, Any]) -> None:
    options = {name: value for name, value in (manifest.get("options") or {}).items() if value is not None}
    facts = {
        "image": _image(manifest) or None,
        "run": manifest.get("run"),
        "spacing": _spacing(manifest) or None,
        "thresholds": manifest.get("thresholds") or manifest.get("classes"),
        "region": manifest.get("region"),
        "device": manifest.get("device"),
        **options,
    }
    page.section("How it was made").facts({name: value for name, value in facts.items() if value is not None})
    stages = manifest.get("stage_seconds") or {}
    if stages:
        page.facts({name: duration_text(seconds) for name, seconds in stages.items()}, fold="Time by stage")
    page.text("To score it against a truth:")
    page.code(f"malpighi evaluate {shlex.quote(str(folder))} TRUTH")
