"""The page of augmentations: a row of tiles a transform, masks outlined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from malpighi.reports.colors import RGB, class_colors
from malpighi.reports.display import display_rgb
from malpighi.reports.html import Report
from malpighi.reports.pictures import overlay

_SIDE = 256  # of a tile in the page
_GAP = 6  # pixels between tiles
_PAPER = 255


@dataclass(frozen=True, eq=False)
class Row:
    """One transform.

    Attributes:
        name: of it.
        words: how strong it is.
        images: (channel, y, x) each.
        targets: (class, y, x) each: 1, or a share of a half and more, inside.
    """

    name: str
    words: str
    images: Sequence[np.ndarray]
    targets: Sequence[np.ndarray]


def write_augmentations(
    page: Path, rows: Sequence[Row], cases: Sequence[str], classes: Sequence[str], what: str, where: str
) -> Path:
    """Write the page, or with the suffix .png one picture of all rows.

    Raises:
        OutputError: the file cannot be written.
    """
    colors = class_colors(list(classes))
    if page.suffix.lower() == ".png":
        from malpighi.annotations.files import replacing

        page.parent.mkdir(parents=True, exist_ok=True)
        with replacing(page) as part:
            part.write_bytes(_png(contact_sheet(rows, colors)))
        return page
    return augmentations_report(rows, cases, classes, what, where).write(page)


def augmentations_report(rows: Sequence[Row], cases: Sequence[str], classes: Sequence[str], what: str, where: str) -> Report:
    """The page, not yet written.

    Args:
        cases: what each column is of.
        what: "recipe NAME", or what else the transforms are of.
        where: the data set.
    """
    colors = class_colors(list(classes))
    report = Report("Augmentations", f"{what} on {where}", "augmentations")
    report.facts({"transforms": len({row.name for row in rows} - {"as read", "all together"}), "tiles": len(cases)})
    report.table([{"class": name} for name in classes], caption="Outlines", colors=colors)
    report.text(
        "Each transform alone, certain to happen: of several draws the one that changes the tile most (of two tiles in one, the middle one). "
        "The last rows show all together, each with its own chance, as training draws them."
    )
    for place, row in enumerate(rows):
        if row.name not in [section.title for section in report.sections]:
            report.section(row.name)
        report.figure(_png(strip(row, colors)), f"{row.words}; from the left: {', '.join(cases)}" if place == 0 else row.words)
    return report


def strip(row: Row, colors: Mapping[str, RGB]) -> np.ndarray:
    """The row's tiles side by side, (y, x, 3) uint8."""
    shown = [_tile(image, target, colors) for image, target in zip(row.images, row.targets, strict=True)]
    gap = np.full((shown[0].shape[0], _GAP, 3), _PAPER, np.uint8)
    return np.hstack([part for tile in shown for part in (tile, gap)][:-1])


def contact_sheet(rows: Sequence[Row], colors: Mapping[str, RGB]) -> np.ndarray:
    """All rows, one below another, each with its name: (y, x, 3) uint8."""
    sheet = []
    for row in rows:
        tiles = strip(row, colors)
        title = np.full((26, tiles.shape[1], 3), _PAPER, np.uint8)
        text = row.name if row.words.startswith(row.name) else f"{row.name}: "
        cv2.putText(
            title, text + row.words.removeprefix(row.name), (2, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40,) * 3, 1, cv2.LINE_AA
        )
        sheet += [title, tiles]
    return np.vstack(sheet)


def _tile(image: np.ndarray, target: np.ndarray, colors: Mapping[str, RGB]) -> np.ndarray:
    """One tile at `_SIDE` pixels or more, its masks outlined; 255 (nobody said) and NaN are outside."""
    inside = np.where(target == 255, 0, target) >= 0.5
    rgb = display_rgb(image)
    times = max(1, -(-_SIDE // max(rgb.shape[:2])))
    if times > 1:
        rgb, inside = rgb.repeat(times, 0).repeat(times, 1), inside.repeat(times, 1).repeat(times, 2)
    return overlay(rgb, inside, list(colors.values()), fill=0.0, dim=0.0)


def _png(rgb: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1])
