"""A detector slid over an image: tiles that overlap by half, boxes in working pixels, each object once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from malpighi.geometry import Box, Grid, Spacing
from malpighi.images import Source
from malpighi.inference.backends import supported
from malpighi.sampling.ahead import ahead
from malpighi.sampling.intensity import Intensity

if TYPE_CHECKING:
    from malpighi.models.detector import Detector

EDGE = 3
"""Pixels from a tile's inner border within which a box may be that of a part."""
SAME = 0.5
"""IoU from which two boxes of a class are of the same object."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes of one image.

    Attributes:
        bounds: (box, 4) float32 y0, x0, y1, x1 in working pixels.
        scores: (box,) float32 0 … 1, falling.
        labels: (box,) int64 class of each, from 0.
    """

    bounds: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def of(self, chosen: np.ndarray) -> Detections:
        """The boxes of a (box,) mask or of indices."""
        return Detections(self.bounds[chosen], self.scores[chosen], self.labels[chosen])

    def scaled(self, ratio: Sequence[float]) -> Detections:
        """The same boxes in pixels that are smaller by `ratio`, (y, x)."""
        return replace(self, bounds=self.bounds * np.tile(np.array(ratio, np.float32), 2))

    @classmethod
    def joined(cls, parts: Sequence[Detections]) -> Detections:
        """All boxes, in order."""
        if not parts:
            return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("bounds", "scores", "labels")))


def detect(
    detector: Detector,
    source: Source,
    spacing: Spacing,
    intensity: Intensity,
    tile: Sequence[int],
    *,
    device: str = "cpu",
    batch: int = 4,
    least: float = 0.05,
    keep: Callable[[Box], bool] | None = None,
    readers: int = 2,
    advance: Callable[..., None] = lambda *_, **__: None,
) -> Detections:
    """The objects of an image that some tile sees whole: memory holds some tiles and all boxes, not the image.

    Args:
        detector: on `device`, in evaluation mode.
        tile: (y, x) sides at `spacing`; two neighbours share half, so that an object no wider than that is whole in one.
        batch: tiles a forward pass.
        least: boxes of a smaller score are not given.
        keep: which tiles are looked at; None: all.
        readers: threads that read ahead.
        advance: called with (1, total=tiles) after each tile.
    """
    shape = source.space.shape_at(spacing)
    sides = tuple(int(side) for side in tile)
    grid = Grid(shape, sides, tuple(max(1, side // 2) for side in sides))
    boxes = [box for index in grid for box in [grid.tile_box(index).clip(shape)] if keep is None or keep(box)]
    parts = []
    groups = [boxes[n : n + batch] for n in range(0, len(boxes), batch)]
    for group, images in zip(
        groups, ahead(lambda n: _read(source, spacing, groups[n]), range(len(groups)), readers), strict=True
    ):
        for box, found in zip(group, answers_of(detector, images, intensity, device), strict=True):
            parts.append(_whole(found.of(found.scores >= least), box, shape))
            advance(1, total=len(boxes))
    return once(Detections.joined(parts))


def _read(source: Source, spacing: Spacing, boxes: Sequence[Box]) -> list[np.ndarray]:
    return [source.read_at(box, spacing) for box in boxes]


def answers_of(detector: Detector, images: Sequence[np.ndarray], intensity: Intensity, device: str) -> list[Detections]:
    """What the detector sees in raw (channel, y, x) images, each of its own size: boxes in pixels of each, an image a list entry."""
    import torch

    with torch.inference_mode():
        tensors = [
            intensity.apply(torch.from_numpy(supported(np.ascontiguousarray(each))).to(device)[None])[0] for each in images
        ]
        answers = detector.net(tensors)  # a list: tiles at the image's border are smaller
    found = []
    for answer in answers:
        bounds = answer["boxes"].float().cpu().numpy()[:, [1, 0, 3, 2]]
        found.append(Detections(bounds, answer["scores"].float().cpu().numpy(), answer["labels"].cpu().numpy()))
    return found


def _whole(found: Detections, box: Box, shape: Sequence[int]) -> Detections:
    """Boxes in the image's pixels, without those that an inner border of the tile cuts: they are of a part of an object.

    What is no wider than the tiles' overlap a neighbour sees whole; of what is wider than a tile nobody knows the box.
    """
    bounds = found.bounds + np.tile(np.array(box.start, np.float32), 2)
    cut = np.zeros(len(found), bool)
    for axis in range(2):
        if box.start[axis] > 0:
            cut |= bounds[:, axis] < box.start[axis] + EDGE
        if box.stop[axis] < shape[axis]:
            cut |= bounds[:, axis + 2] > box.stop[axis] - EDGE
    return Detections(bounds.astype(np.float32), found.scores, found.labels).of(~cut)


def once(found: Detections) -> Detections:
    """The surest box of each object: of boxes of a class that overlap by `SAME` the others go."""
    import torch
    from torchvision.ops import batched_nms

    if not len(found):
        return found
    boxes, scores, labels = (torch.from_numpy(np.ascontiguousarray(v)) for v in (found.bounds, found.scores, found.labels))
    return found.of(batched_nms(boxes, scores, labels, SAME).numpy())  # falling scores; of equal ones the first
