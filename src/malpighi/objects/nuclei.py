"""Nuclei of a fluorescence image: threshold, outline at half their brightness, parted where they touch."""

from __future__ import annotations

import math

import numpy as np

from malpighi.objects.flood import hills, number_in_order

CONTRAST = 5.0
"""How far nuclei must rise above their surroundings, in standard deviations of these. Otsu's two halves of pure noise lie
2.9 of the lower half's deviations apart, whatever the noise's strength."""
ROUNDING = 1e-4  # of the brightest value: filters of a flat image leave 1e-7 of it
_BLOCKS = 6  # parts an axis whose darker pixels say how bright the background is there
_DARK = 25  # percentile: nuclei cover less than three quarters of any part
_SMALLEST_BLOCK = 64
_HOLE = 4  # nucleoli may be dark, and larger than the smallest nucleus; gaps between nuclei of this size are rare


def find_nuclei(image: np.ndarray, smallest: float, split: float) -> np.ndarray:
    """Label nuclei that are brighter than what surrounds them.

    Otsu's threshold of what rises above the local background, halved, finds them, dim ones too; then each is outlined where it has
    half of its own brightness, which is where a blurred edge lies. Nuclei that touch are parted at necks (`part_at_necks`).

    Args:
        image: (y, x) float32, finite.
        smallest: area below which a nucleus is none, pixels.
        split: see `part_at_necks`.

    Returns:
        (y, x) int32, 1 … n in order of each one's first pixel; none where nothing stands out from noise.
    """
    import cv2

    radius = math.sqrt(max(smallest, 1.0) / math.pi)
    smooth = cv2.GaussianBlur(image, (0, 0), float(np.clip(0.15 * radius, 0.7, 4.0)))
    above = smooth - local_background(smooth)
    threshold = safe_threshold(above, ROUNDING * float(np.abs(image).max()))
    if threshold is None:
        return np.zeros(image.shape, np.int32)
    found = _cleaned(above > 0.5 * threshold, smallest, radius)
    pieces = part_at_necks(found, split)
    found = _cleaned(_above_half(above, pieces), smallest, radius)
    return drop_small(part_at_necks(found, split), smallest)


def local_background(image: np.ndarray) -> np.ndarray:
    """(y, x) float32 → the brightness between objects, (y, x) float32: the darker pixels of large parts, smoothly joined."""
    import cv2

    step = max(_SMALLEST_BLOCK, -(-max(image.shape) // _BLOCKS))
    rows, columns = (np.array_split(np.arange(n), max(1, round(n / step))) for n in image.shape)
    dark = [[np.percentile(image[r[0] : r[-1] + 1, c[0] : c[-1] + 1], _DARK) for c in columns] for r in rows]
    grid = np.array(dark, np.float32)
    if min(grid.shape) >= 3:
        grid = cv2.medianBlur(grid, 3)  # a part that one object fills is as dark as its neighbours
    return cv2.resize(grid, image.shape[::-1], interpolation=cv2.INTER_LINEAR)


def safe_threshold(image: np.ndarray, least: float) -> float | None:
    """Otsu's threshold of a smoothed image, or None where what lies above it does not stand out from the rest.

    Args:
        least: difference below which one is rounding, in the image's unit.
    """
    from skimage.filters import threshold_otsu

    low, high = float(image.min()), float(image.max())
    if not high - low > least:
        return None
    threshold = float(threshold_otsu(image))
    dark, bright = image[image <= threshold], image[image > threshold]
    if not len(bright):
        return None
    middle = np.median(dark)
    spread = 1.4826 * float(np.median(np.abs(dark - middle)))
    return threshold if np.median(bright) - middle > max(CONTRAST * spread, least) else None


def part_at_necks(mask: np.ndarray, split: float) -> np.ndarray:
    """Label the blobs of a mask; where the way between two blobs narrows, they are two.

    The saddle of the distance to the border between two peaks must be lower than the lower peak by `split` of it: in
    logarithms that is one depth for large and small blobs alike, and `hills` takes one.

    Args:
        mask: (y, x) bool.
        split: 0 … 1; 1 and more parts nothing.

    Returns:
        (y, x) int32, 1 … n in order of each one's first pixel.
    """
    import cv2

    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    widest = math.log(max(2.0, float(distance.max(initial=0.0))))
    height = np.log(np.maximum(distance, 1.0)) / widest
    return hills(height, mask, -math.log1p(-split) / widest if split < 1 else math.inf)


def _above_half(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Pixels of each piece that have half of its median brightness."""
    levels = np.zeros(int(labels.max(initial=0)) + 1, np.float32)
    inside = labels > 0
    name, value = labels[inside], image[inside]
    order = np.lexsort((value, name))
    count = np.bincount(name, minlength=len(levels))[1:]
    levels[1:] = value[order][np.cumsum(count) - 1 - count // 2]
    return inside & (image > 0.5 * levels[labels])


def _cleaned(mask: np.ndarray, smallest: float, radius: float) -> np.ndarray:
    """Without specks, without threads between blobs, and without holes that are smaller than a nucleus."""
    import cv2

    side = 2 * max(1, round(0.25 * radius)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    filled = fill_holes(mask, _HOLE * smallest).astype(np.uint8)
    return cv2.morphologyEx(filled, cv2.MORPH_OPEN, disc, borderType=cv2.BORDER_REPLICATE) > 0


def fill_holes(mask: np.ndarray, largest: float) -> np.ndarray:
    """(y, x) bool with background pieces of at most `largest` pixels filled; those at the image's border are no holes."""
    import cv2

    _, names, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    left, top, width, height = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP], stats[:, 2], stats[:, 3]
    inner = (left > 0) & (top > 0) & (left + width < mask.shape[1]) & (top + height < mask.shape[0])
    hole = inner & (stats[:, cv2.CC_STAT_AREA] <= largest)
    hole[0] = False
    return mask | hole[names]


def drop_small(labels: np.ndarray, smallest: float) -> np.ndarray:
    """(y, x) int32 without labels of fewer than `smallest` pixels; the others are numbered anew, in order."""
    sizes = np.bincount(labels.ravel())
    name = np.where(sizes >= smallest, np.arange(len(sizes)), 0)
    name[0] = 0
    kept = name[labels].astype(np.int32)
    number_in_order(kept, np.arange(len(name)))
    return kept
