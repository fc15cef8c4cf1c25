"""Label images for tests of instances."""

import numpy as np


def discs(shape, count, seed, radius=(4, 12), gap=0):
    """Random discs; a later one lies under the earlier, so that they touch; with a gap they do not."""
    random = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    y, x = np.indices(shape)
    number = 0
    for _ in range(count):
        r = random.uniform(*radius)
        away = np.hypot(y - random.uniform(0, shape[0]), x - random.uniform(0, shape[1]))
        if gap and (labels[away <= r + gap] > 0).any():
            continue
        free = (away <= r) & (labels == 0)
        if free.sum() > 0.6 * (away <= r).sum():
            number += 1
            labels[free] = number
    return largest_pieces(labels)


def largest_pieces(labels):
    """Every object connected: of each the largest 8-connected piece, numbered anew."""
    from skimage.measure import label
    from skimage.segmentation import relabel_sequential

    out = np.zeros_like(labels)
    for i in range(1, labels.max() + 1):
        pieces = label(labels == i, connectivity=2)
        if pieces.max():
            out[pieces == np.bincount(pieces.ravel())[1:].argmax() + 1] = i
    return relabel_sequential(out)[0]


def neurites(side, count, seed, length=180, width=3):
    """Curved processes of a constant width that cross nobody: a later one stops where it meets another."""
    random = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.int32)
    yy, xx = np.mgrid[-width : width + 1, -width : width + 1]
    brush = np.argwhere(np.hypot(yy, xx) <= width) - width
    for number in range(1, count + 1):
        place, angle, bend = random.uniform(0, side, 2), random.uniform(0, 2 * np.pi), 0.0
        for _ in range(length):
            pixels = np.rint(place).astype(int) + brush
            pixels = pixels[((pixels >= 0) & (pixels < side)).all(1)]
            under = labels[pixels[:, 0], pixels[:, 1]]
            if len(pixels) == 0 or ((under > 0) & (under != number)).any():
                break
            labels[pixels[:, 0], pixels[:, 1]] = number
            bend = 0.9 * bend + random.normal(0, 0.03)
            angle += bend
            place = place + np.array([np.sin(angle), np.cos(angle)])
    return largest_pieces(labels)


def spoiled(layers, seed, blur=1.0, noise=0.08):
    """Layers as a network gives them: blurred, and with noise that is smooth itself."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    grain = np.stack([gaussian_filter(random.normal(size=layer.shape), 1.5) for layer in layers])
    soft = np.stack([gaussian_filter(layer, blur) for layer in layers])
    return np.clip(soft + noise * grain / grain.std(), 0, 1).astype(np.float32)
