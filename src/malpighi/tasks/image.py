"""One image through a network: the path that validation, `segment` and the demo share."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from malpighi.errors import RecipeError
from malpighi.geometry import Box
from malpighi.images import Source
from malpighi.inference.backends import Precision, torch_forward
from malpighi.inference.options import PredictOptions
from malpighi.inference.predict import Forward, predict
from malpighi.inference.progress import Progress
from malpighi.sampling.blank import tissue_mask
from malpighi.tasks.run import Inputs

if TYPE_CHECKING:
    from torch import nn


def forward_of(
    network: nn.Module, inputs: Inputs, options: PredictOptions, device: str, precision: Precision, channels_last: bool
) -> Forward:
    """The network as the engine wants it: raw voxels in, probabilities out."""
    return torch_forward(network, inputs.intensity, device, precision, options.flips, channels_last)


def predict_image(
    forward: Forward,
    source: Source,
    inputs: Inputs,
    options: PredictOptions,
    *,
    region: Box | None = None,
    align: tuple[int, ...] | None = None,
    done: Container[Box] = (),
    progress: Progress | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[tuple[Box, np.ndarray]]:
    """Finished boxes of `source` with their probabilities, (class, *spatial) float32; see `inference.predict`.

    Glass is found at low resolution and left out where the options say so. A tile larger than the image is made smaller.
    """
    inputs.check(source)
    keep = None
    if options.skip_blank:
        tissue = tissue_mask(source)
        keep = lambda box: tissue.any(box, inputs.spacing)  # noqa: E731
    fitted = fit_tile(options, source.space.shape_at(inputs.spacing))
    yield from predict(
        forward,
        source,
        inputs.spacing,
        len(inputs.classes),
        fitted,
        region=region,
        keep=keep,
        align=align,
        done=done,
        progress=progress,
        on_progress=on_progress,
    )


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


def fit_tile(options: PredictOptions, shape: tuple[int, ...], stride: int = 32) -> PredictOptions:
    """Options whose tile is no larger than the image needs: the image's sides, rounded up to the network's stride."""
    wanted = options.sides(len(shape))
    sides = tuple(min(side, -(-length // stride) * stride) for side, length in zip(wanted, shape, strict=True))
    if options.flips == "d4":  # right-angle turns need a square
        sides = (max(sides),) * len(sides)
    return replace(options, tile=sides)
