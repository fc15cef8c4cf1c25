"""A mask's outline along the edges of its pixels, and how long it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon, Polygon

# A lattice point lies between four pixels: a b above it, c d below. Its code is a + 2 b + 4 c + 8 d.
_BITS = np.arange(16)[:, None] >> np.arange(4) & 1
_SADDLE = np.isin(np.arange(16), (6, 9))  # two pixels that touch only at the point
_CORNER = (_BITS.sum(1) % 2 == 1) | _SADDLE
_CROSSED = np.stack([_BITS[:, i] != _BITS[:, j] for i, j in ((0, 1), (0, 2), (0, 3), (1, 2))], axis=1)


class _Ring(NamedTuple):
    points: np.ndarray  # (corner, 2) x, y
    hole: bool
    pixel: tuple[int, int]  # y, x of a pixel that the ring bounds


def lattice_codes(padded: np.ndarray) -> np.ndarray:
    """Codes 0 … 15 of the lattice points inside a boolean mask: (height - 1, width - 1) uint8."""
    m = padded.view(np.uint8)
    return m[:-1, :-1] | m[:-1, 1:] << 1 | m[1:, :-1] << 2 | m[1:, 1:] << 3


def outline(mask: np.ndarray, codes: np.ndarray | None = None) -> Polygon | MultiPolygon:
    """The outline of a boolean mask that is not empty, (x, y) along pixel edges: pixel i spans [i, i + 1).

    Exact: a point is inside the outline just where its pixel is set. Valid: parts that touch only at a corner become the
    polygons of a MultiPolygon; a ring that would touch itself becomes a hole that touches its border in a point.

    Args:
        codes: `lattice_codes(np.pad(mask, 1))`, where the caller has them already.
    """
    from shapely.geometry import MultiPolygon, Polygon

    rings = list(_rings(lattice_codes(np.pad(mask, 1)) if codes is None else codes))
    shells = [r for r in rings if not r.hole]
    holes = [r for r in rings if r.hole]
    if len(shells) == 1:
        return Polygon(shells[0].points, [h.points for h in holes])
    import cv2

    _, parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    inside: dict[int, list[np.ndarray]] = {}
    for hole in holes:
        inside.setdefault(int(parts[hole.pixel]), []).append(hole.points)
    return MultiPolygon([Polygon(s.points, inside.get(int(parts[s.pixel]), [])) for s in shells])


def perimeter(counts: np.ndarray, spacing: Sequence[float]) -> float:
    """Length of an outline from how often each lattice code occurs: Cauchy-Crofton in four directions.

    Counts how often lines along the rows, columns and both diagonals cross the outline, holes included, and weights each
    direction by the angle it stands for. Measured over discs at random positions: the mean is right within .4 % for radii
    of 3 pixels and more, a single disc within 3 % (radius 20: .5 %); a square along the axes comes out 5 % short, because
    its outline has only two directions. The pixel edges themselves would be 27 % too long for a disc.

    Args:
        counts: (16,) as `np.bincount(lattice_codes(np.pad(mask, 1)).ravel(), minlength=16)`.
        spacing: size of a pixel (y, x).
    """
    dy, dx = spacing
    angle = math.atan2(dy, dx)
    between = dx * dy / math.hypot(dx, dy)  # distance of neighbouring diagonals
    weights = (angle / math.pi * dy, (0.5 - angle / math.pi) * dx, between / 4, between / 4)
    return float(math.pi / 2 * np.dot(counts @ _CROSSED, weights))


def fill_holes(mask: np.ndarray, smaller_than: float, faces_only: bool = False) -> np.ndarray:
    """The mask with holes of fewer than `smaller_than` pixels filled; `faces_only` as the mask's own connectivity."""
    from scipy import ndimage

    background = np.pad(mask, 1) ^ np.True_
    background[[0, -1], :] = background[:, [0, -1]] = True
    labels, _ = ndimage.label(background, ndimage.generate_binary_structure(2, 2 if faces_only else 1))
    small = np.bincount(labels.ravel()) < smaller_than
    small[[0, labels[0, 0]]] = False
    return mask | small[labels[1:-1, 1:-1]]


def _rings(codes: np.ndarray) -> Iterator[_Ring]:
    """Follow the pixel edges from corner to corner.

    In row order corners come in pairs, the ends of a horizontal edge; in column order, of a vertical one. A saddle is two
    corners at one point, put in such an order that each turns round its own pixel.
    """
    flat = codes.ravel()
    point = np.flatnonzero(_CORNER[flat])
    point = np.repeat(point, 1 + _SADDLE[flat[point]])
    code = flat[point]
    y, x = np.divmod(point, codes.shape[1])
    turn = np.arange(len(point))
    order = np.lexsort((np.where(code == 6, -turn, turn), y, x))
    mate = np.empty(len(point), np.int64)
    mate[order[0::2]], mate[order[1::2]] = order[1::2], order[0::2]
    follow, seen = mate.tolist(), bytearray(len(point))
    points = np.stack([x, y], axis=1)
    for start in range(0, len(follow), 2):
        if seen[start]:
            continue
        ring: list[int] = []
        i = start
        while not seen[i]:  # along the row, then along the column
            seen[i] = seen[i ^ 1] = 1
            ring += (i, i ^ 1)
            i = follow[i ^ 1]
        below = bool(code[start] & 8)  # the first edge goes right: is the pixel under it set, or the one above?
        pixel = (int(y[start]) - (not below), int(x[start]))
        for loop in _simple(ring, point):
            corners = points[loop]
            yield _Ring(corners, (_turns_right(corners)) != below, pixel)


def _simple(ring: list[int], point: np.ndarray) -> Iterator[list[int]]:
    """Cut a ring wherever it comes back to a point it has passed."""
    at = point[ring].tolist()
    if len(set(at)) == len(at):
        yield ring
        return
    path: list[int] = []
    passed: dict[int, int] = {}
    for corner, here in zip(ring, at, strict=True):
        if here in passed:
            cut = passed[here]
            yield path[cut:]
            for gone in path[cut:]:
                del passed[int(point[gone])]
            del path[cut:]
        passed[here] = len(path)
        path.append(corner)
    yield path


def _turns_right(corners: np.ndarray) -> bool:
    """Whether a ring goes clockwise as seen on the image (y down)."""
    x, y = corners.T
    return bool(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]) + x[-1] * y[0] - x[0] * y[-1] > 0)
