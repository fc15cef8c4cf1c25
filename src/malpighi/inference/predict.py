"""predict: slide a network over an image of any size and give away each part of the result as soon as it is finished."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from malpighi.errors import DataError, MalpighiError
from malpighi.geometry import Box, Spacing
from malpighi.images.base import Source
from malpighi.inference.canvas import Canvas
from malpighi.inference.options import PredictOptions
from malpighi.inference.progress import Progress
from malpighi.inference.route import Visit, columns, route
from malpighi.inference.window import Window
from malpighi.sampling.intensity import require_finite

Forward = Callable[[np.ndarray], np.ndarray]
"""(batch, channel, *tile) voxels as read → (batch, class, *tile) float32 probabilities, a fresh array each time."""

ALIGN = {2: (2048, 2048), 3: (32, 256, 256)}
"""Output boxes by rank. In 3-D they are thin, because a box waits for its last row: with 128³ tiles at half overlap boxes of
32 leave 64 rows unfinished, boxes of 128 leave 160 and more."""
_LONGEST = 256  # visits a batch, so that boxes of bare glass are given away without waiting for the next tissue


def predict(
    forward: Forward,
    source: Source,
    spacing: Spacing,
    classes: int,
    options: PredictOptions,
    *,
    region: Box | None = None,
    keep: Callable[[Box], bool] | None = None,
    align: tuple[int, ...] | None = None,
    done: Container[Box] = (),
    progress: Progress | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[tuple[Box, np.ndarray]]:
    """Predict `region` of an image; memory depends on the options, not on the image.

    Every voxel of the region is in exactly one of the boxes that come, each with its finished probabilities. A voxel's
    value depends on neither region, `align`, columns nor `done`: tiles and their weights are anchored at the image's
    origin, are summed in one order, and batches are of one size, so a region predicted alone equals the same region of
    the whole bit for bit wherever `forward` treats the samples of a batch alike (torch on a CPU does).

    Args:
        spacing: working spacing; boxes are voxels of the image at this spacing.
        classes: that `forward` gives.
        region: what to predict; None is the whole image. It is clipped to the image.
        keep: asked once a tile with the part of the image to which it would contribute; where it says no, the tile is
            neither read nor predicted and adds zero.
        align: boxes are cut along multiples of this, and by the region's border. Default: `ALIGN`.
        done: boxes of that cut that are not wanted again: a resumed run gives those it has.
        progress: is kept up to date; `on_progress` is called with it after each batch, in the caller's thread.

    Yields:
        box, (class, *box.size) float32 probabilities. The array is the consumer's own.

    Raises:
        TileError, DataError: a tile cannot be read; the message names its box.
    """
    shape = source.space.shape_at(spacing)
    window = Window(options.grid(shape), options.window)
    region = Box.of_shape(shape) if region is None else region.clip(shape)
    if region.empty:
        return
    align = align or ALIGN[len(shape)]
    parts = columns(region, align, window.grid, classes, options.budget(len(shape)))

    def visits() -> Iterator[Visit]:
        return itertools.chain.from_iterable(route(window, part, align, done.__contains__) for part in parts)

    progress = progress if progress is not None else Progress()
    progress.total += sum(1 for _ in visits())
    batches = _batches(visits(), window, keep, options.batch)
    work = _Work(forward, source, spacing, window, Canvas(classes), options, progress)
    for finished in work.run(batches):
        if on_progress is not None:
            on_progress(progress)
        with progress.time("yield"):
            while finished:
                yield finished.pop(0)  # and hold it no longer than the consumer does


@dataclass(frozen=True, slots=True)
class _Batch:
    """Consecutive visits; whether each one's tile is predicted; the boxes of those that are."""

    visits: list[tuple[Visit, bool]]
    tiles: list[Box]


def _batches(visits: Iterable[Visit], window: Window, keep: Callable[[Box], bool] | None, size: int) -> Iterator[_Batch]:
    batch = _Batch([], [])
    for visit in visits:
        kept = keep is None or bool(keep(window.reach(visit.index)))
        batch.visits.append((visit, kept))
        if kept:
            batch.tiles.append(window.grid.tile_box(visit.index))
        if len(batch.tiles) == size or len(batch.visits) == _LONGEST:
            yield batch
            batch = _Batch([], [])
    if batch.visits:
        yield batch


@dataclass(frozen=True, slots=True)
class _Work:
    """Three stages at once: threads read ahead, the caller's thread runs the network, one more thread blends."""

    forward: Forward
    source: Source
    spacing: Spacing
    window: Window
    canvas: Canvas
    options: PredictOptions
    progress: Progress

    def run(self, batches: Iterator[_Batch]) -> Iterator[list[tuple[Box, np.ndarray]]]:
        """The boxes that each batch finishes."""
        readers = ThreadPoolExecutor(self.options.readers, thread_name_prefix="malpighi-read")
        blender = ThreadPoolExecutor(1, thread_name_prefix="malpighi-blend")
        blending: Future[list[tuple[Box, np.ndarray]]] | None = None
        try:
            for batch, tiles in self._read_ahead(readers, batches):
                answer = None if tiles is None else self._forward(tiles)
                finished = blending.result() if blending else []  # of the batch before: blended while this one ran
                blending = blender.submit(self._blend, batch, answer)
                yield finished
            if blending:
                yield blending.result()
        finally:  # also when the consumer stops early, or on Ctrl-C: no thread outlives the generator
            readers.shutdown(wait=True, cancel_futures=True)
            blender.shutdown(wait=True, cancel_futures=True)

    def _read_ahead(self, readers: ThreadPoolExecutor, batches: Iterator[_Batch]) -> Iterator[tuple[_Batch, np.ndarray | None]]:
        """Batches with their tiles, in order; one more than there are readers is under way."""
        under_way: deque[tuple[_Batch, Future[np.ndarray | None]]] = deque()
        for batch in itertools.chain(batches, itertools.repeat(None)):
            if batch is not None:
                under_way.append((batch, readers.submit(self._read, batch)))
            if not under_way:
                return
            if batch is None or len(under_way) > self.options.readers + 1:
                first, tiles = under_way.popleft()
                with self.progress.time("wait"):
                    ready = tiles.result()
                yield first, ready

    def _read(self, batch: _Batch) -> np.ndarray | None:
        """(batch, channel, *tile) of the kept tiles, filled up to the batch size; None where there are none."""
        if not batch.tiles:
            return None
        with self.progress.time("read"):
            first = _read_tile(self.source, batch.tiles[0], self.spacing)
            tiles = _batch_like(first, self.options.batch)
            for i, box in enumerate(batch.tiles):
                tiles[i] = first if i == 0 else _read_tile(self.source, box, self.spacing)
            tiles[len(batch.tiles) :] = first
        return tiles

    def _forward(self, tiles: np.ndarray) -> np.ndarray:
        with self.progress.time("forward"):
            answer = self.forward(tiles)
        expected = (len(tiles), self.canvas.classes, *tiles.shape[2:])
        if answer.shape != expected or answer.dtype != np.float32:
            raise ValueError(f"the network gave {answer.shape} {answer.dtype} for {tiles.shape}; expected {expected} float32")
        return answer

    def _blend(self, batch: _Batch, answer: np.ndarray | None) -> list[tuple[Box, np.ndarray]]:
        """Put a batch on the canvas and take what it finishes."""
        finished = []
        answers = iter(() if answer is None else answer)
        with self.progress.time("blend"):
            for visit, kept in batch.visits:
                if kept:
                    self._paste(visit, next(answers))
                finished += [(box, self.canvas.take(box)) for box in visit.finishes]
        self.progress.tiles += len(batch.tiles)
        self.progress.skipped += len(batch.visits) - len(batch.tiles)
        return finished

    def _paste(self, visit: Visit, tile: np.ndarray) -> None:
        weights = self.window.weights(visit.index)
        reach = self.window.reach(visit.index)
        origin = self.window.grid.tile_box(visit.index).start
        for box in visit.feeds:
            self.canvas.add(box, reach, origin, tile, weights)


def _batch_like(tile: np.ndarray, size: int) -> np.ndarray:
    """An array for `size` tiles in the memory order of one: JPEG decodes channels-last, and turning costs more than decoding."""
    if tile.strides[0] > tile.strides[-1]:
        return np.empty((size, *tile.shape), tile.dtype)
    return np.moveaxis(np.empty((size, *tile.shape[1:], tile.shape[0]), tile.dtype), -1, 1)


def _read_tile(source: Source, box: Box, spacing: Spacing) -> np.ndarray:
    try:
        return require_finite(source.read_at(box, spacing), source.name, box)
    except MalpighiError as error:
        raise type(error)(f"{error} (while reading the tile {box} at {spacing})") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{source.name}: cannot read the tile {box} at {spacing}: {error}") from error
