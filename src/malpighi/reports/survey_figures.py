"""Figures of `inspect`: how many cases of what, how large, how bright, and what they look like."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from malpighi.annotations.base import UNLABELLED
from malpighi.reports.colors import INK, MUTED, RGB, class_colors, hex_color
from malpighi.reports.display import Stretch, display_rgb, middle_slice, shrink
from malpighi.reports.pictures import hatch, overlay
from malpighi.reports.plots import _quiet
from malpighi.reports.words import value_text

_BAR: RGB = (139, 79, 122)
_LIGHTS: tuple[RGB, ...] = ((204, 60, 60), (40, 150, 70), (50, 90, 200), (190, 160, 30), (40, 160, 170), (170, 70, 170))


def count_bars(counts: Mapping[str, int], colors: Mapping[str, RGB] | None = None, most: int = 24) -> Figure:
    """Cases by value, as bars with their numbers; past `most` values the rest is one bar."""
    held = dict(list(counts.items())[:most])
    if len(counts) > most:
        held[f"{len(counts) - most} others"] = sum(list(counts.values())[most:])
    figure = Figure(figsize=(4.4, 0.6 + 0.3 * len(held)), layout="constrained")
    axes = _quiet(figure.add_subplot(), grid="x")
    places = np.arange(len(held))
    axes.barh(places, list(held.values()), 0.72, color=[hex_color((colors or {}).get(name, _BAR)) for name in held], alpha=0.8)
    for place, count in zip(places, held.values(), strict=True):
        axes.annotate(
            value_text(count), (count, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9, color=INK
        )
    axes.set_yticks(places, [name if len(name) <= 28 else name[:27] + "…" for name in held], color=INK)
    axes.set_ylim(len(held) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.margins(x=0.1)
    return figure


def size_scatter(shapes: Sequence[tuple[int, ...]]) -> Figure:
    """Width against height of the images; a larger dot stands for more images of one size, the commonest is written."""
    figure = Figure(figsize=(5.4, 3.1), layout="constrained")
    axes = _quiet(figure.add_subplot(), grid="both")
    sizes, counts = np.unique(np.array([shape[-2:] for shape in shapes]), axis=0, return_counts=True)
    axes.scatter(sizes[:, 1], sizes[:, 0], 20 + 220 * counts / counts.max(), color=hex_color(_BAR), alpha=0.55, lw=0)
    (height, width), count = sizes[counts.argmax()], counts.max()
    text = f"{value_text(int(height))} × {value_text(int(width))}: {value_text(int(count))} images"
    axes.annotate(text, (width, height), xytext=(0, 12), textcoords="offset points", fontsize=9, color=INK, ha="center")
    for axis, values in ((axes.set_xscale, sizes[:, 1]), (axes.set_yscale, sizes[:, 0])):
        if values.max() > 20 * values.min():
            axis("log")
    axes.margins(0.22)
    axes.set_xlabel("width, pixels", color=MUTED, fontsize=9)
    axes.set_ylabel("height, pixels", color=MUTED, fontsize=9)
    return figure


def intensity_lines(values: Sequence[np.ndarray], channels: Sequence[str], dtype: str) -> Figure:
    """Share of pixels by intensity, one line a channel.

    Args:
        values: (channel, n) of each image; every image has the same weight.
        channels: their names.
        dtype: of the images, for the axis.
    """
    figure = Figure(figsize=(5.4, 3.1), layout="constrained")
    axes = _quiet(figure.add_subplot())
    together = [np.concatenate([image[k] for image in values]) for k in range(len(channels))]
    together = [channel[np.isfinite(channel)] for channel in together]
    edges = _edges(np.concatenate(together), dtype)
    named = {"red": _LIGHTS[0], "green": _LIGHTS[1], "blue": _LIGHTS[2], "yellow": _LIGHTS[3]}
    for k, (name, channel) in enumerate(zip(channels, together, strict=True)):
        color = INK if len(channels) == 1 else hex_color(named.get(name.lower(), _LIGHTS[k % len(_LIGHTS)]))
        share = np.histogram(np.clip(channel, edges[0], edges[-1]), edges)[0] / max(1, len(channel))
        axes.stairs(100 * share, edges, color=color, lw=1.6, label=name)
        axes.stairs(100 * share, edges, color=color, fill=True, alpha=0.1)
    axes.set_xlabel(f"intensity ({dtype})", color=MUTED, fontsize=9)
    axes.set_ylabel("% of pixels", color=MUTED, fontsize=9)
    if len(channels) > 1:
        axes.legend(frameon=False, fontsize=9, labelcolor=INK, ncols=2)
    return figure


def share_dots(shares: Mapping[str, Sequence[float]], colors: Mapping[str, RGB] | None = None) -> Figure:
    """Share of the labelled area that each class covers, one dot an image, with the median.

    Args:
        shares: class → share of each image, 0 … 1.
        colors: class → (r, g, b).
    """
    figure = Figure(figsize=(5.4, 0.8 + 0.42 * len(shares)), layout="constrained")
    axes = _quiet(figure.add_subplot(), grid="x")
    colors = colors or class_colors(list(shares))
    jitter = np.random.default_rng(0)
    for place, (name, values) in enumerate(shares.items()):
        color = hex_color(colors[name])
        axes.scatter(
            100 * np.asarray(values), place + jitter.uniform(-0.22, 0.22, len(values)), 12, color=color, alpha=0.5, lw=0
        )
        axes.plot([100 * np.median(values)] * 2, [place - 0.34, place + 0.34], color=color, lw=2.2)
    axes.set_yticks(range(len(shares)), list(shares), color=INK)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel("% of the labelled area; the line is the median", color=MUTED, fontsize=9)
    return figure


def labelled_picture(image: np.ndarray, layers: np.ndarray | None, colors: Sequence[RGB], longest: int = 360) -> bytes:
    """An image with its labels drawn on it, as PNG; where no class is labelled, hatched. Volumes by their fullest slice.

    Args:
        image: (channel, y, x) or (channel, z, y, x).
        layers: (class, *spatial) as `Annotation.rasterise` draws them; None: not annotated.
        colors: one a class.
        longest: pixels of the longer side.
    """
    from PIL import Image

    if layers is None:
        layers = np.zeros((0, *image.shape[1:]), np.uint8)
    image, layers, _ = middle_slice(image, layers, layers) if len(layers) else (_middle(image), _middle(layers), layers)
    rgb = display_rgb(shrink(image, longest))
    if len(layers):
        small = shrink(layers, longest)
        rgb = _haloed(rgb, small == 1)
        rgb = hatch(overlay(rgb, small == 1, colors, fill=0.25, dim=0.0), (small == UNLABELLED).all(axis=0))
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format="png")
    return buffer.getvalue()


def orthogonal_picture(
    image: np.ndarray, layers: np.ndarray | None, spacing: Sequence[float], colors: Sequence[RGB], longest: int = 480
) -> bytes:
    """A volume by one slice across each axis, in true proportions, with its labels drawn on them, as PNG.

    The slices are those that hold most of the labels, else the middle ones: y × x upper left, z × x below, y × z beside it.

    Args:
        image: (channel, z, y, x).
        layers: (class, z, y, x) as `Annotation.rasterise` draws them; None: not annotated.
        spacing: size of a voxel by axis.
        colors: one a class.
        longest: of the picture's sides, pixels, about.
    """
    import cv2
    from PIL import Image

    stretch = Stretch(image)
    sides = [n * s for n, s in zip(image.shape[1:], spacing, strict=True)]
    scale = longest / max(sides[0] + sides[1], sides[0] + sides[2])
    z, y, x = (max(12, round(side * scale)) for side in sides)
    gap = 4
    canvas = np.zeros((y + gap + z, x + gap + z, 3), np.uint8)
    canvas[:] = 128
    canvas[y + gap :, x + gap :] = 255
    for axis, (top, left, size) in enumerate(((0, 0, (x, y)), (y + gap, 0, (x, z)), (0, x + gap, (z, y)))):
        place = _fullest(layers, image.shape[1:], axis)
        plane = stretch.rgb(np.take(image, place, axis + 1))
        drawn = np.zeros((0, *plane.shape[:2]), np.uint8) if layers is None else np.take(layers, place, axis + 1)
        if axis == 2:  # z runs to the right beside the y × x slice
            plane, drawn = np.ascontiguousarray(plane.swapaxes(0, 1)), drawn.swapaxes(1, 2)
        rgb = cv2.resize(plane, size, interpolation=cv2.INTER_AREA if size[0] < plane.shape[1] else cv2.INTER_LINEAR)
        masks = [cv2.resize(np.ascontiguousarray(d), size, interpolation=cv2.INTER_NEAREST) for d in drawn]
        if masks:
            small = np.stack(masks)
            rgb = hatch(overlay(rgb, small == 1, colors, fill=0.3, dim=0.0), (small == UNLABELLED).all(axis=0))
        canvas[top : top + size[1], left : left + size[0]] = rgb
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, format="png")
    return buffer.getvalue()


def _fullest(layers: np.ndarray | None, shape: Sequence[int], axis: int) -> int:
    others = tuple(i for i in range(4) if i != axis + 1)
    held = np.zeros(shape[axis]) if layers is None else (layers == 1).sum(axis=others)
    return int(held.argmax()) if held.any() else shape[axis] // 2


def slice_drift(volumes: Mapping[str, np.ndarray], most: int = 8) -> Figure:
    """Intensity by slice along z: the median, and between which values nine tenths lie. A drift or a jump shows as a slope or a step.

    Args:
        volumes: name → (channel, z, y, x), the first channel is shown.
        most: volumes drawn.
    """
    figure = Figure(figsize=(5.4, 3.1), layout="constrained")
    axes = _quiet(figure.add_subplot(), grid="both")
    for (name, image), color in zip(list(volumes.items())[:most], class_colors(list(volumes)).values(), strict=False):
        flat = image[0].reshape(image.shape[1], -1)
        low, middle, high = np.percentile(flat[:, :: max(1, flat.shape[1] >> 16)].astype(np.float32), (5, 50, 95), axis=1)
        place = 100 * (np.arange(len(flat)) + 0.5) / len(flat)
        axes.fill_between(place, low, high, color=hex_color(color), alpha=0.12, lw=0)
        axes.plot(place, middle, color=hex_color(color), lw=1.6, label=name if len(name) <= 24 else name[:23] + "…")
    axes.set_xlim(0, 100)
    axes.set_xlabel("place along z, %", color=MUTED, fontsize=9)
    axes.set_ylabel("intensity", color=MUTED, fontsize=9)
    if len(volumes) > 1:
        axes.legend(frameon=False, fontsize=7, labelcolor=INK, ncols=2)
    return figure


def _haloed(rgb: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """A white rim just outside every object: a pink class on pink tissue is seen by it."""
    import cv2

    out = rgb.copy()
    for mask in masks:
        grown = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
        out[(grown > 0) & ~mask] = 255
    return out


def _middle(image: np.ndarray) -> np.ndarray:
    return image[:, image.shape[1] // 2] if image.ndim == 4 else image


def _edges(values: np.ndarray, dtype: str, bins: int = 64) -> np.ndarray:
    """The whole range of 8-bit images; of others that of all but the outermost values."""
    if dtype == "uint8":
        return np.linspace(0, 256, bins + 1)
    low, high = np.percentile(values, (0.1, 99.9)) if len(values) else (0, 1)
    return np.linspace(low, high if high > low else low + 1, bins + 1)
