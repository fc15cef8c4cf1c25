"""Two tiles in one: halves joined by a Laplacian pyramid, a box of another tile, or the weighted mean. For images.

Both tiles are read and varied each by itself; which other tile it is depends on (seed, sample number) alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from malpighi.errors import RecipeError
from malpighi.sampling.augment import AugmentOptions
from malpighi.sampling.cases import UNKNOWN
from malpighi.sampling.seeds import stream

_TRIES = 16  # samples drawn until one is of a case with the same value; after them the tile stays as it is
# a partner is one of so many samples that follow: a grid that is shuffled anew each round keeps few rounds in mind
_NEAR = 2**12
_COARSEST = 16  # least side of the pyramid's top: a seam is then as wide as a quarter of the tile
_WEIGHT = 0.4  # of MixUp's Beta distribution (Zhang et al. 2018 use 0.1 to 0.4)


@dataclass(frozen=True)
class Mix:
    """What happens to one tile.

    Attributes:
        how: "blend", "cutmix" or "mixup".
        partner: number of the other sample.
        upright: of "blend", whether the seam is vertical.
        first: of "blend", whether the tile itself is the left or upper half.
        share: of "mixup" the tile's own weight; of "cutmix" the part of the area that stays its own, but for the border.
        place: of "cutmix", the box's centre (y, x) as parts of the sides.
    """

    how: str
    partner: int
    upright: bool = False
    first: bool = True
    share: float = 0.5
    place: tuple[float, float] = (0.5, 0.5)


def check_mixing(options: AugmentOptions, instances: str) -> None:
    """Refuse what object numbers cannot be given: half an object of one tile beside half of another is no object.

    Raises:
        RecipeError: `blend`, `cutmix` or `mixup` with instances.
    """
    for name in ("blend", "cutmix", "mixup"):
        if getattr(options, name) and instances != "none":
            raise RecipeError(
                f"augment.{name} = {getattr(options, name)} with instances.kind {instances!r}: mixed tiles have no whole objects; "
                "set it to 0"
            )


def draw_mix(options: AugmentOptions, seed: int, number: int, value: Callable[[int], str]) -> Mix | None:
    """What happens to sample `number`, if anything: the first of blend, CutMix and MixUp that its chance hits.

    Whether it is mixed does not hang on how its box was drawn: samplers use the streams (seed, number, 1 … 6).

    Args:
        seed: of the run.
        value: sample number → value of `options.same` of its case.
    """
    chances = {name: getattr(options, name) for name in ("blend", "cutmix", "mixup")}
    if not any(chances.values()):
        return None
    rng = stream(seed, number, 7)
    hit = {name: rng.random() < chance for name, chance in chances.items()}
    how = next((name for name, drawn in hit.items() if drawn), None)
    if how is None:
        return None
    partner = _partner(rng, options.same, number, value)
    if partner is None:
        return None
    seams = {"vertical": True, "horizontal": False, "random": bool(rng.random() < 0.5)}
    weight = rng.beta(_WEIGHT, _WEIGHT) if how == "mixup" else rng.random()  # CutMix: Beta(1, 1)
    place = (float(rng.random()), float(rng.random()))
    return Mix(how, partner, seams[options.blend_seam], bool(rng.random() < 0.5), float(weight), place)


def _partner(rng: np.random.Generator, same: str, number: int, value: Callable[[int], str]) -> int | None:
    own = value(number) if same else UNKNOWN
    for _ in range(_TRIES):
        drawn = number + 1 + int(rng.integers(_NEAR))
        if own == UNKNOWN or value(drawn) == own:
            return drawn
    return None


def mix(images: np.ndarray, targets: np.ndarray, mixes: Sequence[Mix | None]) -> tuple[np.ndarray, np.ndarray]:
    """Mix the first tiles of a batch, in place, with those that follow: one for each `Mix`, in their order.

    Args:
        images: (B + partners, C, y, x), any type; the tiles themselves first.
        targets: (B + partners, K, y, x): uint8 with 255 unlabelled, or, as "mixup" needs them, float32 shares with NaN.
        mixes: B of them; None leaves a tile as it is.

    Returns:
        images (B, C, y, x) and targets (B, K, y, x).
    """
    partners = iter(range(len(mixes), len(images)))
    for i, one in enumerate(mixes):
        if one is not None:
            k = next(partners)
            images[i], targets[i] = mix_pair((images[i], targets[i]), (images[k], targets[k]), one)
    return images[: len(mixes)], targets[: len(mixes)]


def mix_pair(
    own: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], one: Mix
) -> tuple[np.ndarray, np.ndarray]:
    """One tile (image (C, y, x), target (K, y, x)) with another; new arrays of the first's types.

    Raises:
        ValueError: "mixup" of targets that are no shares.
    """
    (image, target), (image2, target2) = own, other
    if one.how == "mixup":
        if target.dtype.kind != "f":
            raise ValueError(f"targets of mixed-up tiles are float32 shares; these are {target.dtype}")
        mean = image.astype(np.float32) * one.share + image2.astype(np.float32) * (1 - one.share)
        return _cast(mean, image.dtype), (target * one.share + target2 * (1 - one.share)).astype(target.dtype)
    if one.how == "cutmix":
        box: tuple[Any, ...] = (..., *cutmix_box(image.shape[1:], one))
        image, target = image.copy(), target.copy()
        image[box], target[box] = image2[box], target2[box]
        return image, target
    left = (own, other) if one.first else (other, own)
    joined = pyramid_blend(left[0][0], left[1][0], one.upright)
    middle = target.shape[2 if one.upright else 1] // 2
    half = np.s_[..., :middle] if one.upright else np.s_[:, :middle]
    labels = left[1][1].copy()
    labels[half] = left[0][1][half]
    return joined, labels


def cutmix_box(shape: tuple[int, ...], one: Mix) -> tuple[slice, ...]:
    """The other tile's box: of the tile's proportions, 1 - share of its area, cut off at the border."""
    part = np.sqrt(1 - one.share)
    centres = [round(p * n) for p, n in zip(one.place, shape, strict=True)]
    halves = [round(n * part / 2) for n in shape]
    return tuple(slice(max(0, c - h), c + h) for c, h in zip(centres, halves, strict=True))


def pyramid_blend(first: np.ndarray, second: np.ndarray, upright: bool) -> np.ndarray:
    """The left (or upper) half of one image and the right (or lower) of another, each frequency joined over its own width.

    Burt & Adelson (1983). A pyramid is linear, so it is made once, of the difference: second + Σ of (mask × levels of
    first - second). Equal images give the very image.

    Args:
        first, second: (C, y, x), of one shape and type.
        upright: whether the seam is vertical, so that `first` is the left half.

    Returns:
        (C, y, x) of their type, in channels-last memory.
    """
    import cv2

    a, b = (np.ascontiguousarray(image.transpose(1, 2, 0), np.float32) for image in (first, second))
    masks = _masks(a.shape[:2], upright)
    level = a - b
    bands = []
    for _ in masks[1:]:
        coarse = _like(cv2.pyrDown(level), level)
        bands.append(level - _like(cv2.pyrUp(coarse, dstsize=level.shape[1::-1]), level))
        level = coarse
    joined = level * masks[-1]
    for band, mask in zip(bands[::-1], masks[-2::-1], strict=True):
        joined = _like(cv2.pyrUp(joined, dstsize=band.shape[1::-1]), band) + band * mask
    return _cast(b + joined, first.dtype).transpose(2, 0, 1)


def _like(image: np.ndarray, model: np.ndarray) -> np.ndarray:
    """OpenCV drops the axis of one channel; put it back."""
    return image if image.ndim == model.ndim else image[..., None]


@lru_cache(maxsize=16)
def _masks(shape: tuple[int, int], upright: bool) -> tuple[np.ndarray, ...]:
    """1 in the first half and 0 in the second, (y, x, 1), at each level of the pyramid."""
    import cv2

    mask = np.zeros(shape, np.float32)
    middle = shape[1 if upright else 0] // 2
    mask[(np.s_[:, :middle] if upright else np.s_[:middle])] = 1
    masks = [mask]
    while min(masks[-1].shape) >= 2 * _COARSEST:
        masks.append(cv2.pyrDown(masks[-1]))
    return tuple(m[..., None] for m in masks)


def _cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind not in "iu":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
