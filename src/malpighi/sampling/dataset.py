"""From boxes to batches: read, rasterise, augment, ahead of the network, in threads."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from malpighi.annotations.base import UNLABELLED, Annotation
from malpighi.errors import DataError
from malpighi.geometry import Box, Spacing
from malpighi.images.pad import read_padded
from malpighi.sampling.ahead import ahead
from malpighi.sampling.augment import AugmentOptions, augment, draw
from malpighi.sampling.seeds import item_seed

if TYPE_CHECKING:
    from malpighi.sampling.cases import OpenCase


class Batch(NamedTuple):
    """Raw voxels (batch, channel, *tile) and targets (batch, class, *tile) uint8 of 0, 1 and 255 = unlabelled.

    To tell objects apart targets are (batch, layer, *tile) float32 in 0 … 1, NaN = unlabelled: see `instance_targets`; and so they
    are, (batch, class, *tile), where labels are probabilities or tiles are mixed (`AugmentOptions.mixup`).
    `facts` of the tiles as wholes, by name, for `ModelOptions.tells`: an attribute's (batch,) int64 number among its values, -1 unknown;
    "pixel_size" (batch,) float32, log2 of the size over the working spacing.
    """

    images: np.ndarray
    targets: np.ndarray
    facts: Mapping[str, np.ndarray] = MappingProxyType({})


@dataclass(frozen=True)
class TileBatches:
    """Training batches by number: batch n holds the same voxels whenever, and by whomever, it is asked for.

    So a run that goes on from step n sees what an unbroken one would have seen, and the number of threads changes nothing.

    Attributes:
        cases: open images with annotations over all classes.
        draw: sample number → (case index, box of tile size on that case's grid at `spacing`); a sampler.
        spacing: working spacing of tiles.
        tile: side lengths of what comes out.
        context: tiles of images are read this many times as large and cut to `tile` after the warp, so that rotation meets
            tissue. Of volumes the warp is drawn first, and the very box that it needs is read.
        augmentation: how tiles are varied.
        batch: tiles a batch.
        seed: of the augmentation.
        threads: that read ahead; 2 batches a thread are kept ready.
        instances: what targets are made of object numbers, see `InstanceOptions`; "none": targets are class layers.
    """

    cases: Sequence[OpenCase]
    draw: Callable[[int], tuple[int, Box]]
    spacing: Spacing
    tile: tuple[int, ...]
    context: float
    augmentation: AugmentOptions
    batch: int
    seed: int
    threads: int = 2
    instances: str = "none"

    def __call__(self, first: int = 0) -> Generator[Batch]:
        """Batches number `first`, `first + 1`, … without end. Closing the iterator ends its threads."""
        return ahead(self.make, count(first), self.threads)

    def make(self, n: int) -> Batch:
        """Batch number `n`."""
        numbers = range(n * self.batch, (n + 1) * self.batch)
        if len(self.tile) == 3:
            return Batch(*_stacked(self.varied(number) for number in numbers))
        images, targets = _stacked(self.read(number) for number in numbers)
        seeds = [item_seed(self.seed, number) for number in numbers]
        images, targets = augment(images, targets, self.augmentation, self.tile, seeds, self.spacing.values)
        return Batch(images, self._layers(targets))

    def read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Sample `number` before augmentation: (channel, *read size) and (class, *read size); of volumes of the tile's size.

        To tell objects apart the second is (1, *read size) uint16 object numbers, among which 255 is no object but unlabelled.
        """
        index, box = self.draw(number)
        context = self.context if len(self.tile) == 2 else 1
        grown = box.grow(tuple(round(side * (context - 1) / 2) for side in self.tile))
        return self._pair(self.cases[index], grown)

    def varied(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Sample `number` of volumes, augmented: (channel, *tile) and (class, *tile)."""
        from malpighi.sampling.colour_volume import apply_colour
        from malpighi.sampling.remap_volume import warp_read

        index, box = self.draw(number)
        case = self.cases[index]
        seeds, channels = [item_seed(self.seed, number)], len(case.source.channels)
        (warp,), (colour,) = draw(self.augmentation, self.tile, seeds, channels, self.spacing.values)
        read = lambda needed: self._pair(case, needed.shift(box.start))  # noqa: E731
        image, target = warp_read(read, warp, self.tile, self.augmentation.outside)
        return apply_colour(image, colour), target

    def _pair(self, case: OpenCase, box: Box) -> tuple[np.ndarray, np.ndarray]:
        return case.source.read_at(box, self.spacing), self._target(case, box)

    def _layers(self, targets: np.ndarray) -> np.ndarray:
        """What the network shall give, of what the warp left: a warp bends distances and turns vectors, so they come last."""
        if self.instances == "none":
            return targets
        from malpighi.sampling.instance_targets import instance_targets

        return instance_targets(np.stack([parted(numbers) for numbers in targets[:, 0]]), self.instances)

    def _target(self, case: OpenCase, box: Box) -> np.ndarray:
        """Class layers of `box`; beyond the border mirrored as the image is, or a mirrored object would be background."""
        annotation = case.annotation
        assert annotation is not None, "training cases are labelled"
        shape = case.source.space.shape_at(self.spacing)
        if self.instances != "none":
            number = lambda inside: tile_numbers(annotation, inside, self.spacing)[None]  # noqa: E731
            return read_padded(number, box, shape, "reflect", np.dtype(np.uint16), 1)
        draw = lambda inside: annotation.rasterise(inside, self.spacing)  # noqa: E731
        return read_padded(draw, box, shape, "reflect", np.dtype(np.uint8), len(annotation.classes))


def tile_numbers(annotation: Annotation, box: Box, spacing: Spacing) -> np.ndarray:
    """Object numbers of `box`, renumbered from 1 within it: (*spatial) uint16, `UNLABELLED` (255) where nobody said.

    255 is left out of the numbers, so that it means in a warp what it means in class layers. Where the file does not tell
    objects apart they are the connected components of what is in the box.

    Raises:
        DataError: 65,000 objects in one tile.
    """
    layer = annotation.rasterise(box, spacing)[0]
    if annotation.has_objects:
        numbers = _renumbered(annotation.instances(box, spacing))
    else:
        import cv2

        numbers = cv2.connectedComponents((layer == 1).view(np.uint8), connectivity=8)[1]
    if numbers.max(initial=0) >= 65_000:
        raise DataError(f"{annotation.name}: {numbers.max()} objects in {box}; that is no image of objects, check the labels")
    numbers = numbers + (numbers >= UNLABELLED)
    numbers[layer == UNLABELLED] = UNLABELLED
    return numbers.astype(np.uint16)


def _renumbered(found: np.ndarray) -> np.ndarray:
    """The numbers that occur as 1, 2, … in the same order; 0, and what is below, is background."""
    found = np.maximum(found, 0)
    top = int(found.max(initial=0))
    if top > 16 * found.size:  # a table of all numbers would be larger than the tile
        names, inverse = np.unique(np.append(found, 0), return_inverse=True)
        return np.cumsum(names > 0)[inverse[:-1]].reshape(found.shape)
    present = np.zeros(top + 1, bool)
    present[found] = True
    present[0] = False
    return np.cumsum(present)[found] * (found > 0)


def parted(numbers: np.ndarray) -> np.ndarray:
    """Numbers as a warp left them → one number a connected piece, (y, x) int32, -1 where nobody said.

    An object that the mirrored border shows twice is two objects.
    """
    from skimage.measure import label

    unknown = numbers == UNLABELLED
    pieces = label(np.where(unknown, 0, numbers), background=0, connectivity=2).astype(np.int32)
    pieces[unknown] = -1
    return pieces


def _stacked(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    images, targets = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
    return images, targets
