"""What can be measured of cells: where they lie, their shape, how bright each channel is in each of their parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from malpighi.errors import DataError
from malpighi.objects.cells import Cells

COMPARTMENTS: dict[str, tuple[int, ...]] = {"cell": (0, 1, 2), "nucleus": (0,), "cytoplasm": (1, 2), "membrane": (2,)}
"""Compartment → its parts (`cell_sums`): the cytoplasm is the cell without its nucleus, the membrane the rim of that."""
RING = 8
"""Width of the membrane ring, pixels: 0.64 µm in images of 0.08 µm, about twice what a light microscope blurs."""


def cell_features(
    cells: Cells, image: np.ndarray, channels: Sequence[str], protein: str, ring: int = RING
) -> dict[str, np.ndarray]:
    """Measure every cell.

    Args:
        cells: of the image, at its size.
        image: (channel, y, x).
        channels: their names.
        protein: the name of one.
        ring: the membrane is what lies nearer than so many pixels to what is not of the cell, along rows or columns; the image's border
            is not the cell's.

    Returns:
        Name → (cell,) float64 (boxes int64):

        - `area`, `nucleus_area`: pixels. `centroid_y`, `centroid_x`: pixel i reaches from i to i + 1. `y_min`, `x_min`, `y_max`, `x_max`:
          half-open box.
        - `eccentricity`: of the ellipse with the cell's second moments, 0 (circle) … 1. `solidity`: area over that of the convex hull.
        - `CHANNEL_COMPARTMENT_mean`, `_std` (of the population), `_sum`, for `COMPARTMENTS`; mean and std of no pixel are NaN.
        - `protein_nucleus_cytoplasm`: ratio of the two means. `protein_of_median`: the cell's mean over the median of the
          image's cells. Both are NaN where that is 0.

    Raises:
        DataError: sizes or names do not fit.
    """
    _check(cells, image, channels, protein, ring)
    from malpighi.objects.cell_sums import add_intensity

    labels = np.ascontiguousarray(cells.labels, np.int32)
    parts = _parts(labels, np.ascontiguousarray(cells.nuclei, np.int32), ring)
    out, pixels = _shapes(labels, parts, cells.count)
    for name, channel in zip(channels, image, strict=True):
        sums = np.zeros((cells.count + 1, 3, 2))
        add_intensity(labels, parts, channel, sums)
        out |= _intensities(name, sums[1:], pixels)
    mean = {place: out[f"{protein}_{place}_mean"] for place in COMPARTMENTS}
    out["protein_nucleus_cytoplasm"] = _ratio(mean["nucleus"], mean["cytoplasm"])
    median = np.median(mean["cell"]) if cells.count else np.nan
    out["protein_of_median"] = _ratio(mean["cell"], np.full(cells.count, median))
    return out


def _parts(labels: np.ndarray, nuclei: np.ndarray, ring: int) -> np.ndarray:
    """Each pixel's part; what it is outside of cells means nothing."""
    import cv2

    from malpighi.objects.cell_sums import parts_of

    square = np.ones((2 * ring + 1, 2 * ring + 1), np.uint8)
    exact = labels.astype(np.uint16 if labels.max(initial=0) < 1 << 16 else np.float32)  # numbers below 2²⁴ are exact
    return parts_of(labels, nuclei, cv2.erode(exact, square), cv2.dilate(exact, square))


def _shapes(labels: np.ndarray, parts: np.ndarray, count: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns of places and shapes, and (cell, part) pixels."""
    from malpighi.objects.cell_sums import add_shape

    pixels, moments = np.zeros((count + 1, 3), np.int64), np.zeros((count + 1, 5))
    box = np.zeros((count + 1, 4), np.int64)
    box[1:, :2] = np.iinfo(np.int64).max
    add_shape(labels, parts, pixels, moments, box)
    area = pixels[1:].sum(axis=1).astype(np.float64)
    y, x, yy, xx, yx = (moments[1:] / area[:, None]).T
    return {
        "area": area,
        "nucleus_area": pixels[1:, 0].astype(np.float64),
        "centroid_y": y + 0.5,
        "centroid_x": x + 0.5,
        **{name: box[1:, i] for i, name in enumerate(("y_min", "x_min", "y_max", "x_max"))},
        "eccentricity": _eccentricity(yy - y * y, xx - x * x, yx - y * x),
        "solidity": area / _hull_areas(labels, box, count),
    }, pixels[1:]


def _eccentricity(yy: np.ndarray, xx: np.ndarray, yx: np.ndarray) -> np.ndarray:
    """From central second moments of pixel centres, as scikit-image; 0 of a single pixel."""
    half, apart = (yy + xx) / 2, np.sqrt((yy - xx) ** 2 / 4 + yx**2)
    longest = half + apart
    return np.sqrt(np.divide(2 * apart, longest, out=np.zeros(len(yy)), where=longest > 0))


def _hull_areas(labels: np.ndarray, box: np.ndarray, count: int) -> np.ndarray:
    """(cell,) area of the convex hull of the pixels' squares: that of the corners of each row's ends."""
    import cv2

    from malpighi.objects.cell_sums import row_ends

    heights = box[:, 2] - box[:, 0]
    begin = np.concatenate([[0], np.cumsum(heights)])
    ends = np.tile(np.array([np.iinfo(np.int64).max, 0]), (int(begin[-1]), 1))
    row_ends(labels, box, begin, ends)
    areas = np.zeros(count)
    for i in range(count):
        own = ends[begin[i + 1] : begin[i + 2]]
        rows = np.flatnonzero(own[:, 1] > 0)
        corners = [(own[rows, side], rows + lower) for side in (0, 1) for lower in (0, 1)]
        points = np.concatenate([np.stack(pair, axis=1) for pair in corners]) - (box[i + 1, 1], 0)
        areas[i] = cv2.contourArea(cv2.convexHull(points.astype(np.float32)))
    return areas


def _intensities(name: str, sums: np.ndarray, pixels: np.ndarray) -> dict[str, np.ndarray]:
    out = {}
    for place, parts in COMPARTMENTS.items():
        total, squares = sums[:, parts].sum(axis=1).T
        count = pixels[:, parts].sum(axis=1).astype(np.float64)
        mean = _ratio(total, count)
        out[f"{name}_{place}_mean"] = mean
        out[f"{name}_{place}_std"] = np.sqrt(np.maximum(_ratio(squares, count) - mean**2, 0))
        out[f"{name}_{place}_sum"] = total
    return out


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=(whole != 0) & ~np.isnan(whole))


def _check(cells: Cells, image: np.ndarray, channels: Sequence[str], protein: str, ring: int) -> None:
    if image.ndim != 3 or image.shape[1:] != cells.labels.shape:
        raise DataError(f"an image of shape {image.shape} for cells of {cells.labels.shape}; give (channel, y, x) of that size")
    if len(channels) != len(image) or len(set(channels)) != len(channels):
        raise DataError(f"{len(image)} channels named {list(channels)}; give each a name of its own")
    if protein not in channels:
        raise DataError(f"the protein channel {protein!r} is not among the channels {list(channels)}")
    if ring < 1:
        raise DataError(f"a membrane ring of {ring} pixels; give 1 or more")
