"""The contract behind which everything that finds cells stands: an image in, cells out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from malpighi.errors import DataError, DependencyError
from malpighi.objects.cells import CellOptions, Cells, find_cells, finish_cells
from malpighi.recipes.cells import ChannelOptions

if TYPE_CHECKING:
    from malpighi.tasks.run import TrainedRun

Segmenter = Callable[[np.ndarray], Cells]
"""(channel, y, x) image with the recipe's channels in the recipe's order → its cells. May be called from several threads."""

STARTER = "nuclei"
_WIDE = 28
"""How wide nuclei are, in pixels, where the starter network sees them: 20 to 40 in most of its training images."""


def segmenter(options: CellOptions, channels: ChannelOptions) -> Segmenter:
    """What `options.method` names, ready to be used on many images.

    Raises:
        DependencyError: an optional package is missing.
        DataError: the starter model is not installed.
    """
    return _METHODS[options.method](options, channels)


def _classical(options: CellOptions, channels: ChannelOptions) -> Segmenter:
    def segment(image: np.ndarray) -> Cells:
        nucleus, cell = split_channels(image, channels)
        return find_cells(nucleus, cell, options)

    return segment


def split_channels(image: np.ndarray, channels: ChannelOptions) -> tuple[np.ndarray, np.ndarray]:
    """The nucleus channel, (y, x), and those that show the cell's extent, (channel, y, x).

    Raises:
        DataError: the image has another number of channels than the recipe names.
    """
    if image.ndim != 3 or len(image) != len(channels.names):
        raise DataError(f"an image of shape {image.shape}; give (channel, y, x) with the channels {', '.join(channels.names)}")
    return image[channels.names.index(channels.nucleus)], image[[channels.names.index(name) for name in channels.cell]]


def _by_cellpose(options: CellOptions, channels: ChannelOptions) -> Segmenter:
    """Cellpose finds cells; nuclei are found without learning, and a nucleus belongs to the cell that holds most of it."""
    try:
        from cellpose import models  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise DependencyError(
            'cells.method = "cellpose" needs the package cellpose; install it: pip install malpighi[cellpose]'
        ) from error
    import threading

    from malpighi.objects.resize import shrink

    model, one = models.CellposeModel(), threading.Lock()

    def segment(image: np.ndarray) -> Cells:
        nucleus, cell = split_channels(image, channels)
        found = find_cells(nucleus, cell, options)
        extent = [shrink(channel, options.scale) for channel in cell]
        shown = np.stack([np.mean(extent, axis=0), shrink(nucleus, options.scale)])
        with one:  # one network, one image at a time
            masks = np.asarray(model.eval(shown, channel_axis=0)[0], np.int32)
        return pair_cells(masks, found.nuclei, options)

    return segment


def pair_cells(labels: np.ndarray, nuclei: np.ndarray, options: CellOptions) -> Cells:
    """Cells and nuclei that were found apart: a cell keeps the nuclei of which it holds most, as one; without any it is dropped.

    Args:
        labels: (y, x) integer labels of cells, of the image's size or smaller.
        nuclei: (y, x) integer labels of nuclei, of the image's size.
    """
    from malpighi.objects.resize import enlarge_labels

    whole = enlarge_labels(labels, nuclei.shape)
    inside = (nuclei > 0) & (whole > 0)
    keys, counts = np.unique(nuclei[inside].astype(np.int64) << 32 | whole[inside], return_counts=True)
    owner = np.zeros(int(nuclei.max(initial=0)) + 1, np.int32)
    order = np.argsort(counts, kind="stable")
    owner[keys[order] >> 32] = keys[order] & 0xFFFFFFFF  # the largest share is written last
    mine = np.where(whole == owner[nuclei], owner[nuclei], 0)  # what hangs over is cut off
    return finish_cells(whole, mine, nuclei.shape, options)


def _by_network(options: CellOptions, channels: ChannelOptions) -> Segmenter:
    """Nuclei by the starter network at a size where it knows them, cells by the watershed."""
    import threading

    from malpighi.tasks.run import open_run

    run = open_run(Path(STARTER))
    layers, one = starter_layers(run), threading.Lock()

    def segment(image: np.ndarray) -> Cells:
        nucleus, cell = split_channels(image, channels)
        with one:
            nuclei = nuclei_by(layers, run, nucleus, options)
        return find_cells(nucleus, cell, options, nuclei)

    return segment


def starter_layers(run: TrainedRun) -> Callable[[np.ndarray], np.ndarray]:
    """The network as a function: (channel, y, x) in the run's dtype → (layer, y, x) float32."""
    from malpighi.images.array import ArraySource
    from malpighi.tasks.image import forward_of, predict_image, prepare_source, tile_stride

    network = run.network()
    options = replace(run.recipe.predict, skip_blank=False)  # dark is no glass here
    forward = forward_of(network, run.inputs, options, "cpu", "float32", run.recipe.train.channels_last)

    def layers(image: np.ndarray) -> np.ndarray:
        source = prepare_source(ArraySource(image, run.inputs.spacing), run.recipe)
        out = np.zeros((len(run.inputs.layers), *image.shape[1:]), np.float32)
        for box, part in predict_image(forward, source, run.inputs, options, stride=tile_stride(network)):
            out[(slice(None), *box.slices)] = part
        return out

    return layers


def nuclei_by(
    layers: Callable[[np.ndarray], np.ndarray], run: TrainedRun, nucleus: np.ndarray, options: CellOptions
) -> np.ndarray:
    """(y, x) int32 labels of nuclei at the image's size.

    The network sees the channel at a size where a nucleus of a typical area, eight times the smallest that counts, is `_WIDE` wide.
    """
    from malpighi.objects.instances import decode
    from malpighi.objects.resize import enlarge_labels, shrink

    typical = 2 * math.sqrt(8 * max(options.nucleus_area, 1.0) / math.pi)
    gray = shrink(nucleus, min(1.0, _WIDE / typical))
    span = float(gray.max() - gray.min())
    if not span > 0:
        return np.zeros(nucleus.shape, np.int32)
    eight = np.round((gray - gray.min()) / span * 255).astype(np.uint8)
    shown = np.repeat(eight[None], run.inputs.channels, axis=0)
    return enlarge_labels(decode(layers(shown), run.recipe.instances), nucleus.shape)


_METHODS: dict[str, Callable[[CellOptions, ChannelOptions], Segmenter]] = {
    "classical": _classical,
    "nuclei": _by_network,
    "cellpose": _by_cellpose,
}
