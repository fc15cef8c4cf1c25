"""From boxes to batches: read, rasterise, augment, ahead of the network, in threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
from malpighi.sampling.mix import Mix, check_mixing, draw_mix, mix
from malpighi.sampling.seeds import item_seed, stream
from malpighi.sampling.warp import draw_warp

if TYPE_CHECKING:
    from malpighi.sampling.cases import OpenCase
    from malpighi.sampling.stain_bank import Stains

PIXEL_SIZE = "pixel_size"
"""The fact of a tile that is a number, not one of an attribute's values."""


class Batch(NamedTuple):
    """Raw voxels (batch, channel, *tile) and targets (batch, class, *tile) uint8 of 0, 1 and 255 = unlabelled.

    To tell objects apart targets are (batch, layer, *tile) float32 in 0 … 1, NaN = unlabelled: see `instance_targets`; and so they
    are, (batch, class, *tile), where labels are probabilities or tiles are mixed (`AugmentOptions.mixup`).
    `facts` of the tiles as wholes, by name, for `ModelOptions.tells`: an attribute's (batch,) int64 number among its values, -1 unknown;
    "pixel_size" (batch,) float32, log2 of the size over the working spacing, NaN unknown.
    """

    images: np.ndarray
    targets: np.ndarray
    facts: Mapping[str, np.ndarray] = MappingProxyType({})


@dataclass(frozen=True)
class TileBatches:
    """Training batches by number: batch n holds the same voxels whenever, and by whomever, it is asked for.

    So a run that goes on from step n sees what an unbroken one would have seen, and the number of threads changes nothing.

    Attributes:
        cases: open images with annotations over all classes; one may stand here several times, at several `spacings`.
        draw: sample number → (case index, box of tile size on that case's grid at its spacing); a sampler.
        spacing: working spacing of tiles.
        tile: side lengths of what comes out.
        context: tiles of images are read this many times as large and cut to `tile` after the warp, so that rotation meets
            tissue. Of volumes the warp is drawn first, and the very box that it needs is read.
        augmentation: how tiles are varied.
        batch: tiles a batch.
        seed: of the augmentation.
        threads: that read ahead; 2 batches a thread are kept ready.
        instances: what targets are made of object numbers, see `InstanceOptions`; "none": targets are class layers.
        spacings: of each of `cases`, where they are not all worked at `spacing`; see `reductions.views`.
        tells: which `Batch.facts` are given: attributes, and "pixel_size".
        told: attribute → its values, in the order in which they are numbered.
        stains: of `cases` and of what they are made to look like, where the augmentation asks for it, see `needs_stains`.
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
    spacings: Sequence[Spacing] = ()
    tells: Sequence[str] = ()
    told: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stains: Stains | None = None

    def __post_init__(self) -> None:
        check_mixing(self.augmentation, self.instances)
        if self.spacings and len(self.spacings) != len(self.cases):
            raise ValueError(f"{len(self.spacings)} spacings for {len(self.cases)} cases; give one a case, or none")

    def __call__(self, first: int = 0) -> Generator[Batch]:
        """Batches number `first`, `first + 1`, … without end. Closing the iterator ends its threads."""
        return ahead(self.make, count(first), self.threads)

    def make(self, n: int) -> Batch:
        """Batch number `n`: tiles are read, varied, and told of."""
        numbers = range(n * self.batch, (n + 1) * self.batch)
        images, targets = self._warped(numbers)
        return Batch(images, self._layers(targets), self.facts(numbers))

    def _warped(self, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Images and targets (batch, channel or class, *tile) after augmentation; object numbers are not layers yet."""
        if len(self.tile) == 3:
            images, targets = _stacked(self.varied(number) for number in numbers)
        else:
            images, targets = self._mixed(numbers)
        if targets.dtype == np.float32 and self.augmentation.outside == "unlabelled":
            targets[targets == UNLABELLED] = np.nan  # beyond the border a warp puts 255
        return images, targets

    def _mixed(self, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Tiles of images, varied, and some of them mixed with another one, that is read and varied for it."""
        options = self.augmentation
        mixes, every, seeds = self._partnered(numbers)
        pairs = zip(seeds, every, strict=True)
        restains = [self.stains.restain(s, self.draw(n)[0], options) for s, n in pairs] if self.stains else ()
        images, targets = augment(*self.gathered(every), options, self.tile, seeds, self.spacing.values, restains)
        return mix(images, as_shares(targets) if options.mixup else targets, mixes)

    def _partnered(self, numbers: Sequence[int]) -> tuple[list[Mix | None], list[int], list[int]]:
        """How samples are mixed; their numbers, and after them their partners'; the seeds by which all these are varied."""
        value = lambda number: self.cases[self.draw(number)[0]].case.value(self.augmentation.same)  # noqa: E731
        mixes = [draw_mix(self.augmentation, self.seed, number, value) for number in numbers]
        others = [(n, one.partner) for n, one in zip(numbers, mixes, strict=True) if one]
        seeds = [item_seed(self.seed, n) for n in numbers] + [item_seed(self.seed, partner, n) for n, partner in others]
        return mixes, [*numbers, *(partner for _, partner in others)], seeds

    def gathered(self, numbers: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        """Samples as they are read, one after the other: (sample, channel, *read size) and (sample, class, *read size)."""
        return _stacked(self.read(number) for number in numbers)

    def read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Sample `number` before augmentation: (channel, *read size) and (class, *read size); of volumes of the tile's size.

        The second is uint8 with 255 where nobody said; of a case whose labels are probabilities float32, NaN where nobody said. To
        tell objects apart it is (1, *read size) uint16 object numbers, among which 255 is no object but unlabelled.
        """
        index, box = self.draw(number)
        context = self.context if len(self.tile) == 2 else 1
        grown = box.grow(tuple(round(side * (context - 1) / 2) for side in self.tile))
        return self.pair(index, grown)

    def varied(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Sample `number` of volumes, augmented: (channel, *tile) and (class, *tile)."""
        from malpighi.sampling.colour_volume import apply_colour
        from malpighi.sampling.remap_volume import warp_read

        index, box = self.draw(number)
        seeds, channels = [item_seed(self.seed, number)], len(self.cases[index].source.channels)
        (warp,), (colour,) = draw(self.augmentation, self.tile, seeds, channels, self.spacing.values)
        read = lambda needed: self.pair(index, needed.shift(box.start))  # noqa: E731
        image, target = warp_read(read, warp, self.tile, self.augmentation.outside)
        return apply_colour(image, colour), target

    def facts(self, numbers: Sequence[int]) -> dict[str, np.ndarray]:
        """What is known of each of these samples as a whole, see `Batch.facts`; {} where the network tells nothing.

        Of two tiles in one only what is true of both is known.
        """
        if not self.tells:
            return {}
        mixes, every, seeds = self._partnered(numbers)
        mixed = np.array([k for k, one in enumerate(mixes) if one], int)
        found = {}
        for name in self.tells:
            own, other = np.split(self._fact(name, every, seeds), [len(numbers)])
            own[mixed[~np.isclose(own[mixed], other, atol=1e-3)]] = math.nan if name == PIXEL_SIZE else -1
            found[name] = own
        return found

    def _fact(self, name: str, numbers: Sequence[int], seeds: Sequence[int]) -> np.ndarray:
        drawn = [self.draw(number)[0] for number in numbers]
        if name == PIXEL_SIZE:
            return np.array([self._pixel_size(*one) for one in zip(drawn, seeds, strict=True)], np.float32)
        place = {value: k for k, value in enumerate(self.told.get(name, ()))}
        return np.array([place.get(self.cases[index].case.value(name), -1) for index in drawn], np.int64)

    def _pixel_size(self, index: int, seed: int) -> float:
        """log2 of the size that one pixel of a sample of a case has in the tissue over the working spacing.

        A warp maps the output to the input: one whose matrix enlarges makes a pixel of the tile span more of the tissue.
        """
        ratio = self.spacing_of(index).over(self.spacing)
        warp = draw_warp(stream(seed, 0), self.augmentation, self.tile, self.spacing.values)
        return (math.log2(math.prod(ratio)) + math.log2(abs(np.linalg.det(warp.matrix)))) / len(self.tile)

    def spacing_of(self, index: int) -> Spacing:
        """At which a case is read."""
        return self.spacings[index] if self.spacings else self.spacing

    def pair(self, index: int, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """What is in a box of a case at its spacing: (channel, *box size), and `target`."""
        return self.cases[index].source.read_at(box, self.spacing_of(index)), self.target(index, box)

    def _layers(self, targets: np.ndarray) -> np.ndarray:
        """What the network shall give, of what the warp left: a warp bends distances and turns vectors, so they come last."""
        if self.instances == "none":
            return targets
        from malpighi.sampling.instance_targets import instance_targets

        return instance_targets(np.stack([parted(numbers) for numbers in targets[:, 0]]), self.instances)

    def target(self, index: int, box: Box) -> np.ndarray:
        """Class layers of `box`; beyond the border mirrored as the image is, or a mirrored object would be background."""
        case, spacing = self.cases[index], self.spacing_of(index)
        annotation = case.annotation
        assert annotation is not None, "training cases are labelled"
        shape = case.source.space.shape_at(spacing)
        if self.instances != "none":
            number = lambda inside: tile_numbers(annotation, inside, spacing)[None]  # noqa: E731
            return read_padded(number, box, shape, "reflect", np.dtype(np.uint16), 1)
        if annotation.soft:
            told = lambda inside: annotation.probabilities(inside, spacing)  # noqa: E731
            return read_padded(told, box, shape, "reflect", np.dtype(np.float32), len(annotation.classes))
        layers = lambda inside: annotation.rasterise(inside, spacing)  # noqa: E731
        return read_padded(layers, box, shape, "reflect", np.dtype(np.uint8), len(annotation.classes))


def as_shares(targets: np.ndarray) -> np.ndarray:
    """Class layers of 0, 1 and 255 as float32 shares, NaN where nobody said; shares as they are."""
    if targets.dtype == np.float32:
        return targets
    shares = targets.astype(np.float32)
    shares[targets == UNLABELLED] = np.nan
    return shares


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
    """One array each; where one target holds shares, all do."""
    images, targets = zip(*pairs, strict=True)
    if any(target.dtype == np.float32 for target in targets):
        targets = tuple(as_shares(target) for target in targets)
    return np.stack(images), np.stack(targets)
