"""Intensity: how raw voxels become what the network sees. Measured once, stored in the run, read again at inference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import numpy as np

from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Box, Spacing
from malpighi.images.base import Source
from malpighi.sampling.seeds import stream

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", np.ndarray, "Tensor")

# torchvision's and timm's constants, for intensities 0 … 1
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_MOST_VALUES = 4_000_000  # kept a channel; beyond it every second one is let go


@dataclass(frozen=True, slots=True)
class IntensityOptions:
    """How intensities are brought to a common scale.

    Attributes:
        kind: "imagenet" (RGB, fixed constants that pretrained encoders expect), "measured" (mean and spread of the data),
            "percentile" (clipped, to 0 … 1), "zscore" (clipped at the percentiles, then mean and spread), "range" (fixed limits
            to 0 … 1), or "auto": "imagenet" for 8-bit RGB, else "percentile".
        low: lower percentile for clipping.
        high: upper percentile for clipping.
        range: for "range", the two limits; empty takes the type's own (0 … 255, 0 … 65535, floats 0 … 1).
        per: "dataset": one scale for all images, from samples of each; "image": each is measured by itself, as a whole.
        soft: slope beyond the limits where values are clipped: a value x beyond the limit L becomes L + soft · (x - L), so
            that bright is told from brighter and no outlier stretches the scale. 0 clips hard; .001 is usual with "zscore".
    """

    kind: Literal["auto", "imagenet", "measured", "percentile", "zscore", "range"] = "auto"
    low: float = 0.5
    high: float = 99.5
    range: tuple[float, ...] = ()
    per: Literal["dataset", "image"] = "dataset"
    soft: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("auto", "imagenet", "measured", "percentile", "zscore", "range"):
            raise RecipeError(
                f"intensity.kind is {self.kind!r}; use 'auto', 'imagenet', 'measured', 'percentile', 'zscore' or 'range'"
            )
        if not 0 <= self.low < self.high <= 100:
            raise RecipeError(f"intensity.low {self.low} and high {self.high} must be percentiles, 0 <= low < high <= 100")
        if self.per not in ("dataset", "image"):
            raise RecipeError(f"intensity.per is {self.per!r}; use 'dataset' or 'image'")
        if not 0 <= self.soft < 1:
            raise RecipeError(f"intensity.soft is {self.soft}; a slope from 0 (hard limits) to below 1")
        if self.range and (len(self.range) != 2 or not self.range[0] < self.range[1]):
            raise RecipeError(f"intensity.range is {list(self.range)}; give two numbers, the lower first")


@dataclass(frozen=True, slots=True)
class Intensity:
    """(c + soft · (x - c) - offset) / scale with c = clip(x, low, high), channel by channel; raw units.

    Attributes:
        offset: one a channel.
        scale: one a channel, positive.
        low: lower clipping bound a channel; empty does not clip.
        high: upper clipping bound a channel; empty does not clip.
        soft: slope beyond the bounds a channel; empty: 0.
    """

    offset: tuple[float, ...]
    scale: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    soft: tuple[float, ...] = ()

    def apply(self, array: Array, axis: int = 1) -> Array:
        """Raw voxels → float32 network input; an array or a tensor of any type, on any device.

        Args:
            array: channels on `axis`: 1 in a batch (B, C, *spatial), 0 in one tile (C, *spatial).

        Raises:
            DataError: another number of channels than the intensities were measured with.
        """
        if array.shape[axis] != len(self.offset):
            raise DataError(
                f"image has {array.shape[axis]} channels and the intensities are for {len(self.offset)}; "
                "use a model trained on such images or choose the channels"
            )
        offset, scale, low, high = (self._like(array, v, axis) for v in (self.offset, self.scale, self.low, self.high))
        values = array.astype(np.float32) if isinstance(array, np.ndarray) else array.float()
        if self.low:
            # torch and NumPy name it alike
            clipped = values.clip(low, high)
            values = clipped + self._like(array, self.soft, axis) * (values - clipped) if self.soft else clipped
        return (values - offset) / scale

    def _like(self, array: Any, values: tuple[float, ...], axis: int) -> Any:
        """Per-channel numbers, shaped to broadcast against `array`, of its kind and on its device."""
        shape = [1] * array.ndim
        shape[axis] = len(values)
        numbers = np.asarray(values, np.float32).reshape(shape)
        if isinstance(array, np.ndarray):
            return numbers
        import torch

        return torch.from_numpy(numbers).to(array.device)

    @classmethod
    def identity(cls, channels: int) -> Self:
        """For voxels that are scaled already."""
        return cls((0.0,) * channels, (1.0,) * channels)

    def softened(self, soft: float) -> Self:
        """The same with a slope beyond the limits; as it is where there are none, or no slope."""
        return replace(self, soft=(soft,) * len(self.low)) if soft and self.low else self

    def as_dict(self) -> dict[str, list[float]]:
        """Plain lists, for `plan.json`."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Iterable[float]]) -> Self:
        """What `as_dict` gave."""
        return cls(**{name: tuple(float(v) for v in numbers) for name, numbers in values.items()})


def measure_intensity(
    sources: Iterable[Source], options: IntensityOptions, spacing: Spacing | None = None, boxes: int = 16, side: int = 128
) -> Intensity:
    """Find offset, scale and limits from samples of every image: `boxes` random boxes each, never a whole image.

    Args:
        sources: may be a generator that opens one image at a time; all need the same channels.
        spacing: at which the network works; level 0 where None.
        side: of the sampled boxes, in voxels.

    Raises:
        DataError: no images, channels that differ, NaN or infinity (with image and box).
        RecipeError: "imagenet" for images that are not of three channels.
    """
    samples: list[np.ndarray] = []
    step, count, channels, dtype = 4, 0, 0, np.dtype(np.uint8)
    kind: str = options.kind
    for number, source in enumerate(sources):
        if number == 0:
            channels, dtype = len(source.channels), source.dtype
            kind = kind_for(options, channels, dtype)
            if kind in ("imagenet", "range"):
                return fixed_intensity(kind, options, channels, dtype)
        if len(source.channels) != channels:
            raise DataError(f"{source.name}: has {len(source.channels)} channels, the first image has {channels}")
        at = spacing or source.space.spacing
        for box in _sample_boxes(source.space.shape_at(at), boxes, side, number):
            tile = require_finite(source.read_at(box, at), source.name, box)
            samples.append(tile.reshape(channels, -1)[:, ::step].astype(np.float32))
            count += samples[-1].shape[1]
        if count > _MOST_VALUES:
            samples, step = [np.concatenate(samples, 1)[:, ::2]], step * 2
            count = samples[0].shape[1]
    if not samples:
        raise DataError("no images to measure intensities from; give at least one")
    return _from_samples(kind, options, np.concatenate(samples, 1)).softened(options.soft)


def require_finite(array: np.ndarray, name: str, box: Box) -> np.ndarray:
    """The array itself, if every value is a number; integers always are.

    Raises:
        DataError: NaN or infinity, naming the image, the box and the first bad voxel.
    """
    if not np.issubdtype(array.dtype, np.floating) or np.isfinite(array.sum(dtype=np.float64)):
        return array
    bad = ~np.isfinite(array)
    if not bad.any():  # the sum alone overflowed
        return array
    first = np.unravel_index(int(np.argmax(bad)), array.shape)
    place = tuple(int(i) + a for i, a in zip(first[1:], box.start, strict=True))
    raise DataError(
        f"{name}: {int(bad.sum())} values in box {box} are NaN or infinite, the first at {place} in channel {int(first[0])}; "
        "replace them in the file, by 0 or the background's value"
    )


def kind_for(options: IntensityOptions, channels: int, dtype: np.dtype) -> str:
    """The kind that is asked for, "auto" resolved."""
    if options.kind != "auto":
        return options.kind
    return "imagenet" if channels == 3 and dtype == np.uint8 else "percentile"


def fixed_intensity(kind: str, options: IntensityOptions, channels: int, dtype: np.dtype) -> Intensity:
    """The kinds for which nothing is measured: "imagenet" and "range".

    Raises:
        RecipeError: "imagenet" for images that are not of three channels.
    """
    white = float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0
    if kind == "imagenet":
        if channels != 3:
            raise RecipeError(f"intensity.kind 'imagenet' is for RGB, the images have {channels} channels; use 'percentile'")
        return Intensity(tuple(white * m for m in IMAGENET_MEAN), tuple(white * s for s in IMAGENET_STD))
    low, high = options.range or (0.0, white)
    limits = Intensity((low,) * channels, (high - low,) * channels, (low,) * channels, (high,) * channels)
    return limits.softened(options.soft)


def _from_samples(kind: str, options: IntensityOptions, samples: np.ndarray) -> Intensity:
    """From (channel, N) float32 samples. A channel that is constant is only moved, not scaled."""
    if kind == "measured":
        return scaled_by(samples.mean(1, dtype=np.float64), samples.std(1, dtype=np.float64))
    low, high = np.percentile(samples, [options.low, options.high], axis=1)
    if kind == "percentile":
        return scaled_by(low, high - low, low, high)
    clipped = np.clip(samples, low[:, None], high[:, None])
    return scaled_by(clipped.mean(1, dtype=np.float64), clipped.std(1, dtype=np.float64), low, high)


def scaled_by(offset: np.ndarray, scale: np.ndarray, *limits: np.ndarray) -> Intensity:
    """From numbers a channel; one that is constant is only moved."""
    scale = np.where(scale > 1e-12, scale, 1.0)
    return Intensity(*(tuple(float(v) for v in values) for values in (offset, scale, *limits)))


def _sample_boxes(shape: tuple[int, ...], count: int, side: int, number: int) -> list[Box]:
    """Random boxes inside an image, or the whole image where that is no more; thin ones in 3-D, so that they cost as much."""
    tile = tuple(min(n, side) for n in shape) if len(shape) == 2 else tuple(min(n, max(1, side // 4)) for n in shape)
    whole = Box.of_shape(shape)
    if whole.volume <= count * Box.of_shape(tile).volume:
        return list(whole.split(tile))
    rng = stream(number)
    return [Box(tuple(int(rng.integers(n - t + 1)) for n, t in zip(shape, tile, strict=True)), tile) for _ in range(count)]
