"""Pictures of cells: sheets of crops by class, maps over the protein, images with every cell outlined. Arrays in, PNG out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from malpighi.errors import DataError
from malpighi.reports.cells_composite import composite, stretch_limits
from malpighi.reports.colors import FALSE_POSITIVE, RGB, class_colors
from malpighi.reports.display import shrink

_FONT = cv2.FONT_HERSHEY_DUPLEX
_GROUND, _TEXT, _QUIET = (20, 21, 25), (235, 235, 238), (150, 153, 160)
_GAP = 4


def contact_sheet(
    crops: np.ndarray | Sequence[np.ndarray],
    predicted: Sequence[str],
    scores: Sequence[float],
    classes: Sequence[str],
    *,
    truth: Sequence[Sequence[str] | None] | None = None,
    channels: Sequence[str] = ("red", "green", "blue", "yellow"),
    limits: Sequence[np.ndarray] | None = None,
    counts: Mapping[str, int] | None = None,
    columns: int = 8,
    side: int = 112,
) -> bytes:
    """Cells by predicted class: a row a class, the highest score first, the score below each.

    Args:
        crops: (cell, channel, y, x), or one (channel, y, x) a cell, any dtype.
        predicted: a class a cell; cells of other classes ("" for none) are left out.
        scores: one a cell, 0 … 1.
        classes: rows, in this order; a class without cells has an empty row that says so.
        truth: a cell's true classes, None where nobody knows. A cell whose predicted class is not among them gets a frame.
        channels: as in `composite`.
        limits: one (channel, 2) a cell, as in `composite`; default each crop by itself, but no darker
            channel is brightened to more than twice what is usual: a cell without protein stays dark.
        counts: class → cells in all, where not all of them are given; it stands in the row's heading.
        columns: cells a row.
        side: of a cell, pixels.

    Returns:
        PNG.
    """
    if not len(crops) == len(predicted) == len(scores):
        raise DataError(
            f"contact sheet: {len(crops)} crops, {len(predicted)} classes, {len(scores)} scores; one of each a cell"
        )
    limits = _sheet_limits(crops) if limits is None and len(crops) else limits
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    colors = class_colors(classes)
    rows = []
    for name in classes:
        found = [int(i) for i in order if predicted[i] == name]
        tiles = []
        for i in found[:columns]:
            rgb = composite(np.asarray(crops[i]), channels, limits=None if limits is None else limits[i])
            known = truth[i] if truth is not None else None
            tiles.append(_tile(rgb, float(scores[i]), known is not None and name not in known, side))
        rows.append(
            _row(tiles, name, len(found) if counts is None else counts.get(name, len(found)), colors[name], columns, side)
        )
    return _png(np.vstack(rows) if rows else np.full((32, 200, 3), _GROUND, np.uint8))


def map_overlays(
    image: np.ndarray,
    maps: np.ndarray,
    labels: np.ndarray | None,
    names: Sequence[str],
    scores: Sequence[float] | None = None,
    *,
    protein: int = 1,
    holds: Sequence[bool] | None = None,
    columns: int = 4,
    side: int = 320,
) -> bytes:
    """Class by class: the class's map as heat over the protein channel in grey, with the outlines of cells.

    Args:
        image: (channel, y, x), any dtype.
        maps: (class, y, x), 0 … 1, of any size; brought to the picture's.
        labels: (y, x) cell numbers, 0 outside; of `image`'s size. None: no outlines.
        names: one a map.
        scores: score of the image a class, written beside the name.
        protein: channel that is shown.
        holds: whether the image is labelled so; such names are marked with a dot.
        columns: panels a row.
        side: longer side of a panel, pixels.

    Returns:
        PNG: the protein alone first, then a panel a class.
    """
    if maps.ndim != 3 or len(maps) != len(names):
        raise DataError(f"map overlays: maps of shape {maps.shape} and {len(names)} names; they are (class, y, x)")
    grey = _grey(shrink(image[protein : protein + 1], side)[0])
    edges = None if labels is None else _outlines(_resized(labels, grey.shape))
    panels = [_captioned(_edged(np.repeat(grey[..., None], 3, 2), edges), "protein", False)]
    for i, name in enumerate(names):
        heat = np.clip(cv2.resize(maps[i].astype(np.float32), grey.shape[::-1], interpolation=cv2.INTER_LINEAR), 0, 1)
        said = name if scores is None else f"{name} {scores[i]:.2f}"
        panels.append(_captioned(_edged(_heated(grey, heat), edges), said, bool(holds is not None and holds[i])))
    blank = np.full_like(panels[0], _GROUND)
    panels += [blank] * (-len(panels) % columns if len(panels) > columns else 0)
    wide = min(columns, len(panels))
    return _png(np.vstack([np.hstack(panels[i : i + wide]) for i in range(0, len(panels), wide)]))


def outlined(
    image: np.ndarray,
    labels: np.ndarray,
    names: Mapping[int, str],
    classes: Sequence[str],
    *,
    channels: Sequence[str] = ("red", "green", "blue", "yellow"),
    side: int = 1400,
) -> bytes:
    """The image with every cell outlined in the colour of its class, and a key below.

    Args:
        image: (channel, y, x), any dtype.
        labels: (y, x) cell numbers, 0 outside.
        names: cell number → class; cells that are not in it are outlined in grey.
        classes: order and colours.
        channels: as in `composite`.
        side: longer side of the picture, pixels.

    Returns:
        PNG.
    """
    rgb = composite(shrink(image, side), channels)
    times = max(1, side // max(rgb.shape))  # outlines are one pixel wide: a small picture would be all outline
    rgb = rgb.repeat(times, 0).repeat(times, 1)
    small = _resized(labels, (rgb.shape[0], rgb.shape[1]))
    colors = class_colors(classes)
    palette = np.full((int(small.max()) + 1, 3), _QUIET, np.uint8)
    for number, name in names.items():
        if 0 < number < len(palette) and name in colors:
            palette[number] = _light(colors[name])
    edge = _outlines(small, 5 if max(small.shape) >= 700 else 3)
    rgb[edge] = palette[small[edge]]
    held = set(names.values())
    return _png(np.vstack([rgb, _key([(name, _light(colors[name])) for name in classes if name in held], rgb.shape[1])]))


def _sheet_limits(crops: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    """(channel, 2) a crop: its own percentiles, the upper one at least half the median of all crops."""
    limits = np.array([stretch_limits(np.asarray(crop)) for crop in crops])  # (cell, channel, 2)
    limits[..., 1] = np.maximum(limits[..., 1], 0.5 * np.median(limits[..., 1], axis=0))
    return list(limits)


def _tile(rgb: np.ndarray, score: float, wrong: bool, side: int) -> np.ndarray:
    """A square cell with its score below, framed where it is wrong."""
    factor = side / max(rgb.shape[:2])
    height, width = (max(1, round(n * factor)) for n in rgb.shape[:2])
    kind = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    out = np.full((side + 20, side, 3), _GROUND, np.uint8)
    y, x = (side - height) // 2, (side - width) // 2
    out[y : y + height, x : x + width] = cv2.resize(rgb, (width, height), interpolation=kind)
    if wrong:
        cv2.rectangle(out, (1, 1), (side - 2, side - 2), FALSE_POSITIVE, 3)
    text = f"{score:.2f}" + ("  wrong" if wrong else "")
    cv2.putText(out, text, (3, side + 15), _FONT, 0.42, (230, 150, 60) if wrong else _QUIET, 1, cv2.LINE_AA)
    return out


def _row(tiles: list[np.ndarray], name: str, count: int, color: RGB, columns: int, side: int) -> np.ndarray:
    """A heading with the class's name and number of cells, and its tiles below."""
    width = columns * (side + _GAP) + _GAP
    head = np.full((24, width, 3), _GROUND, np.uint8)
    cv2.rectangle(head, (_GAP, 8), (_GAP + 10, 18), tuple(map(int, _light(color))), -1)
    cells = f"{count} cell{'' if count == 1 else 's'}" if count else "no cell"
    cv2.putText(head, f"{_plain(name)}   {cells}", (_GAP + 18, 18), _FONT, 0.45, _TEXT, 1, cv2.LINE_AA)
    if not tiles:
        return head
    body = np.full((side + 20 + _GAP, width, 3), _GROUND, np.uint8)
    for i, tile in enumerate(tiles):
        at = _GAP + i * (side + _GAP)
        body[: side + 20, at : at + side] = tile
    return np.vstack([head, body])


def _captioned(rgb: np.ndarray, text: str, dot: bool) -> np.ndarray:
    """A panel with a line above; a dot where the image is labelled so."""
    head = np.full((24, rgb.shape[1], 3), _GROUND, np.uint8)
    if dot:
        cv2.circle(head, (9, 13), 5, _TEXT, -1, cv2.LINE_AA)
    cv2.putText(head, _plain(text), (20 if dot else 4, 17), _FONT, 0.43, _TEXT if dot else _QUIET, 1, cv2.LINE_AA)
    return np.pad(np.vstack([head, rgb]), ((0, _GAP), (0, _GAP), (0, 0)), constant_values=_GROUND[0])


def _heated(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Heat (dark violet to yellow) over grey, the more the hotter."""
    warm = cv2.cvtColor(cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    opacity = (0.75 * heat**0.7)[..., None]
    return (grey[..., None] * (1 - opacity) + warm * opacity).astype(np.uint8)


def _edged(rgb: np.ndarray, edges: np.ndarray | None) -> np.ndarray:
    if edges is not None:
        rgb[edges] = (rgb[edges] * 0.4 + np.array([86, 180, 233]) * 0.6).astype(np.uint8)
    return rgb


def _grey(plane: np.ndarray) -> np.ndarray:
    low, high = stretch_limits(plane[None])[0]
    return (np.clip((plane.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)


def _outlines(labels: np.ndarray, side: int = 3) -> np.ndarray:
    """(y, x) bool: the cells' own outermost pixels, (side - 1) / 2 deep. Where two touch both have one."""
    kernel = np.ones((side, side), np.uint8)
    held = labels.astype(np.float32)  # cv2 takes no int32
    return (labels > 0) & ((cv2.dilate(held, kernel) != held) | (cv2.erode(held, kernel) != held))


def _resized(labels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Label image of another size, by pixel centres."""
    y = ((np.arange(shape[0]) + 0.5) * labels.shape[0] / shape[0]).astype(int)
    x = ((np.arange(shape[1]) + 0.5) * labels.shape[1] / shape[1]).astype(int)
    return labels[y[:, None], x].astype(np.int32)


def _key(keys: Sequence[tuple[str, np.ndarray]], width: int) -> np.ndarray:
    """Swatches and names, as many lines as they need."""
    places, x, y = [], 10, 0
    for name, color in keys:
        need = 34 + cv2.getTextSize(_plain(name), _FONT, 0.6, 1)[0][0] + 18
        if x + need > width and x > 10:
            x, y = 10, y + 30
        places.append((name, color, x, y))
        x += need
    out = np.full((y + 36 if keys else 0, width, 3), _GROUND, np.uint8)
    for name, color, x, y in places:
        cv2.rectangle(out, (x, y + 11), (x + 15, y + 26), tuple(map(int, color)), -1)
        cv2.putText(out, _plain(name), (x + 24, y + 25), _FONT, 0.6, _TEXT, 1, cv2.LINE_AA)
    return out


def _light(color: RGB) -> np.ndarray:
    """A class's colour, light enough for a dark picture."""
    held = np.array(color, np.float32)
    return np.clip(held + (255 - held) * 0.15, 0, 255).astype(np.uint8)


def _plain(text: str) -> str:
    """What OpenCV's fonts can draw: ASCII."""
    return text.replace("–", "-").replace("µ", "u").encode("ascii", "replace").decode()


def _png(rgb: np.ndarray) -> bytes:
    done, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    if not done:
        raise DataError(f"a picture of shape {rgb.shape} cannot be written as PNG")
    return data.tobytes()
