"""Cutout: holes in the image, after everything else has changed it; targets stay (DeVries & Taylor 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from malpighi.sampling.augment import AugmentOptions


@dataclass(frozen=True, eq=False)
class Holes:
    """Boxes that are cut out of one item; positions and lengths are parts of the tile, so that they fit any size and rank.

    Attributes:
        low: (n, 3) first corners, of the axes (z, y, x); of images the last two count.
        high: (n, 3) corners beyond the last voxel.
        fill: "black", "mean" of the tile, or "white".
        white: the slide's glass, an intensity a channel; for `fill` "white" alone.
    """

    low: np.ndarray
    high: np.ndarray
    fill: str = "black"
    white: tuple[float, ...] = ()

    def boxes(self, shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
        """The holes in a tile of `shape`, each at least one voxel on every axis."""
        sides = np.asarray(shape)
        first = np.minimum(np.floor(self.low[:, -len(shape) :] * sides), sides - 1).astype(int)
        last = np.maximum(np.ceil(self.high[:, -len(shape) :] * sides).astype(int), first + 1)
        return [tuple(map(slice, a, b)) for a, b in zip(first.tolist(), last.tolist(), strict=True)]


def draw_holes(rng: np.random.Generator, options: AugmentOptions, white: tuple[float, ...] = ()) -> Holes:
    """From 1 to `cutout_holes` boxes anywhere, each side between a tenth of the largest and the largest."""
    count = int(rng.integers(1, options.cutout_holes, endpoint=True))
    half = rng.uniform(0.1, 1.0, (count, 3)) * options.cutout / 2
    centre = rng.random((count, 3))
    low, high = np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
    return Holes(low, high, options.cutout_fill, white)


def cut(image: Any, holes: Holes) -> None:
    """Fill the holes of an image (C, *spatial), an array or a tensor, in place.

    Black is 0 of uint8 images and the tile's darkest value of others, whose range knows no other black.
    """
    value = _value(image, holes)
    for box in holes.boxes(tuple(image.shape[1:])):
        image[(slice(None), *box)] = value


def _value(image: Any, holes: Holes) -> Any:
    """(C, 1, …) of the image's type."""
    spatial = tuple(range(1, image.ndim))
    shape = (-1, *(1,) * len(spatial))
    if isinstance(image, np.ndarray):
        if holes.fill == "black":
            return np.zeros((), image.dtype) if image.dtype == np.uint8 else image.min()
        values = image.mean(spatial, dtype=np.float64) if holes.fill == "mean" else np.asarray(holes.white)
        return (np.rint(values) if image.dtype.kind in "iu" else values).astype(image.dtype).reshape(shape)
    whole = not image.is_floating_point()
    if holes.fill == "black":
        return 0 if whole else image.min()
    values = image.double().mean(spatial) if holes.fill == "mean" else image.new_tensor(holes.white).double()
    return (values.round() if whole else values).to(image.dtype).reshape(shape)
