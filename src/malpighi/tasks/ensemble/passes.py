"""Two passes over the held-out predictions. No probability map is held: counts by level, and a bounded sample of voxels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from malpighi.inference.ensemble_combine import Combination, even
from malpighi.inference.ensemble_sample import Drawer, Sample
from malpighi.metrics.stability import LEVELS, histogram

PER_IMAGE, IN_ALL = 20_000, 2_000_000
"""Voxels of the sample, of an image and of all together."""


class Boxes(Protocol):
    """One held-out image, as `HeldOut` is."""

    def boxes(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(column, class, *spatial) uint8 levels and (class, *spatial) uint8 truth, box by box."""
        ...


Opened = Callable[[int], AbstractContextManager[Boxes]]
"""Opens an image by its number."""


@dataclass(frozen=True, eq=False)
class Counted:
    """What the first pass finds.

    Attributes:
        columns: (column, image, class, 256, 3) exact histograms of each column.
        mean: (image, class, 256, 3) of their plain mean.
        samples: one a class.
    """

    columns: np.ndarray
    mean: np.ndarray
    samples: tuple[Sample, ...]


def count(
    open_one: Opened, images: int, columns: int, classes: int, seed: int = 0, advance: Callable[..., None] | None = None
) -> Counted:
    """Read every image once: exact histograms of each column and of the mean, and the sample that weights are searched on."""
    most = min(PER_IMAGE, IN_ALL // max(images, 1)) // max(classes, 1)
    singles = np.zeros((columns, images, classes, LEVELS, 3), np.int64)
    means = np.zeros((images, classes, LEVELS, 3), np.int64)
    middle = Combination(even(columns))
    drawn: list[list[Sample]] = []
    for image in range(images):
        drawers = [Drawer(columns, most, (seed, image, k)) for k in range(classes)]
        with open_one(image) as held:
            for levels, truth in held.boxes():
                joined = middle.levels(levels) if columns > 1 else levels[0]
                for k in range(classes):
                    for column in range(columns):
                        singles[column, image, k] += histogram(levels[column, k], truth[k])
                    means[image, k] += histogram(joined[k], truth[k])
                    if columns > 1:
                        drawers[k].add(levels[:, k], truth[k])
        drawn.append([drawer.drawn() for drawer in drawers])
        if advance is not None:
            advance()
    return Counted(singles, means, tuple(Sample.of([each[k] for each in drawn]) for k in range(classes)))


def recount(
    open_one: Opened,
    wanted: Sequence[Mapping[str, Combination]],
    classes: int,
    advance: Callable[..., None] | None = None,
) -> dict[str, np.ndarray]:
    """Read every image again: exact histograms of the combinations that were found.

    Args:
        wanted: of each image, name → combination; the same names for every image.

    Returns:
        name → (image, class, 256, 3).
    """
    found = {name: np.zeros((len(wanted), classes, LEVELS, 3), np.int64) for name in wanted[0]}
    for image, combinations in enumerate(wanted):
        with open_one(image) as held:
            for levels, truth in held.boxes():
                for name, combination in combinations.items():
                    joined = combination.levels(levels)
                    for k in range(classes):
                        found[name][image, k] += histogram(joined[k], truth[k])
        if advance is not None:
            advance()
    return found
