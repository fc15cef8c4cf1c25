"""One image through a network: the path that validation, `segment` and the demo share."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from malpighi.errors import RecipeError
from malpighi.geometry import Box
from malpighi.images import Source
from malpighi.images.base import Damage
from malpighi.images.cache import tiles
from malpighi.images.scaled import ScaledSource
from malpighi.inference.backends import Precision, torch_forward
from malpighi.inference.options import PredictOptions
from malpighi.inference.predict import ALIGN, Forward, predict
from malpighi.inference.progress import Progress
from malpighi.inference.route import columns
from malpighi.inference.slices import Axis, slices_forward
from malpighi.objects.hull import Hull
from malpighi.recipes.recipe import Recipe
from malpighi.sampling.blank import tissue_mask
from malpighi.sampling.own_intensity import measure_image
from malpighi.tasks.run import Inputs
from malpighi.tasks.talk import Talk

if TYPE_CHECKING:
    from malpighi.models.network import Network

MOST_CACHE_BYTES = 2**30
"""Decoded chunks of a volume that are held at most: beyond it, decoding again costs less than memory."""


def forward_of(
    network: Network,
    inputs: Inputs,
    options: PredictOptions,
    device: str,
    precision: Precision,
    channels_last: bool,
    axes: Sequence[Axis] = ("z",),
) -> Forward:
    """The network as the engine wants it: raw voxels in, probabilities out; one on slices is slid along `axes`."""
    make = partial(slices_forward, axes=axes) if getattr(network, "slices", None) else torch_forward
    return make(
        network,
        inputs.intensity,
        device=device,
        precision=precision,
        flips=options.flips,
        average=options.average,
        gate=options.gate,
        channels_last=channels_last,
    )


def tile_stride(network: Network) -> tuple[int, ...]:
    """Multiples of which the tiles of `predict` must be, by axis: networks on slices take cubes of any size."""
    stride = tuple(int(n) for n in network.stride)
    return (1,) * len(stride) if getattr(network, "slices", None) else stride


def prepare_source(source: Source, recipe: Recipe, talk: Talk | None = None, channels: int = 0) -> Source:
    """The image as the network takes it: on a scale of its own where the recipe says so, measured in one pass if it is new.

    Args:
        channels: that the network takes, see `with_channels`; 0: as many as there are.
    """
    source = with_channels(source, recipe, channels)
    if recipe.intensity.per == "dataset":
        return source
    with (talk or Talk()).bar("measuring intensities", total=1) as advance:
        done = 0.0

        def on_progress(part: float) -> None:
            nonlocal done
            advance(part - done)
            done = part

        intensity = measure_image(source, recipe.intensity, on_progress=on_progress)
        on_progress(1.0)  # also where it was known from before
        return ScaledSource(source, intensity)


def with_channels(source: Source, recipe: Recipe, channels: int) -> Source:
    """An image of one channel as three equal ones to a network that tells objects apart in RGB: nuclei are nuclei in grey too.

    Others are as they are: to a network that was trained on stains, grey would be another stain.
    """
    if recipe.task == "instances" and channels == 3 and len(source.channels) == 1:
        return RepeatedSource(source, ("red", "green", "blue"))
    return source


class RepeatedSource(Source):
    """An image of one channel as several equal ones.

    Args:
        source: closed with this one.
        channels: names that the channels get.
    """

    def __init__(self, source: Source, channels: tuple[str, ...]) -> None:
        self._source = source
        super().__init__(source.name, source.space, source.dtype, channels, source.fill)
        self.on_damage = source.on_damage

    def _read(self, box: Box, level: int) -> np.ndarray:
        return np.repeat(self._source.read(box, level), len(self.channels), axis=0)

    @property
    def damage(self) -> list[Damage]:
        """What the source beneath could not decode."""
        return self._source.damage

    def _close(self) -> None:
        self._source.close()


def predict_image(
    forward: Forward,
    source: Source,
    inputs: Inputs,
    options: PredictOptions,
    *,
    stride: tuple[int, ...] | None = None,
    within: Hull | None = None,
    region: Box | None = None,
    align: tuple[int, ...] | None = None,
    done: Container[Box] = (),
    progress: Progress | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[tuple[Box, np.ndarray]]:
    """Finished boxes of `source` with their probabilities, (output, *spatial) float32; see `inference.predict`.

    Glass is found at low resolution and left out where the options say so. A tile larger than the image is made smaller.

    Args:
        stride: `tile_stride` of the network, which smaller tiles keep to; None: 32 along every axis.
        within: outside of it nothing is predicted and probabilities are 0.
    """
    inputs.check(source)
    fitted = fit_tile(options, source.space.shape_at(inputs.spacing), stride)
    fit_cache(source, inputs, fitted)
    found = predict(
        forward,
        source,
        inputs.spacing,
        len(inputs.outputs),
        fitted,
        region=region,
        keep=kept_tiles(source, inputs, options, within),
        align=align,
        done=done,
        progress=progress,
        on_progress=on_progress,
    )
    for box, probabilities in found:
        if within is not None:
            np.multiply(probabilities, within.inside(box, inputs.spacing), out=probabilities)
        yield box, probabilities


def kept_tiles(source: Source, inputs: Inputs, options: PredictOptions, within: Hull | None) -> Callable[[Box], bool] | None:
    """Which tiles are predicted: those of a volume all, or those that reach into the hull; of a slide, those with tissue."""
    if within is not None:
        return lambda box: within.any(box, inputs.spacing)
    if not options.skip_blank or source.space.rank != 2:
        return None
    tissue = tissue_mask(source)
    return lambda box: tissue.any(box, inputs.spacing)


def fit_cache(source: Source, inputs: Inputs, options: PredictOptions) -> None:
    """Let the cache of decoded chunks hold two layers of the volume, or every row of tiles would decode the one before again.

    The chunks' size is not known here: they are taken to be as tiles are. Images need no more than they have.
    """
    if source.space.rank < 3:
        return
    shape, grid = source.space.shape_at(inputs.spacing), options.grid(source.space.shape_at(inputs.spacing))
    parts = columns(Box.of_shape(shape), ALIGN[len(shape)], grid, len(inputs.outputs), options.budget(len(shape)))
    layer = max(part.grow((0, *grid.tile[1:])).clip(shape).volume // part.size[0] for part in parts)
    level = source.space.shapes[source.space.level_for(inputs.spacing)]
    voxels = 2 * grid.tile[0] * layer * math.prod(level) / math.prod(shape)
    need = int(1.1 * voxels) * len(source.channels) * source.dtype.itemsize
    tiles.limit = max(tiles.limit, min(need, MOST_CACHE_BYTES))


def require_stride(options: PredictOptions, stride: tuple[int, ...], key: str = "predict.tile") -> None:
    """Refuse tiles that the network cannot take, before any work.

    Raises:
        RecipeError: a side is no multiple of the network's stride.
    """
    sides = options.sides(len(stride))
    if any(side % step for side, step in zip(sides, stride, strict=True)):
        fitting = [-(-side // step) * step for side, step in zip(sides, stride, strict=True)]
        steps, would = (v[0] if len(set(v)) == 1 else v for v in (stride, fitting))
        raise RecipeError(f"{key} = {options.tile}: this network takes multiples of {steps}; {would} would do")


def fit_tile(options: PredictOptions, shape: tuple[int, ...], stride: tuple[int, ...] | None = None) -> PredictOptions:
    """Options whose tile is no larger than the image needs: the image's sides, rounded up to the network's stride."""
    wanted, steps = options.sides(len(shape)), stride or (32,) * len(shape)
    sides = tuple(min(side, -(-n // step) * step) for side, n, step in zip(wanted, shape, steps, strict=True))
    if options.flips == "d4":  # right-angle turns need a square
        sides = (*sides[:-2], max(sides[-2:]), max(sides[-2:]))
    return replace(options, tile=sides)
