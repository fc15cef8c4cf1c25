"""Class layers of a tile → what a detector learns from them: the boxes around the objects, and where nobody said."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

UNLABELLED = 255
LEAST_SIDE = 4
"""Pixels: narrower pieces are specks that a warp left, and no objects to learn."""
LEAST_SEEN = 1 / 3
"""Share of an object that a tile must show; below, it is no example of one."""


class TileBoxes(NamedTuple):
    """Boxes of one tile.

    Attributes:
        boxes: (box, 4) float32 x0, y0, x1, y1 in pixels, half-open, as `torchvision` wants them.
        labels: (box,) int64 class of each, from 0.
        unknown: (class, y, x) bool, where nobody said what is there: neither an object nor none.
    """

    boxes: np.ndarray
    labels: np.ndarray
    unknown: np.ndarray


def tile_boxes(target: np.ndarray) -> TileBoxes:
    """The boxes around the connected objects (8 neighbours) of each class.

    An object that the tile's border cuts is left out where less than `LEAST_SEEN` of it is seen: see `seen`. What is left out counts as
    unknown, or the detector would learn that it is no object.

    Args:
        target: (class, y, x), uint8 of 0, 1 and 255 = unlabelled, or float32 of 0 … 1, NaN = unlabelled (0.5 and more is the class).
    """
    import cv2

    soft = target.dtype.kind == "f"
    unknown = np.isnan(target) if soft else target == UNLABELLED
    layers = np.nan_to_num(target) >= 0.5 if soft else target == 1
    boxes: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
    for k, layer in enumerate(layers):
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(layer).view(np.uint8), connectivity=8)
        for number in range(1, count):
            x, y, width, height, area = (int(v) for v in stats[number])
            piece = pieces[y : y + height, x : x + width] == number
            if min(width, height) < LEAST_SIDE or seen(piece, (y, x), area, layer.shape) < LEAST_SEEN:
                unknown[k][pieces == number] = True
            else:
                boxes.append((x, y, x + width, y + height))
                labels.append(k)
    for (x0, y0, x1, y1), k in zip(boxes, labels, strict=True):
        unknown[k, y0:y1, x0:x1] = False  # a box is known, whatever lies in its corners
    return TileBoxes(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), unknown)


def seen(piece: np.ndarray, start: tuple[int, int], area: int, tile: tuple[int, ...]) -> float:
    """The share of an object that lies in the tile, taking it for a disc; 1 where no border cuts it.

    What of a disc is seen is a segment of it: with the chord c along the border and the height h above it the radius is
    (c²/4 + h²) / 2h. Of two borders the one that hides more counts.

    Args:
        piece: (y, x) bool, the object within its own box.
        start: (y, x) of that box in the tile.
        area: pixels of the object.
        tile: (y, x) sides of the tile.
    """
    height, width = piece.shape
    cuts = []
    if start[0] == 0:
        cuts.append((piece[0], height))
    if start[0] + height == tile[0]:
        cuts.append((piece[-1], height))
    if start[1] == 0:
        cuts.append((piece[:, 0], width))
    if start[1] + width == tile[1]:
        cuts.append((piece[:, -1], width))
    share = 1.0
    for edge, depth in cuts:
        met = np.flatnonzero(edge)
        chord = int(met[-1] - met[0]) + 1
        radius = (chord**2 / 4 + depth**2) / (2 * depth)
        share = min(share, area / (math.pi * radius**2))
    return share
