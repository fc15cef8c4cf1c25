"""Mining: after each validation the network is shown training boxes without objects; where it sees some it is to look again."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from malpighi.annotations.base import UNLABELLED
from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.recipes.recipe import Recipe
from malpighi.reports.runfolder import read_json
from malpighi.sampling.dataset import Batch
from malpighi.sampling.hard_boxes import HardBox, HardBoxes
from malpighi.sampling.plain_boxes import random_boxes
from malpighi.sampling.seeds import item_seed
from malpighi.tasks.image import forward_of
from malpighi.tasks.material import Material
from malpighi.tasks.prepare import write_json

if TYPE_CHECKING:
    from malpighi.inference.predict import Forward
    from malpighi.models.network import Network

HARD = "hard.json"
LOOKED, KEPT = 64, 16
"""Fresh boxes that the network is shown at each look, and how many of all stay hard at most."""
DRAWN = 4 * LOOKED
"""Boxes whose labels are looked at to find so many without objects."""
SEEN = 0.5
"""Probability from which a voxel is taken for a class."""


def miner(material: Material, recipe: Recipe, run: Path, device: str) -> Miner | None:
    """Who looks for hard boxes; None where the recipe asks for none.

    Raises:
        DataError: the run folder's `hard.json` is none.
    """
    if material.hard is None:
        return None
    return Miner(material, material.hard, recipe, run, device)


class Miner:
    """Finds hard boxes and keeps them in `RUN/hard.json`, with what was found at earlier looks.

    Args:
        material: what the run trains on; its batches are drawn with the help of `hard`.
        hard: grows at each look. What the run folder holds of earlier sittings is put in.
        recipe: of the run.
        run: its folder.
        device: the network's.

    Raises:
        DataError: `hard.json` is none.
    """

    def __init__(self, material: Material, hard: HardBoxes, recipe: Recipe, run: Path, device: str) -> None:
        self.tiles, self.hard, self.inputs, self.weights = material.batches, hard, material.inputs, material.weights
        self.recipe, self.path, self.device = recipe, run / HARD, device
        if self.path.is_file():
            try:
                hard.restore(read_json(self.path))
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"{self.path}: not what training wrote ({error!r}); delete it, or train again") from error

    def batches(self, first: int) -> Generator[Batch]:
        """As `TileBatches`, by looks up to now: of what a killed sitting found after its last checkpoint nothing is known."""
        self.hard.forget(first)
        return self.tiles(first)

    def __call__(self, network: Network, step: int) -> None:
        """Look, with a network that has done `step` steps: the boxes with most false voxels are the hard ones from here on."""
        recipe, options = self.recipe, replace(self.recipe.predict, flips="none", gate=0.0)
        train, batch = recipe.train, recipe.train.batch
        forward = forward_of(network, self.inputs, options, self.device, train.precision, train.channels_last, recipe.data.axes)
        boxes = self._boxes(step)
        judged: list[HardBox] = []
        for first in range(0, len(boxes), batch):
            judged += self._judged(forward, boxes[first : first + batch])
        wrong = sorted((box for box in judged if box.false), key=lambda box: (-box.false, box.case, box.start))
        self.hard.add(step, wrong[:KEPT])
        write_json(self.path, {"tile": list(self.tiles.tile), **self.hard.as_dict()})

    def _boxes(self, step: int) -> list[tuple[int, Box]]:
        """Those that were hard until now, and fresh ones; no object in any, as far as there are such."""
        before = [(box.case, Box(box.start, self.tiles.tile)) for box in self.hard.at(step)]
        empty: dict[tuple[int, Box], None] = {}
        others: dict[tuple[int, Box], None] = {}
        for index, box in self._fresh(step):
            known, wanted = known_and_wanted(self.tiles.target(index, box))
            if (known & ~wanted).any():
                (others if wanted.any() else empty)[index, box] = None
            if len(empty) == LOOKED:
                break
        fresh = [*empty, *others][:LOOKED]
        return list(dict.fromkeys([*before, *fresh]))

    def _fresh(self, step: int) -> Iterator[tuple[int, Box]]:
        tiles = self.tiles
        shapes = [case.source.space.shape_at(tiles.spacing_of(index)) for index, case in enumerate(tiles.cases)]
        series = random_boxes(shapes, tiles.tile, item_seed(self.recipe.train.seed, step, 1), self.weights)
        return (series(n) for n in range(DRAWN))

    def _judged(self, forward: Forward, boxes: Sequence[tuple[int, Box]]) -> Iterator[HardBox]:
        """Each box with its false voxels, of all classes."""
        pairs = [self.tiles.pair(index, box) for index, box in boxes]
        found = forward(np.stack([image for image, _ in pairs]))
        for (index, box), (_, target), probabilities in zip(boxes, pairs, found, strict=True):
            known, wanted = known_and_wanted(target)
            false = int(np.count_nonzero((probabilities >= SEEN) & known & ~wanted))
            yield HardBox(index, box.start, false)


def known_and_wanted(target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where somebody said what is there, and where it is the class: of class layers, and of probabilities."""
    known = ~np.isnan(target) if target.dtype == np.float32 else target != UNLABELLED
    return known, known & (target >= SEEN)
