"""Images to a working size, and label images back to the image's own."""

from __future__ import annotations

import numpy as np
from numba import njit


def shrink(image: np.ndarray, scale: float) -> np.ndarray:
    """(y, x) image → float32 at `scale` of its size, 0 < scale ≤ 1; a pixel is the mean of what it covers."""
    import cv2

    size = [max(1, round(n * scale)) for n in image.shape]
    values = np.ascontiguousarray(image, np.float32)  # integers would be rounded, and dim nuclei are a few grades high
    if list(image.shape) == size:
        return values
    return np.asarray(cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_AREA))


def shrink_labels(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(y, x) integer labels → int32 of `shape`: each pixel has the label at its centre."""
    rows, columns = (((np.arange(n) + 0.5) * whole / n).astype(np.int64) for n, whole in zip(shape, labels.shape, strict=True))
    return labels[rows[:, None], columns].astype(np.int32)


def enlarge_labels(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Labels at a larger size, with smooth outlines.

    Each label's mask is interpolated linearly, and a pixel gets the label whose mask is largest there: no stairs, and two
    labels that touch still touch. Sizes need not be multiples; a label of one pixel may vanish where they are not.

    Args:
        labels: (y, x) int32.
        shape: of the result, along no axis smaller.

    Returns:
        (y, x) int32 of `shape`.
    """
    if labels.shape == tuple(shape):
        return labels.astype(np.int32)
    out = np.empty(shape, np.int32)
    _enlarge(np.ascontiguousarray(labels, np.int32), out)
    return out


@njit(cache=True, nogil=True)
def _enlarge(labels: np.ndarray, out: np.ndarray) -> None:
    height, width = labels.shape
    four, weights = np.empty(4, np.int32), np.empty(4, np.float32)
    left, part = np.empty(out.shape[1], np.int64), np.empty(out.shape[1], np.float32)
    for x in range(out.shape[1]):
        at = min(max((x + 0.5) * width / out.shape[1] - 0.5, 0.0), width - 1.0)
        left[x] = int(at)
        part[x] = at - int(at)
    for y in range(out.shape[0]):
        at = min(max((y + 0.5) * height / out.shape[0] - 0.5, 0.0), height - 1.0)
        y0 = int(at)
        fy = np.float32(at - y0)
        upper, lower = labels[y0], labels[min(y0 + 1, height - 1)]
        for x in range(out.shape[1]):
            x0, fx = left[x], part[x]
            x1 = min(x0 + 1, width - 1)
            four[0], four[1], four[2], four[3] = upper[x0], upper[x1], lower[x0], lower[x1]
            if four[0] == four[1] and four[0] == four[2] and four[0] == four[3]:
                out[y, x] = four[0]
                continue
            weights[0], weights[1] = (1 - fy) * (1 - fx), (1 - fy) * fx
            weights[2], weights[3] = fy * (1 - fx), fy * fx
            best, most = np.int32(0), np.float32(-1)
            for i in range(4):
                total = np.float32(0)
                for j in range(4):
                    if four[j] == four[i]:
                        total += weights[j]
                if total > most:
                    best, most = four[i], total
            out[y, x] = best
