"""Batches of whole images and of cells' crops, augmented ahead of the network, in threads; number n is always the same one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

import numpy as np

from malpighi.sampling.ahead import ahead
from malpighi.sampling.augment import AugmentOptions, augment
from malpighi.sampling.cell_data import CellData
from malpighi.sampling.dataset import Batch
from malpighi.sampling.seeds import item_seed


class Items(Protocol):
    """Where samples come from; rows are those of `CellData`."""

    def read(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """(channel, side, side) raw pixels, and (side, side) bool: what is cell, where `finish` asks for it."""
        ...

    def finish(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(…, channel, side, side) and (…, 1, side, side) bool → what the network is given, raw."""
        ...


@dataclass(frozen=True)
class ImageItems:
    """Whole images.

    Attributes:
        masked: what is cell is added as a last channel of 0 and 1, for pooling by mask.
    """

    data: CellData
    masked: bool = False

    def read(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Items`."""
        image = self.data.image(row)
        return image, np.asarray(self.data.labels(row)) > 0 if self.masked else np.zeros(image.shape[1:], bool)

    def finish(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """See `Items`."""
        return with_mask(image, mask) if self.masked else image


@dataclass(frozen=True)
class CropItems:
    """Cells' crops.

    Attributes:
        alone: what is outside of the cell is made 0.
        masked: what is cell is added as a last channel of 0 and 1, for pooling by mask.
    """

    data: CellData
    alone: bool = True
    masked: bool = False

    def read(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Items`."""
        return self.data.crop(row), np.asarray(self.data.mask(row))

    def finish(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """See `Items`."""
        image = image * mask.astype(image.dtype) if self.alone else image
        return with_mask(image, mask) if self.masked else image


def with_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(…, channel, y, x) with the mask (…, 1, y, x) as a last channel of the same dtype."""
    return np.concatenate([image, mask.astype(image.dtype)], axis=-3)


@dataclass(frozen=True)
class CellBatches:
    """Training batches by number, of images or of crops; see `TileBatches`.

    Attributes:
        items: where samples are read.
        targets: (row, class) float32; NaN is given on.
        draw: sample number → row.
        augmentation: how samples are varied; a mask is warped with its image.
        batch: samples a batch.
        seed: of the augmentation.
        threads: that read ahead; 2 batches a thread are kept ready.
    """

    items: Items
    targets: np.ndarray
    draw: Callable[[int], int]
    augmentation: AugmentOptions
    batch: int
    seed: int
    threads: int = 2

    def __call__(self, first: int = 0) -> Generator[Batch]:
        """Batches number `first`, `first + 1`, … without end. Closing the iterator ends its threads."""
        return ahead(self.make, count(first), self.threads)

    def make(self, n: int) -> Batch:
        """Batch number `n`: raw (batch, channel[+ 1], side, side) and (batch, class) float32."""
        numbers = range(n * self.batch, (n + 1) * self.batch)
        rows = [self.draw(number) for number in numbers]
        images, masks = stacked(self.items, rows)
        # beyond the border there is no cell, though the image is mirrored there
        options = replace(self.augmentation, outside="unlabelled")
        seeds = [item_seed(self.seed, number) for number in numbers]
        images, warped = augment(images, masks.view(np.uint8), options, images.shape[2:], seeds)
        made = self.items.finish(images, warped == 1)  # in channels-last memory, as most networks take it
        return Batch(made, self.targets[rows].astype(np.float32, copy=False))


def stacked(items: Items, rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows as they are: (row, channel, side, side), and masks (row, 1, side, side) bool."""
    read = [items.read(row) for row in rows]
    return np.stack([image for image, _ in read]), np.stack([mask for _, mask in read])[:, None]


def in_order(items: Items, rows: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """Every row once, as it is, (at most `batch`, channel[+ 1], side, side); the next batch is read while one is used."""

    def make(first: int) -> np.ndarray:
        return items.finish(*stacked(items, rows[first : first + batch].tolist()))

    yield from ahead(make, range(0, len(rows), batch), threads=1)
