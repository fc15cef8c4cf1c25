"""How far cells reach around their nuclei: the cells' foreground, shared out by a watershed."""

from __future__ import annotations

import math

import numpy as np

from malpighi.objects.nuclei import ROUNDING, fill_holes

_SMOOTH = 0.3  # of the smallest nucleus's radius: joins the threads of microtubules, keeps cells apart
_BRIGHT = 99.5  # percentile that stands for a channel's brightness
_LOWER = 0.8  # of that threshold: .6 to .8 agree best with outlines of real cells (docs/design/cell-segmentation.md)
_FLOOR = 0.02  # share of the brightest below which darker is not farther


def grow_cells(nuclei: np.ndarray, extent: np.ndarray, smallest: float, reach: float) -> np.ndarray:
    """Give every nucleus its cell.

    The watershed's hills rise by 1 for each nucleus's radius away from a nucleus, and for each factor e in darkness: brightness
    alone lets the brighter of two cells flood the dimmer, distance alone cuts long cells off.

    Args:
        nuclei: (y, x) int32, 1 … n.
        extent: (channel, y, x) float32, finite: bright within cells.
        smallest: area of the smallest nucleus, pixels; scale of the smoothing.
        reach: farthest that a cell goes from its nucleus, pixels; 0: no limit.

    Returns:
        (y, x) int32: cell n holds nucleus n and is one piece. Where `extent` shows nothing, cells are what lies within `reach`.
    """
    import cv2
    from skimage.segmentation import watershed

    sigma = float(np.clip(_SMOOTH * math.sqrt(max(smallest, 1.0) / math.pi), 1.0, 8.0))
    shown = joined_extent(extent, sigma)
    away = cv2.distanceTransform((nuclei == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    if shown is None:
        foreground, hills = np.full(nuclei.shape, reach > 0), away
    else:
        foreground = fill_holes(shown > extent_threshold(shown), smallest)
        radius = math.sqrt(max(1.0, float(np.median(np.bincount(nuclei.ravel())[1:]))) / math.pi)
        hills = away / radius - np.log(shown + _FLOOR)
    if reach > 0:
        foreground &= away <= reach
    return watershed(hills, nuclei, mask=foreground | (nuclei > 0)).astype(np.int32)


def joined_extent(channels: np.ndarray, sigma: float) -> np.ndarray | None:
    """(channel, y, x) → the smoothed mean of channels brought to one brightness, (y, x) float32; None where all are flat."""
    import cv2

    total, used = np.zeros(channels.shape[1:], np.float32), 0
    for channel in channels:
        smooth = cv2.GaussianBlur(channel, (0, 0), sigma)
        dark, bright = np.percentile(smooth, (1, _BRIGHT))
        if bright - dark > ROUNDING * abs(bright):
            total += np.clip((smooth - dark) / (bright - dark), 0, 1)
            used += 1
    return total / used if used else None


def extent_threshold(shown: np.ndarray) -> float:
    """Below least cross-entropy (Li & Tam 1998): Otsu's cuts the dim rim off cells whose middle is bright."""
    from skimage.filters import threshold_li

    return _LOWER * float(threshold_li(shown))
