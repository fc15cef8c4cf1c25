"""Figures that show pixels: image beside truth and prediction, augmented samples, a slide with its outlines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from malpighi.annotations.base import UNLABELLED as NOBODY_SAID
from malpighi.geometry import Spacing
from malpighi.reports.colors import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    MUTED,
    RGB,
    TRUE_POSITIVE,
    UNLABELLED,
    class_colors,
    hex_color,
)
from malpighi.reports.display import display_rgb, middle_slice, shrink

PANEL = 640
"""Longest side of a panel in pixels: what a page 1,056 points wide shows of four panels on a fine screen."""


def comparison(
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    classes: Sequence[str],
    caption: str = "",
    spacing: Spacing | None = None,
    colors: Mapping[str, RGB] | None = None,
) -> Figure:
    """Image, truth, prediction and where the two agree, side by side.

    Of a volume, the z-slice with most of the truth is shown. In the last panel, wrong beats right: a pixel is drawn as a
    false positive or negative if any labelled class is wrong there.

    Args:
        image: (channel, y, x) or (channel, z, y, x), any dtype; see `display_rgb`.
        truth: (class, y, x) or (class, z, y, x): 1 inside, 0 outside, 255 where nobody said (hatched).
        prediction: of `truth`'s shape: nonzero inside.
        classes: one name a layer.
        caption: a line above the panels.
        spacing: of the arrays given, for the scale bar; no bar where it is None or in pixels.
        colors: class → (r, g, b); default `class_colors(classes)`.
    """
    image, truth, prediction = middle_slice(image, truth, prediction)
    colors = colors or class_colors(classes)
    wide = truth.shape[-1]
    image, truth, prediction = shrink(image, PANEL), shrink(truth, PANEL), shrink(prediction != 0, PANEL)
    rgb = display_rgb(image)
    silent = (truth == NOBODY_SAID).all(axis=0)
    unlabelled = [name for name, layer in zip(classes, truth, strict=True) if (layer == NOBODY_SAID).all()]
    speaks = (
        "" if not unlabelled or len(unlabelled) == len(classes) else f" of {_names(c for c in classes if c not in unlabelled)}"
    )

    figure, axes = _panels(1, 4, rgb.shape, below=0.57 if caption else 0.35)
    _show(axes[0], rgb, "Image")
    _show(axes[1], hatch(overlay(rgb, truth == 1, [colors[c] for c in classes]), silent), f"Truth{speaks}")
    _show(axes[2], overlay(rgb, prediction, [colors[c] for c in classes]), "Prediction")
    _show(axes[3], hatch(agreement(rgb, truth, prediction), silent), "Agreement")
    if spacing is not None and spacing.physical:
        scale_bar(axes[0], spacing.values[-1] * wide / rgb.shape[1], rgb.shape[1])
    keys = [(name, colors[name]) for name in classes]
    keys += [("right", TRUE_POSITIVE), ("too much", FALSE_POSITIVE), ("missed", FALSE_NEGATIVE)]
    _legend(figure, keys + ([("not labelled", UNLABELLED)] if silent.any() else []))
    if caption:
        figure.suptitle(caption, x=0.004, ha="left", fontsize=10, color=MUTED)
    return figure


def augmented_samples(images: np.ndarray, targets: np.ndarray, before: np.ndarray | None = None, limit: int = 6) -> Figure:
    """What the network sees in training: samples with their targets outlined; the same before augmentation above, if given.

    Of volumes and of thin tiles of slices the central slice is shown.

    Args:
        images: (sample, channel, y, x) or (sample, channel, z, y, x), augmented.
        targets: (sample, class, y, x) or with z: 1 inside, 255 where nobody said.
        before: the images before augmentation, in the same order.
        limit: samples shown.
    """
    count = min(limit, len(images))
    rows = 1 if before is None else 2
    palette = list(class_colors([str(i) for i in range(targets.shape[1])]).values())
    figure, axes = _panels(rows, count, images.shape[-2:], width=1.8)
    for i in range(count):
        image, target = display_rgb(_central(images[i])), _central(targets[i]) == 1
        times = max(1, 300 // max(image.shape))  # edges have a width in pixels; small tiles would be all edge
        image, target = image.repeat(times, 0).repeat(times, 1), target.repeat(times, 1).repeat(times, 2)
        _show(axes[rows - 1, i] if rows > 1 else axes[i], overlay(image, target, palette, fill=0.15, dim=0.0))
        if before is not None:
            _show(axes[0, i], display_rgb(_central(before[i])))
    if before is not None:
        for row, title in enumerate(("Before", "After")):
            axes[row, 0].set_title(title, loc="left", fontsize=9, color=MUTED)
    return figure


def _central(layers: np.ndarray) -> np.ndarray:
    """The central z-slice of (layer, z, y, x), the same before and after flips; (layer, y, x) as it is."""
    return layers[:, layers.shape[1] // 2] if layers.ndim == 4 else layers


def overview(
    image: np.ndarray,
    outlines: Mapping[str, Sequence[np.ndarray]],
    colors: Mapping[str, RGB] | None = None,
    spacing: Spacing | None = None,
) -> Figure:
    """A whole slide, small, with the outlines of what was found.

    Args:
        image: (channel, y, x) thumbnail.
        outlines: class → rings, each (n, 2) of (x, y) in pixels of the thumbnail.
        colors: class → (r, g, b).
        spacing: of the thumbnail.
    """
    colors = colors or class_colors(list(outlines))
    rgb = display_rgb(image)
    height, width = rgb.shape[:2]
    scale = min(9 / width, 8 / height)
    figure = Figure(figsize=(max(4.0, scale * width), scale * height + 0.5), layout="constrained")
    axes = figure.add_subplot()
    _show(axes, rgb)
    for name, rings in outlines.items():
        closed = [np.vstack([ring, ring[:1]]) for ring in rings if len(ring)]
        axes.add_collection(LineCollection(closed, colors=["white"], linewidths=2.6, alpha=0.8))  # seen on any stain
        axes.add_collection(LineCollection(closed, colors=[hex_color(colors[name])], linewidths=1.4))
    if spacing is not None and spacing.physical:
        scale_bar(axes, spacing.values[-1], width, thickness=0.004)
    _legend(figure, [(name, colors[name]) for name in outlines])
    return figure


def overlay(rgb: np.ndarray, masks: np.ndarray, colors: Sequence[RGB], fill: float = 0.38, dim: float = 0.25) -> np.ndarray:
    """The picture, a little paler, with every mask filled thinly and edged fully in its colour.

    Args:
        rgb: (y, x, 3) uint8.
        masks: (class, y, x) bool.
        colors: one (r, g, b) a class.
        fill: opacity of the inside.
        dim: how far the picture fades towards paper, or towards black where it is dark.
    """
    out = rgb.astype(np.float32) * (1 - dim) + _ground(rgb) * dim
    for mask, color in zip(masks, colors, strict=True):
        out[mask] = out[mask] * (1 - fill) + np.array(color, np.float32) * fill
    for mask, color in zip(masks, colors, strict=True):  # edges last: an inner class must not cover an outer one's edge
        out[_edge(mask)] = color
    return out.astype(np.uint8)


def agreement(rgb: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The picture in pale grey with true positives, false positives and false negatives of all labelled classes.

    Args:
        rgb: (y, x, 3) uint8.
        truth: (class, y, x): 1, 0 or 255.
        prediction: (class, y, x) bool.
    """
    known = truth != NOBODY_SAID
    inside = truth == 1
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    pale = grey * 0.45 + _ground(rgb) * 0.55
    out = np.repeat(pale[..., None], 3, axis=2)
    for where, color, opacity in (
        ((known & inside & prediction).any(axis=0), TRUE_POSITIVE, 0.8),
        ((known & ~inside & prediction).any(axis=0), FALSE_POSITIVE, 0.85),
        ((known & inside & ~prediction).any(axis=0), FALSE_NEGATIVE, 0.85),
    ):
        out[where] = pale[where][:, None] * (1 - opacity) + np.array(color, np.float32) * opacity
    return out.astype(np.uint8)


def hatch(rgb: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The picture with grey diagonal stripes where `where` (y, x) holds: nobody said what is there."""
    period = max(4, max(rgb.shape) // 50)
    y, x = np.indices(where.shape)
    out = rgb.copy()
    out[where] = (out[where] * 0.4 + np.array(UNLABELLED, np.float32) * 0.4 + 51).astype(np.uint8)
    stripe = where & ((y + x) % period < period // 3)
    out[stripe] = UNLABELLED
    return out


def scale_bar(axes: Axes, spacing: float, width: int, thickness: float = 0.008) -> None:
    """A bar of a round length, about a fifth of the picture, lower left. `spacing` is µm a pixel, `width` in pixels, `thickness` a share of it."""
    length = round_length(spacing * width / 5)
    height = axes.get_images()[0].get_array().shape[0]  # type: ignore[union-attr]
    x, y, thick = 0.035 * width, height - 0.035 * width, thickness * width
    axes.add_patch(_rectangle(x - 0.4 * thick, y - 1.4 * thick, length / spacing + 0.8 * thick, 1.8 * thick, "white"))
    axes.add_patch(_rectangle(x, y - thick, length / spacing, thick, "black"))
    label = f"{length:g} µm" if length < 1000 else f"{length / 1000:g} mm"
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "boxstyle": "round,pad=0.15"}
    axes.text(x, y - 2.4 * thick - 0.01 * width, label, color="black", fontsize=7, va="bottom", bbox=box)


def round_length(about: float) -> float:
    """The largest of 1, 2, 5 × 10ⁿ that is not above `about`."""
    power = 10.0 ** math.floor(math.log10(about))
    return power * max(step for step in (1, 2, 5) if step * power <= about * (1 + 1e-9))


def _ground(rgb: np.ndarray) -> float:
    """Grey value that the picture fades into: paper for stained tissue, near-black for fluorescence."""
    return 235.0 if rgb.mean() > 80 else 20.0


def _edge(mask: np.ndarray) -> np.ndarray:
    thick = max(2, max(mask.shape) // 250)
    kernel = np.ones((3, 3), np.uint8)
    # the picture's border is no edge of the object
    inner = cv2.erode(mask.astype(np.uint8), kernel, iterations=thick, borderType=cv2.BORDER_REPLICATE)
    return mask & (inner == 0)


def _rectangle(x: float, y: float, width: float, height: float, color: str) -> Patch:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, facecolor=color, edgecolor="none")


def _panels(
    rows: int, columns: int, shape: Sequence[float], width: float = 2.9, below: float = 0.0
) -> tuple[Figure, np.ndarray]:
    height = width * shape[0] / shape[1]
    figure = Figure(figsize=(columns * width, rows * (height + 0.27) + below), layout="compressed")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.05, wspace=0.01, hspace=0.01)  # type: ignore[union-attr, call-arg]
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes[0] if rows == 1 else axes


def _show(axes: Axes, rgb: np.ndarray, title: str = "") -> None:
    axes.imshow(rgb)
    axes.set_axis_off()
    if title:
        axes.set_title(title, loc="left", fontsize=9, color=MUTED)


def _legend(figure: Figure, keys: Sequence[tuple[str, RGB]]) -> None:
    if keys:
        handles = [Patch(facecolor=hex_color(color), label=name) for name, color in keys]
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=min(len(keys), 8),
            frameon=False,
            fontsize=9,
            labelcolor=MUTED,
            handlelength=1,
            handleheight=1,
        )


def _names(names: object) -> str:
    return ", ".join(names)  # type: ignore[arg-type]
