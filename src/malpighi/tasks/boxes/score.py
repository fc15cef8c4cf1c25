"""How good a detector is: F1 of its boxes at IoU .5 on tiles of held-out images, always the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.geometry import Box, Grid, Spacing
from malpighi.models.box_targets import TileBoxes, tile_boxes
from malpighi.sampling.cases import OpenCase
from malpighi.sampling.intensity import Intensity
from malpighi.sampling.seeds import item_seed
from malpighi.tasks.boxes.detect import Detections, answers_of

if TYPE_CHECKING:
    from malpighi.models.detector import Detector

TILES = 32
"""Tiles with objects that are scored."""
LOOKED = 512
"""Tiles that are looked at for them."""


class BoxScore:
    """Held-out tiles and their boxes; called with a detector, gives {"score", "precision", "recall", "tiles"}.

    Args:
        cases: held-out, with annotations.
        tile: (y, x) at `spacing`.
        limit: boxes of a smaller score do not count.
    """

    def __init__(
        self,
        cases: Sequence[OpenCase],
        spacing: Spacing,
        tile: Sequence[int],
        intensity: Intensity,
        limit: float,
        device: str,
        seed: int = 0,
    ) -> None:
        self.spacing, self.intensity, self.limit, self.device = spacing, intensity, limit, device
        self.tiles = _chosen(cases, spacing, tuple(tile), seed)

    def __call__(self, detector: Any) -> dict[str, Any]:
        """The score of all tiles' boxes together; the detector is left in the mode in which it came."""
        was = detector.training
        detector.eval()
        counts = np.sum([self._one(detector, *tile) for tile in self.tiles] or [np.zeros(3, np.int64)], axis=0)
        detector.train(was)
        hit, made, true = (int(n) for n in counts)
        return {
            "score": 2 * hit / (made + true) if made + true else 0.0,
            "precision": hit / made if made else 0.0,
            "recall": hit / true if true else 0.0,
            "tiles": len(self.tiles),
        }

    def _one(self, detector: Detector, case: OpenCase, box: Box, truth: TileBoxes) -> np.ndarray:
        (found,) = answers_of(detector, [case.source.read_at(box, self.spacing)], self.intensity, self.device)
        return matched(found.of(found.scores >= self.limit), truth)


def matched(found: Detections, truth: TileBoxes) -> np.ndarray:
    """(3,) boxes that meet a true one at IoU .5 (one each, the surest first), boxes found, true boxes.

    A box whose centre lies where nobody said what is there, and that meets none, is not counted.
    """
    wanted = truth.boxes[:, [1, 0, 3, 2]]
    free = np.ones(len(wanted), bool)
    hit = made = 0
    for n in np.argsort(-found.scores, kind="stable"):
        overlap = np.where(free & (truth.labels == found.labels[n]), _ious(found.bounds[n], wanted), 0)
        if len(overlap) and overlap.max() >= 0.5:
            free[int(overlap.argmax())] = False
            hit += 1
            made += 1
        else:
            made += not _unsaid(found.bounds[n], truth.unknown[found.labels[n]])
    return np.array([hit, made, len(wanted)])


def _ious(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    low, high = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    area = np.prod(one[2:] - one[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1)
    return np.asarray(shared / np.maximum(area - shared, 1e-9))


def _unsaid(bounds: np.ndarray, unknown: np.ndarray) -> bool:
    y, x = np.clip(np.floor((bounds[:2] + bounds[2:]) / 2).astype(int), 0, np.array(unknown.shape) - 1)
    return bool(unknown[y, x])


def _chosen(
    cases: Sequence[OpenCase], spacing: Spacing, tile: tuple[int, ...], seed: int
) -> list[tuple[OpenCase, Box, TileBoxes]]:
    """Up to `TILES` tiles with objects, in an order that the seed gives, of all cases in turn."""
    every = []
    for number, case in enumerate(cases):
        shape = case.source.space.shape_at(spacing)
        grid = Grid(shape, tile, tile)
        boxes = [grid.tile_box(index).clip(shape) for index in grid]
        order = np.random.default_rng(item_seed(seed, number)).permutation(len(boxes))[:LOOKED]
        every += [(place, number, boxes[at]) for place, at in enumerate(order)]
    chosen: list[tuple[OpenCase, Box, TileBoxes]] = []
    for _, number, box in sorted(every, key=lambda each: each[:2])[:LOOKED]:
        annotation = cases[number].annotation
        assert annotation is not None, "held-out cases are labelled"
        truth = tile_boxes(annotation.rasterise(box, spacing))
        if len(truth.boxes):
            chosen.append((cases[number], box, truth))
        if len(chosen) == TILES:
            break
    return chosen
