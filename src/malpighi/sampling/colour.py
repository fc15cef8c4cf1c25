"""Colour: how intensities change. Two affine maps, one of densities and one of intensities, then blur and noise.

Light that passes stained tissue falls off exponentially (Beer–Lambert), so in optical density stains add up, and there
haematoxylin-eosin-DAB jitter is a 3 × 3 matrix, gamma a factor and brightness an offset. Contrast, hue and saturation are
linear in intensity. All of them together thus cost one logarithm (a table), two small matrices and one exponential, where
a chain of separate transforms converts colour spaces back and forth each time.

Intensities are parts of a range: 0 … 255 in uint8 images; in others the tile's own minimum … maximum, because a 12-bit camera
in a uint16 file, or a normalised float volume, has no other white.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from malpighi.sampling.augment import AugmentOptions

# Ruifrok & Johnston (2001): density of haematoxylin, eosin, DAB in red, green, blue
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
# NTSC: luma and the two chroma axes
_YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_STRIP = 2**17  # values worked at once: as floats they stay in a core's cache
_NOISE = 2**19  # random values drawn for one item; each strip starts at a random place among them


@dataclass(frozen=True, eq=False)
class Colour:
    """The intensity change of one item; None and 0 leave a part out.

    Attributes:
        density: (n, n + 1) affine map of optical densities -log(intensity): n = 3 mixes RGB, n = 1 serves every channel alike.
        linear: (n, n + 1) affine map of intensities (0 … 1), likewise.
        blur: standard deviation in pixels.
        noise: standard deviation as a part of the range.
        seed: of the noise.
    """

    density: np.ndarray | None = None
    linear: np.ndarray | None = None
    blur: float = 0.0
    noise: float = 0.0
    seed: int = 0

    @property
    def mixes(self) -> bool:
        """Whether channels are mixed (hue, stain); otherwise one curve serves them all."""
        return any(part is not None and len(part) > 1 for part in (self.density, self.linear))


def draw_colour(rng: np.random.Generator, options: AugmentOptions, channels: int) -> Colour:
    """A random colour change; hue and stain only where there are three channels."""

    def chosen(strength: float) -> bool:
        return bool(strength) and rng.random() < options.chance

    density, linear = None, None
    tone, hue = chosen(options.tone), chosen(options.hue) and channels == 3
    stain = chosen(options.stain) and channels == 3
    if stain:
        amounts = 1 + rng.normal(0, options.stain, 3)
        mixed = np.linalg.inv(_STAINS) @ np.diag(amounts) @ _STAINS  # rows are densities: row @ mixed
        offset = rng.normal(0, options.stain, 3) * 0.2 @ _STAINS
        density = np.column_stack([mixed.T, offset])
    if tone:
        gamma, gain = np.exp(rng.uniform(-1, 1, 2) * math.log1p(options.tone))
        contrast = math.exp(rng.uniform(-1, 1) * math.log1p(options.tone))
        density = np.eye(1, 2) if density is None else density
        density = density * gamma - math.log(gain) * np.eye(density.shape[1])[-1]
        linear = np.array([[contrast, 0.5 * (1 - contrast)]])
    if hue:
        turned = _hue(2 * math.pi * rng.uniform(-options.hue, options.hue), 1 + 4 * rng.uniform(-options.hue, options.hue))
        scale, offset = (1.0, 0.0) if linear is None else linear[0]
        linear = np.column_stack([turned * scale, np.full(3, offset)])  # greys, and so the offset, keep their hue
    blur = rng.uniform(0, options.blur) if chosen(options.blur) else 0.0
    noise = rng.uniform(0, options.noise) if chosen(options.noise) else 0.0
    return Colour(density, linear, blur, noise, int(rng.integers(2**63)))


def _hue(angle: float, saturation: float) -> np.ndarray:
    """RGB matrix that turns and scales the chroma plane of YIQ; greys stay as they are."""
    c, s = math.cos(angle) * saturation, math.sin(angle) * saturation
    return np.linalg.inv(_YIQ) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ _YIQ


def apply_colour(image: np.ndarray, colour: Colour) -> None:
    """Change an image (y, x, C) in place. uint8 goes through tables and OpenCV, other types through float32."""
    if image.dtype != np.uint8:
        image[...] = _wide(image, colour)
        return
    import cv2

    if colour.blur:
        cv2.GaussianBlur(image, (side := kernel_side(colour.blur), side), colour.blur, dst=image)
    curved, colour = _curve_first(colour)
    if curved.density is not None or curved.linear is not None:
        curve = toned(np.arange(256, dtype=np.float32)[None] / 255, curved, np)[0]
        cv2.LUT(image, np.clip(np.rint(curve * 255), 0, 255).astype(np.uint8), dst=image)
    if not colour.mixes and not colour.noise:
        return
    rng = np.random.Generator(np.random.SFC64(colour.seed))
    noise = _noise_bytes(rng, colour.noise) if colour.noise else None
    rows = max(1, _STRIP // (image.shape[1] * image.shape[2]))
    for first in range(0, len(image), rows):
        strip = image[first : first + rows]
        if colour.mixes:
            _mix(strip, colour)
        if noise is not None:
            place = int(rng.integers(max(1, noise.size - strip.size)))
            _add(strip, np.resize(noise[:, place : place + strip.size], strip.shape))


def _curve_first(colour: Colour) -> tuple[Colour, Colour]:
    """Split off what is one curve for all channels, which an 8-bit table does: the whole tone, or gamma and gain before a hue."""
    if not colour.mixes:
        return Colour(colour.density, colour.linear), replace(colour, density=None, linear=None)
    if colour.density is not None and len(colour.density) == 1:
        return Colour(colour.density), replace(colour, density=None)
    return Colour(), colour


def toned(values: Any, colour: Colour, xp: Any) -> Any:
    """The two affine maps on (channels, N) intensities 0 … 1, by NumPy or torch (`xp`); not clipped above or below.

    Densities are those of (255·x + 1) / 256, so that black is not infinitely dense.
    """
    if colour.density is not None:
        dense = -xp.log((values.clip(min=0) * 255 + 1) / 256)
        values = (256 * xp.exp(-_affine(xp, colour.density, dense)) - 1) / 255
    return values if colour.linear is None else _affine(xp, colour.linear, values)


def _affine(xp: Any, matrix: np.ndarray, values: Any) -> Any:
    """(n, n + 1) map of (channels, N) values: n = channels, or n = 1 for each channel by itself."""
    if len(matrix) == 1:
        return values * float(matrix[0, 0]) + float(matrix[0, 1])
    map_ = matrix.astype(np.float32) if xp is np else xp.as_tensor(matrix, dtype=values.dtype, device=values.device)
    return map_[:, :-1] @ values + map_[:, -1:]


def kernel_side(sigma: float) -> int:
    """Taps of a Gaussian kernel that reaches two standard deviations, at least 3."""
    return 2 * max(1, round(2 * sigma)) + 1


def _rgb(linear: np.ndarray | None) -> np.ndarray:
    """The same map as (3, 4)."""
    if linear is None:
        return np.eye(3, 4)
    return linear if len(linear) == 3 else np.column_stack([np.eye(3) * linear[0, 0], np.full(3, linear[0, 1])])


def _mix(strip: np.ndarray, colour: Colour) -> None:
    """Both maps on some rows of an RGB uint8 image, in place."""
    import cv2

    linear = _rgb(colour.linear) * [1, 1, 1, 255]
    if colour.density is None:
        cv2.transform(strip, linear, dst=strip)
        return
    dense = cv2.transform(cv2.LUT(strip, _minus_density()), colour.density * [1, 1, 1, -1])
    light = cv2.exp(dense, dst=dense)  # (255 x + 1) / 256
    linear = np.column_stack([linear[:, :3] * 256, linear[:, 3] - linear[:, :3].sum(1)])
    cv2.transform(light, linear, dst=light)
    cv2.convertScaleAbs(cv2.max(light, 0, dst=light), dst=strip)


@lru_cache(maxsize=1)
def _minus_density() -> np.ndarray:
    return np.log((np.arange(256) + 1) / 256).astype(np.float32)


@lru_cache(maxsize=1)
def normal_quantiles() -> np.ndarray:
    """256 equally likely values of a standard normal: a random byte indexes them, ten times as fast as drawing normals."""
    values = np.array([NormalDist().inv_cdf((k + 0.5) / 256) for k in range(256)])
    return values / values.std()


def _noise_bytes(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """(1, _NOISE) int8 noise of a standard deviation of `sigma` × 255."""
    import cv2

    random = rng.integers(0, 2**64 - 1, _NOISE // 8, np.uint64, endpoint=True).view(np.uint8)
    table = np.rint(normal_quantiles() * (255 * sigma)).clip(-128, 127).astype(np.int8)
    return cv2.LUT(random.reshape(1, -1), table)


def _add(strip: np.ndarray, noise: np.ndarray) -> None:
    """uint8 + int8, saturated, in place: as int8 + int8 with the sign bit flipped, which OpenCV vectorises."""
    import cv2

    strip ^= 128
    signed = strip.view(np.int8)
    cv2.add(signed, noise, dst=signed)
    strip ^= 128


def _wide(image: np.ndarray, colour: Colour) -> np.ndarray:
    """The change of a uint16 or float image (y, x, C), as an array of its dtype."""
    import cv2

    low, high = float(image.min()), float(image.max())
    if not high > low or not (colour.blur or colour.noise or colour.density is not None or colour.linear is not None):
        return image
    values = (image.astype(np.float32) - low) / (high - low)
    if colour.blur:
        side = kernel_side(colour.blur)
        values = np.stack(
            [cv2.GaussianBlur(np.ascontiguousarray(v), (side, side), colour.blur) for v in values.transpose(2, 0, 1)], -1
        )
    values = toned(values.reshape(-1, values.shape[-1]).T, colour, np).T.reshape(image.shape)
    if colour.noise:
        rng = np.random.Generator(np.random.SFC64(colour.seed))
        values = values + rng.standard_normal(values.shape, np.float32) * np.float32(colour.noise)
    values = values * (high - low) + low
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(image.dtype)
