"""Arrays of any dtype and number of channels as pictures a screen can show."""

from __future__ import annotations

import numpy as np

_LIGHTS = np.array(  # as the Human Protein Atlas shows its channels: red, green, blue, yellow; then cyan, magenta, white
    [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1)], np.float32
)


def display_rgb(image: np.ndarray) -> np.ndarray:
    """A picture of (channel, y, x).

    Three channels of uint8, or of floats within 0 … 1, are taken as colours. Everything else is stretched between its 0.5th
    and 99.5th percentile: other three-channel floats jointly (a normalised colour image keeps its hues), the rest channel by
    channel. One channel is grey, two are green and magenta, more add up as coloured lights.

    Returns:
        (y, x, 3) uint8.
    """
    channels = len(image)
    if channels == 3 and image.dtype == np.uint8:
        return np.ascontiguousarray(np.moveaxis(image, 0, -1))
    floats = np.nan_to_num(image.astype(np.float32))
    if channels == 3 and image.dtype.kind == "f":
        inside = floats.min() >= 0 and floats.max() <= 1
        stretched = floats if inside else _stretch(floats)
        return _to_bytes(np.moveaxis(stretched, 0, -1))
    stretched = np.stack([_stretch(channel) for channel in floats])
    return _to_bytes(np.einsum("cyx,cl->yxl", stretched, _lights(channels)))


class Stretch:
    """One brightness for all slices of a volume, so that a slice that is darker is seen to be.

    uint8 colours (three channels) stay as they are; all else is stretched between the volume's 0.5th and 99.5th percentile.
    """

    def __init__(self, image: np.ndarray) -> None:
        """Measure `image`, (channel, z, y, x), on at most some million voxels."""
        self.plain = len(image) == 3 and image.dtype == np.uint8
        flat = image.reshape(len(image), -1)
        sample = np.nan_to_num(flat[:, :: max(1, flat.shape[1] >> 20)].astype(np.float32))
        self.limits = np.percentile(sample, (0.5, 99.5), axis=1).T

    def rgb(self, plane: np.ndarray) -> np.ndarray:
        """(y, x, 3) uint8 of a slice (channel, y, x)."""
        if self.plain:
            return np.ascontiguousarray(np.moveaxis(plane, 0, -1))
        floats = np.nan_to_num(plane.astype(np.float32))
        parts = [np.clip((f - lo) / max(hi - lo, 1e-6), 0, 1) for f, (lo, hi) in zip(floats, self.limits, strict=True)]
        return _to_bytes(np.einsum("cyx,cl->yxl", np.stack(parts), _lights(len(parts))))


def shrink(array: np.ndarray, longest: int) -> np.ndarray:
    """(layer, y, x) with its longer side at most `longest` pixels: images by area, label layers (bool, 0/1/255) by centres.

    Label layers are those of dtype bool, or of uint8 with no values but 0, 1 and 255.
    """
    factor = max(array.shape[-2:]) / longest
    if factor <= 1:
        return array
    height, width = (max(1, round(n / factor)) for n in array.shape[-2:])
    if array.dtype == bool or (array.dtype == np.uint8 and _is_label(array)):
        y = ((np.arange(height) + 0.5) * array.shape[-2] / height).astype(int)
        x = ((np.arange(width) + 0.5) * array.shape[-1] / width).astype(int)
        return array[:, y[:, None], x]
    import cv2

    plain = array if array.dtype in (np.uint8, np.uint16, np.float32) else array.astype(np.float32)
    return np.stack([cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA) for layer in plain])


def middle_slice(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of (layer, z, y, x) arrays the z-slice with most of the truth (the middle one where there is none); 2-D as it is."""
    if truth.ndim == 3:
        return image, truth, prediction
    counts = (truth == 1).sum(axis=(0, 2, 3))
    z = int(counts.argmax()) if counts.any() else truth.shape[1] // 2
    return image[:, z], truth[:, z], prediction[:, z]


def _lights(channels: int) -> np.ndarray:
    """(channel, 3): the colour that each channel shines in."""
    if channels == 1:
        return np.ones((1, 3), np.float32)
    if channels == 2:
        return np.array([(0, 1, 0), (1, 0, 1)], np.float32)
    return _LIGHTS[np.arange(channels) % len(_LIGHTS)]


def _is_label(array: np.ndarray) -> bool:
    return bool(np.isin(array, (0, 1, 255)).all())


def _stretch(values: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values, (0.5, 99.5))
    return np.clip((values - low) / max(high - low, 1e-6), 0, 1)


def _to_bytes(rgb: np.ndarray) -> np.ndarray:
    return (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)
