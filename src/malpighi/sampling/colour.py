"""Colour: how intensities change. Two affine maps, one of densities and one of intensities, then noise and holes.

Light that passes stained tissue falls off exponentially (Beer–Lambert), so in optical density stains add up, and there
haematoxylin-eosin-DAB jitter is a 3 × 3 matrix, gamma a factor and brightness an offset. Contrast, hue and saturation are
linear in intensity. All of them together thus cost one logarithm (a table), two small matrices and one exponential, where
a chain of separate transforms converts colour spaces back and forth each time. Another image's stains are one more factor of
the first matrix. Tables (histograms matched), blur and equalisation of lightness, which are no such maps, come before.

Intensities are parts of a range: 0 … 255 in uint8 images; in others the tile's own minimum … maximum, because a 12-bit camera
in a uint16 file, or a normalised float volume, has no other white.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.sampling.cutout import Holes, cut, draw_holes
from malpighi.sampling.noise import add_noise, noise_bytes

if TYPE_CHECKING:
    from malpighi.sampling.augment import AugmentOptions
    from malpighi.sampling.stain_transfer import Restain

# Ruifrok & Johnston (2001): density of haematoxylin, eosin, DAB in red, green, blue
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
# NTSC: luma and the two chroma axes
_YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_STRIP = 2**17  # values worked at once: as floats they stay in a core's cache


@dataclass(frozen=True, eq=False)
class Colour:
    """The intensity change of one item; None and 0 leave a part out.

    Attributes:
        density: (n, n + 1) affine map of optical densities -log(intensity): n = 3 mixes RGB, n = 1 serves every channel alike.
        linear: (n, n + 1) affine map of intensities (0 … 1), likewise.
        blur: standard deviation in pixels.
        noise: standard deviation as a part of the range.
        seed: of the noise.
        tables: (C, 256) uint8, a new value for each of an 8-bit channel; before everything else.
        clahe: clip limit of contrast-limited adaptive histogram equalisation of lightness (Zuiderveld 1994), of 8-bit images.
        holes: what is cut out at the end.
    """

    density: np.ndarray | None = None
    linear: np.ndarray | None = None
    blur: float = 0.0
    noise: float = 0.0
    seed: int = 0
    tables: np.ndarray | None = None
    clahe: float = 0.0
    holes: Holes | None = None

    @property
    def nothing(self) -> bool:
        """Whether the item stays as it is."""
        parts = (self.density, self.linear, self.tables, self.holes)
        return not (self.blur or self.noise or self.clahe) and all(part is None for part in parts)

    @property
    def mixes(self) -> bool:
        """Whether channels are mixed (hue, stain); otherwise one curve serves them all."""
        return any(part is not None and len(part) > 1 for part in (self.density, self.linear))


def draw_colour(rng: np.random.Generator, options: AugmentOptions, channels: int, restain: Restain | None = None) -> Colour:
    """A random colour change; hue and stain only where there are three channels. A `restain` comes before it."""

    def chosen(strength: float) -> bool:
        return bool(strength) and rng.random() < options.chance

    density, linear = None, None
    tone, hue = chosen(options.tone), chosen(options.hue or options.saturation) and channels == 3
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
        angle = 2 * math.pi * rng.uniform(-options.hue, options.hue)
        turned = _hue(angle, max(0.0, 1 + rng.uniform(-options.saturation, options.saturation)))
        scale, offset = (1.0, 0.0) if linear is None else linear[0]
        linear = np.column_stack([turned * scale, np.full(3, offset)])  # greys, and so the offset, keep their hue
    blur = rng.uniform(0, options.blur) if chosen(options.blur) else 0.0
    noise = rng.uniform(0, options.noise) if chosen(options.noise) else 0.0
    colour = Colour(density, linear, blur, noise, int(rng.integers(2**63)))
    if chosen(options.clahe):
        colour = replace(colour, clahe=rng.uniform(min(1.0, options.clahe), options.clahe))
    if chosen(options.cutout):
        colour = replace(colour, holes=draw_holes(rng, options, restain.white if restain else ()))
    return _restained(colour, restain) if restain else colour


def _restained(colour: Colour, restain: Restain) -> Colour:
    from malpighi.sampling.stain_transfer import after

    density = colour.density if restain.density is None else after(restain.density, colour.density)
    return replace(colour, density=density, tables=restain.tables)


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

    if colour.tables is not None:
        cv2.LUT(image, np.ascontiguousarray(colour.tables.T[None]), dst=image)
    if colour.blur:
        cv2.GaussianBlur(image, (side := kernel_side(colour.blur), side), colour.blur, dst=image)
    if colour.clahe:
        equalise(image, colour.clahe)
    _tone(image, colour)
    if colour.holes is not None:
        cut(image.transpose(2, 0, 1), colour.holes)


def equalise(image: np.ndarray, limit: float) -> None:
    """CLAHE of an 8-bit image (y, x, 1) or of the lightness of (y, x, 3) RGB, in place, in 8 × 8 fields."""
    import cv2

    equal = cv2.createCLAHE(limit, (8, 8)).apply
    if image.shape[2] == 1:
        image[..., 0] = equal(np.ascontiguousarray(image[..., 0]))
        return
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = equal(np.ascontiguousarray(lab[..., 0]))
    cv2.cvtColor(lab, cv2.COLOR_LAB2RGB, dst=image)


def _tone(image: np.ndarray, colour: Colour) -> None:
    """Both maps and the noise on a uint8 image, in place."""
    import cv2

    curved, colour = _curve_first(colour)
    if curved.density is not None or curved.linear is not None:
        curve = toned(np.arange(256, dtype=np.float32)[None] / 255, curved, np)[0]
        cv2.LUT(image, np.clip(np.rint(curve * 255), 0, 255).astype(np.uint8), dst=image)
    if not colour.mixes and not colour.noise:
        return
    rng = np.random.Generator(np.random.SFC64(colour.seed))
    noise = noise_bytes(rng, colour.noise, image.size) if colour.noise else None
    row = image.shape[1] * image.shape[2]
    rows = max(1, _STRIP // row)
    for first in range(0, len(image), rows):
        strip = image[first : first + rows]
        if colour.mixes:
            _mix(strip, colour)
        if noise is not None:
            place = first * row if noise.size >= image.size else int(rng.integers(max(1, noise.size - strip.size)))
            add_noise(strip, np.resize(noise[:, place : place + strip.size], strip.shape))


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


def _wide(image: np.ndarray, colour: Colour) -> np.ndarray:
    """The change of a uint16 or float image (y, x, C), as an array of its dtype."""
    import cv2

    low, high = float(image.min()), float(image.max())
    if not high > low or colour.nothing:
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
    changed = values.astype(image.dtype)
    if colour.holes is not None:
        cut(changed.transpose(2, 0, 1), colour.holes)
    return changed
