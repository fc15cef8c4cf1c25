"""The cells of a phantom as pixels: who owns each, how deep in the cell and in the nucleus it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from malpighi.phantoms.cell_layout import ANGLES, Site
from malpighi.phantoms.cell_texture import smooth

OUTSIDE = 9.0
"""`Shapes.rho` where there is no cell."""
Window = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Shapes:
    """Fields over the canvas, (y, x) each.

    Attributes:
        labels: int32; cell n belongs to site n - 1; 0 outside.
        rho: float32, distance from the nucleus's centre in radii of it in that direction: below 1 lies the nucleus.
        edge: float32, px to the cell's border, 0 outside.
        away: float32, px from the cell's nucleus, 0 inside it and outside of cells.
        windows: a box around each cell.
    """

    labels: np.ndarray
    rho: np.ndarray
    edge: np.ndarray
    away: np.ndarray
    windows: tuple[Window, ...]

    @property
    def nuclei(self) -> np.ndarray:
        """(y, x) int32: the nucleus of cell n is n."""
        return np.where(self.rho < 1, self.labels, 0).astype(np.int32)


def grow(sites: Sequence[Site], shape: tuple[int, int], diameter: float, rng: np.random.Generator) -> Shapes:
    """Each pixel goes to the cell in whose reach it lies deepest: cells that meet share a border and never overlap.

    A weighted Voronoi diagram on coordinates that smooth noise has warped; a nucleus is always its own cell's.
    """
    warp = [
        0.05 * diameter * smooth(shape, 0.28 * diameter, rng) + 0.008 * diameter * smooth(shape, 0.05 * diameter, rng)
        for _ in range(2)
    ]
    labels = np.zeros(shape, np.int32)
    rho = np.full(shape, OUTSIDE, np.float32)
    best = np.ones(shape, np.float32)
    windows = tuple(_window(site, shape, diameter) for site in sites)
    for number, (site, window) in enumerate(zip(sites, windows, strict=True), 1):
        depth, nuclear = _depth(site, window, warp)
        won = depth < best[window]
        best[window][won] = depth[won]
        labels[window][won] = number
        rho[window][won] = nuclear[won]
    edge, away = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for number, window in enumerate(windows, 1):
        _connect(number, labels[window], rho[window])
    for number, window in enumerate(windows, 1):  # after all have lost their stray pieces, which leave holes in others
        _measure(number, labels[window], rho[window], edge[window], away[window])
    return Shapes(labels, rho, edge, away, windows)


def renumbered(shapes: Shapes, keep: Sequence[int]) -> Shapes:
    """Only the cells `keep`, as 1 … n; nothing is left of the others."""
    table = np.zeros(len(shapes.windows) + 1, np.int32)
    table[list(keep)] = np.arange(1, len(keep) + 1)
    labels = table[shapes.labels]
    gone = labels == 0
    edge, away, rho = shapes.edge.copy(), shapes.away.copy(), shapes.rho.copy()
    edge[gone], away[gone], rho[gone] = 0, 0, OUTSIDE
    return Shapes(labels, rho, edge, away, tuple(shapes.windows[n - 1] for n in keep))


def _window(site: Site, shape: tuple[int, int], diameter: float) -> Window:
    half = float(site.reach.max()) + 0.2 * diameter
    low = [max(0, int(c - half)) for c in site.center]
    high = [max(low[d] + 1, min(shape[d], int(c + half) + 2)) for d, c in enumerate(site.center)]
    return slice(low[0], high[0]), slice(low[1], high[1])


def _depth(site: Site, window: Window, warp: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """How far out in the cell (1: its end) and in the nucleus (1: its border) pixels of the window lie."""
    y = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None] - np.float32(site.center[0])
    x = np.arange(window[1].start, window[1].stop, dtype=np.float32)[None] - np.float32(site.center[1])
    bent, angle = cv2.cartToPolar(x + warp[1][window], y + warp[0][window])
    reach = site.reach[_entry(angle)]
    # nuclei are stiffer than cells: a third of the warp reaches them
    straight, angle = cv2.cartToPolar(x + 0.33 * warp[1][window], y + 0.33 * warp[0][window])
    nuclear = straight / site.nucleus[_entry(angle)]
    depth = np.where(nuclear < 1.12, nuclear * 0.25, np.maximum(bent / reach, 0.3))
    return depth.astype(np.float32), nuclear


def _entry(angle: np.ndarray) -> np.ndarray:
    return (angle * (ANGLES / (2 * np.pi))).astype(np.int32) % ANGLES


def _connect(number: int, labels: np.ndarray, rho: np.ndarray) -> None:
    """Keep the largest piece of the cell; the arrays are views of the canvas."""
    mask = (labels == number).astype(np.uint8)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    if count > 2:
        lost = (mask > 0) & (pieces != 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))
        labels[lost], rho[lost] = 0, OUTSIDE


def _measure(number: int, labels: np.ndarray, rho: np.ndarray, edge: np.ndarray, away: np.ndarray) -> None:
    """Fill the cell's holes and write its distances; the arrays are views of the canvas."""
    mask = (labels == number).astype(np.uint8)
    rings, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hole = (cv2.drawContours(np.zeros_like(mask), rings, -1, 1, -1) > 0) & (labels == 0)
    labels[hole], rho[hole], mask[hole] = number, 1.5, 1
    inside = mask > 0
    # a frame of 0: the window's border is no part of the cell
    distance = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    edge[inside] = distance[inside]
    outside = (~(inside & (rho < 1))).astype(np.uint8)
    if outside.all():
        return
    away[inside] = cv2.distanceTransform(outside, cv2.DIST_L2, 3)[inside]
