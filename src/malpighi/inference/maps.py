"""Class activation maps: where in an image a classifier sees its labels, and how much of it lies in each cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from malpighi.errors import RecipeError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from malpighi.models.classifier import Classifier


@dataclass(frozen=True)
class MapOptions:
    """How class maps are made and read cell by cell.

    Attributes:
        method: "cam" (Zhou et al. 2016), "grad-cam" (Selvaraju et al. 2017) or "grad-cam++" (Chattopadhay et al. 2018).
        scales: the image is looked at in each of these sizes, and the maps are averaged.
        flips: also mirrored, along both axes at once.
        pooling: of a map inside a cell: "mean", "max", or "top" (mean of the highest tenth).
    """

    method: Literal["cam", "grad-cam", "grad-cam++"] = "cam"
    scales: tuple[float, ...] = (1.0,)
    flips: bool = True
    pooling: Literal["mean", "max", "top"] = "mean"

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise RecipeError(f"maps.scales {list(self.scales)}: give one or more sizes above 0, 1.0 is the image's own")


def class_maps(
    network: Classifier,
    images: Tensor,
    options: MapOptions,
    classes: Sequence[int] | None = None,
    *,
    masks: Tensor | None = None,
    softmax: bool = False,
) -> Tensor:
    """Where each image shows each class, at the image's own resolution; why so: docs/design/class-maps.md.

    "cam": the network's class maps as probabilities: what it would say of an image that is everywhere as here, so that one
    threshold means the same in every image. "grad-cam", "grad-cam++": importance has no unit; each view's map is brought to
    a maximum of 1 and multiplied by the probability of the class in the image.

    Args:
        network: in any mode; left in the same.
        images: (batch, channel, y, x) float, as the network takes them, on its device.
        options: which method, on which views.
        classes: which, in this order; None: all. Each costs a backward pass, but of "cam".
        masks: (batch, 1, y, x) in 0 … 1, of networks with "gap-mask".
        softmax: the network was trained with "ce": classes exclude each other.

    Returns:
        (batch, class, y, x) float32 of 0 … 1, without gradient.

    Raises:
        ValueError: images of another number of axes or channels.
    """
    import torch
    from torch.nn import functional

    from malpighi.inference.activation import METHODS

    if images.ndim != 4 or images.shape[1] != network.in_channels:
        raise ValueError(f"images of shape {tuple(images.shape)}: this network takes (batch, {network.in_channels}, y, x)")
    chosen = range(network.classes) if classes is None else classes
    method = METHODS[options.method]
    views = [(scale, flip) for scale in options.scales for flip in ((False, True) if options.flips else (False,))]
    with _evaluating(network), torch.inference_mode(False), torch.no_grad():
        total = torch.zeros(len(images), len(chosen), *images.shape[2:], device=images.device)
        for scale, flip in views:
            view = _view(images, scale, flip)
            x, inside = network.fitted(view, None if masks is None else _view(masks, scale, flip))
            maps = _placed(method(network, x, inside, softmax, chosen), view.shape[2:], network)
            if view.shape != images.shape:
                maps = functional.interpolate(maps, images.shape[2:], mode="bilinear")
            total += maps.flip(2, 3) if flip else maps
    return (total / len(views)).clamp_(0, 1)


@contextmanager
def _evaluating(network: Classifier) -> Iterator[None]:
    was = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was)


def _view(images: Tensor, scale: float, flip: bool) -> Tensor:
    """Resized, smoothed where that makes it smaller, and mirrored along both axes."""
    from torch.nn import functional

    if scale != 1:
        sides = [max(1, round(side * scale)) for side in images.shape[2:]]
        images = functional.interpolate(images.float(), sides, mode="bilinear", antialias=scale < 1)
    return images.flip(2, 3) if flip else images


def _placed(coarse: Tensor, sides: Sequence[int], network: Classifier) -> Tensor:
    """Coarse maps at the resolution of their image, of which `sides` are kept: each place at the pixel that it is centred on.

    Linear in between; beyond the outermost places their value.
    """
    rows, columns = (
        _weights(size, count, network.origin, step, coarse)
        for size, count, step in zip(sides, coarse.shape[2:], network.stride, strict=True)
    )
    return rows @ coarse @ columns.T


def _weights(size: int, count: int, origin: float, step: int, like: Tensor) -> Tensor:
    """(size, count): how far each of `count` places, `step` pixels apart, counts at each pixel."""
    import torch

    at = ((torch.arange(size, device=like.device) - origin) / step).clamp(0, count - 1)
    return (1 - (at[:, None] - torch.arange(count, device=like.device)).abs()).clamp_min(0)


class Labelled(Protocol):
    """What `cell_maps` reads of `CellData`."""

    image_ids: tuple[str, ...]
    number: np.ndarray

    def image(self, i: int, /) -> np.ndarray:
        """(channel, y, x), of one shape for all images."""

    def labels(self, i: int, /) -> np.ndarray:
        """(y, x) cell numbers, 0 outside."""

    def cells_of(self, i: int, /) -> slice:
        """Rows of the cells of image `i`."""


MOST = 2**26
"""Values that the maps of one batch may hold: 256 MB, and as much again for the view that is added."""


def cell_maps(
    network: Classifier,
    prepare: Callable[[Tensor], Tensor],
    data: Labelled,
    options: MapOptions,
    *,
    batch: int = 8,
    device: str | torch.device = "cpu",
    softmax: bool = False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> np.ndarray:
    """How much of each class lies in each cell of all images.

    Args:
        network: on `device`.
        prepare: raw (batch, channel, y, x) voxels on the device → float network input, without masks.
        data: images and their cells; images without cells are not looked at.
        options: how maps are made, and pooled inside of a cell.
        batch: images at a time, fewer where their maps would hold more than `MOST` values.
        softmax: as in `class_maps`.
        on_progress: called after each batch with how many images are newly done.

    Returns:
        (cell, class) float32 of 0 … 1, rows as in `data`; 0 of a cell without a pixel at this size.
    """
    import torch

    from malpighi.inference.backends import supported
    from malpighi.models.pooling import pool_cells

    scores = np.zeros((len(data.number), network.classes), np.float32)
    full = [i for i in range(len(data.image_ids)) if data.number[data.cells_of(i)].size]
    on_progress(len(data.image_ids) - len(full))
    pixels = data.image(full[0])[0].size if full else 1
    batch = max(1, min(batch, MOST // (network.classes * pixels)))
    for start in range(0, len(full), batch):
        rows = full[start : start + batch]
        labels = torch.from_numpy(np.stack([data.labels(i).astype(np.int32) for i in rows])).to(device)
        images = prepare(torch.from_numpy(supported(np.stack([data.image(i) for i in rows]))).to(device))
        masks = (labels[:, None] > 0).float() if network.masked else None
        maps = class_maps(network, images, options, masks=masks, softmax=softmax)
        for i, image_maps, image_labels in zip(rows, maps, labels, strict=True):
            numbers = data.number[data.cells_of(i)]
            pooled = pool_cells(image_maps, image_labels, int(numbers.max()), options.pooling)
            scores[data.cells_of(i)] = pooled.cpu().numpy()[numbers - 1]
        on_progress(len(rows))
    return scores
