"""Slices of a volume with the mask lit up: a sheet to look over, and a browser that runs in the page."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from malpighi.errors import DataError
from malpighi.geometry import Box, Spacing
from malpighi.images import Source
from malpighi.reports.colors import RGB
from malpighi.reports.display import Stretch
from malpighi.reports.pictures import _legend, _panels, _show, hatch, scale_bar
from malpighi.reports.volume import SILENT, Masks, VolumeView, check, code_colors, read_codes
from malpighi.reports.words import value_text

AXES = ("z", "y", "x")
PANEL = 420
"""Longest side of a slice in a sheet, pixels."""
SHOWN = 64
"""Slices along each axis in a browser; more make the page heavy and are not told apart."""
MEGABYTES = 6.0
"""What a browser may add to a page: slices are dropped, evenly, until it does."""


# -- the sheet ---------------------------------------------------------------------------------------------------
def slice_sheet(
    source: Source, masks: Masks, view: VolumeView, axis: str = "z", count: int = 8, spread: str = "fullest"
) -> Figure:
    """Slices across a volume, evenly spread, with what truth and prediction say of them.

    Slices are read anew, finer than `view`; it only tells which are worth reading.

    Args:
        source: the volume.
        masks: "truth", "prediction", both or none.
        view: of the same, see `read_view`.
        axis: across which the slices lie.
        count: slices shown, fewer where the volume has fewer.
        spread: "even", or "fullest": of `count` equal spans of the axis, the slice that holds most of the masks.

    Raises:
        DataError: the axis is none of z, y, x.
    """
    check(source.space, masks)
    along = axis_number(axis)
    chosen = choose_slices(view.codes, along, count, spread)
    columns = min(len(chosen), 4)
    rows = -(-len(chosen) // columns)
    width, height = plane_extent(view, along)
    aspect = min(max(height / width, 0.12), 2.0)
    figure, axes = _panels(rows, columns, (aspect, 1.0), below=0.35)
    stretch = Stretch(view.image)
    for panel in axes.ravel():
        panel.set_axis_off()
    for number, (place, panel) in enumerate(zip(chosen, axes.ravel(), strict=False)):
        spacing, box = _fine(source, view, along, place)
        codes = np.take(read_codes(masks, box, spacing), 0, along) if masks else np.zeros(_plane(box.size, along), np.uint8)
        rgb = stretch.rgb(np.take(source.read_at(box, spacing, pad="edge"), 0, along + 1))
        where = (place + 0.5) * view.spacing.values[along]
        _show(panel, light_up(rgb, codes, code_colors(tuple(masks))), f"{axis} {value_text(float(where))} {spacing.unit}")
        down, across = (s for i, s in enumerate(spacing.values) if i != along)
        panel.set_aspect(down / across)
        if number == 0 and spacing.physical:
            scale_bar(panel, across, rgb.shape[1])
    colors = code_colors(tuple(masks))
    _legend(figure, [(name, colors[code]) for code, name in view.names().items()])
    return figure


def axis_number(axis: str) -> int:
    """Place of an axis in (z, y, x)."""
    if axis not in AXES:
        raise DataError(f"axis {axis!r}: slices lie across z, y or x")
    return AXES.index(axis)


def choose_slices(codes: np.ndarray, along: int, count: int, spread: str = "fullest") -> list[int]:
    """Indices along an axis of `codes`, one in each of `count` equal spans: its middle, or the slice that holds most."""
    amount = ((codes > 0) & (codes != SILENT)).sum(axis=tuple(i for i in range(3) if i != along))
    spans = np.array_split(np.arange(len(amount)), min(count, len(amount)))
    if spread == "fullest":
        return [int(span[amount[span].argmax()]) if amount[span].any() else int(span[len(span) // 2]) for span in spans]
    return [int(span[len(span) // 2]) for span in spans]


def light_up(rgb: np.ndarray, codes: np.ndarray, colors: dict[int, RGB], fill: float = 0.6) -> np.ndarray:
    """The slice, darkened a little, with every code glowing in its colour; what nobody labelled is hatched.

    Args:
        rgb: (y, x, 3) uint8.
        codes: (y, x), see `volume.compare`.
        colors: code → (r, g, b).
        fill: opacity of the colours.
    """
    out = rgb.astype(np.float32) * (0.85 if codes.any() else 1.0)
    for code, color in colors.items():
        if code != SILENT:
            where = codes == code
            out[where] = out[where] * (1 - fill) + np.array(color, np.float32) * fill
    shown = out.astype(np.uint8)
    return hatch(shown, codes == SILENT) if (codes == SILENT).any() else shown


def plane_extent(view: VolumeView, along: int) -> tuple[float, float]:
    """(width, height) of a slice in the unit of the spacing."""
    sides = [n * s for n, s in zip(view.codes.shape, view.spacing.values, strict=True)]
    height, width = _plane(sides, along)
    return width, height


def _plane(values: Sequence, along: int) -> tuple:
    return tuple(value for i, value in enumerate(values) if i != along)


def _fine(source: Source, view: VolumeView, along: int, place: int) -> tuple[Spacing, Box]:
    """Grid and box of one slice at the size of a sheet's panel: as thin as the volume's own voxels allow, in its middle."""
    own, sides = source.space.spacing.values, [n * s for n, s in zip(source.shape, source.space.spacing.values, strict=True)]
    pixel = max(_plane(sides, along)) / PANEL
    values = tuple(own[i] if i == along else max(own[i], pixel) for i in range(3))
    spacing = Spacing(values, source.space.spacing.unit)
    shape = source.space.shape_at(spacing)
    index = min(int((place + 0.5) * view.spacing.values[along] / own[along]), shape[along] - 1)
    start = tuple(index if i == along else 0 for i in range(3))
    return spacing, Box(start, tuple(1 if i == along else shape[i] for i in range(3)))


# -- the browser -------------------------------------------------------------------------------------------------
def slice_browser(view: VolumeView, title: str = "", megabytes: float = MEGABYTES) -> Markup:
    """HTML of a slice browser: slider and keys, choice of axis, masks on and off, opacity, true proportions.

    Slices are WebP, masks are PNG, all inside the page; the page needs `Report`, which adds the script.

    Args:
        view: see `read_view`.
        title: what the screen reader calls it.
        megabytes: most that may be added to the page; slices are left out, evenly, until it fits.
    """
    stretch = Stretch(view.image)
    shown = SHOWN
    while True:
        planes = [_planes(view, along, stretch, shown) for along in range(3)]
        data = json.dumps({
            "planes": planes,
            "names": view.names(),
            "colors": {code: list(color) for code, color in code_colors(view.masks).items()},
            "unit": view.spacing.unit,
            "title": title,
        }, ensure_ascii=False).replace("<", "\\u003c")  # fmt: skip
        if len(data) <= megabytes * 1e6 or shown <= 8:
            return Markup(
                '<div class="view slices" data-view="slices"><script type="application/json">{}</script></div>'
            ).format(Markup(data))
        shown = max(8, int(shown * megabytes * 0.95e6 / len(data)))


def _planes(view: VolumeView, along: int, stretch: Stretch, shown: int) -> dict[str, object]:
    """All that the page needs to show slices across one axis."""
    total = view.codes.shape[along]
    places = sorted({round(p) for p in np.linspace(0, total - 1, min(shown, total))})
    width, height = plane_extent(view, along)
    return {
        "axis": AXES[along],
        "width": width,
        "height": height,
        "at": [round((place + 0.5) * view.spacing.values[along], 4) for place in places],
        "images": [_webp(stretch.rgb(np.take(view.image, place, along + 1))) for place in places],
        "masks": [_code_png(np.take(view.codes, place, along)) for place in places] if view.masks else [],
        "first": places.index(_fullest(view.codes, along, places)),
    }


def _fullest(codes: np.ndarray, along: int, places: list[int]) -> int:
    amounts = [int(((plane := np.take(codes, place, along)) > 0).sum() - (plane == SILENT).sum()) for place in places]
    return places[int(np.argmax(amounts))] if any(amounts) else places[len(places) // 2]


def _webp(rgb: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format="webp", quality=72, method=3)
    return base64.b64encode(buffer.getvalue()).decode()


def _code_png(codes: np.ndarray) -> str:
    """Codes as the grey values of a PNG; nothing where the slice is empty."""
    if not codes.any():
        return ""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(codes).save(buffer, format="png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
