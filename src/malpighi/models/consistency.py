"""What class maps shall agree on in training: an image and its parts, a mixed image and the mix of maps.

Each takes the place of a `Classifier`'s plain forward while it trains, and has no weights. `Outputs.deep` of both is two maps
of one shape; `build_label_loss` compares what they say, as probabilities. All chance is torch's own generator on the CPU,
which a checkpoint keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from malpighi.models.outputs import Outputs

if TYPE_CHECKING:
    from malpighi.models.classifier import Classifier


def puzzle(classifier: Classifier, x: Tensor, masks: Tensor | None) -> Outputs:
    """Puzzle-CAM (Jo & Yu 2021): the map of the whole and the map joined of its 2 × 2 parts, seen one by one.

    A part lacks its surroundings, so a class that is found by one spot alone must be found elsewhere too: maps cover more
    of what they show. As published, the joined map's score is taught the labels as well.

    Returns:
        image_logits (2 · batch, class): of the whole images, then of the joined maps.
        deep: (maps of the whole, joined maps).
    """
    x, masks = classifier.fitted(x, masks, parts=2)
    whole = classifier.plain(x, masks)
    tiles = [tile for row in x.chunk(2, 2) for tile in row.chunk(2, 3)]
    maps = classifier.maps(torch.cat(tiles)).chunk(4)
    joined = torch.cat([torch.cat(maps[:2], 3), torch.cat(maps[2:], 3)], 2)
    if joined.shape != whole.logits.shape:  # encoders without padding lose a border on every part
        joined = functional.interpolate(joined, whole.logits.shape[2:], mode="bilinear")
    scores = (whole.image_logits, classifier.pool(joined, masks))
    return Outputs(whole.logits, deep=(whole.logits, joined), image_logits=torch.cat(scores))


def cutmix(classifier: Classifier, x: Tensor, masks: Tensor | None) -> Outputs:
    """CAM consistency (7th place of HPA single cells): the map of a CutMix of two images is the CutMix of their maps.

    The mix of maps is the teacher and gets no gradient. A box is pasted from another image of the batch; its area is a
    share of the image drawn uniformly (Yun et al. 2019, α = 1), on the maps' own grid, so that the mix of maps is exact.
    The labels are taught of whole images alone: of a mix nobody knows which labels are left.

    Returns:
        deep: (maps of the mixed images, mix of the maps); none of a batch of one image, which has nothing to be mixed with.
    """
    x, masks = classifier.fitted(x, masks)
    outputs = classifier.plain(x, masks)
    if len(x) < 2:
        return outputs
    other = (torch.arange(len(x)) + int(torch.randint(1, len(x), ()))) % len(x)  # never an image with itself
    other = other.to(x.device)
    box = _box(*outputs.logits.shape[2:]).to(x.device)
    pixels = functional.interpolate(box.float(), x.shape[2:], mode="nearest") > 0
    mixed = classifier.maps(torch.where(pixels, x[other], x))
    taught = outputs.logits.detach()
    return outputs._replace(deep=(mixed, torch.where(box, taught[other], taught)))


def _box(height: int, width: int) -> Tensor:
    """(1, 1, height, width) bool: a box of an area and at a place drawn by chance; never all of several places."""
    share = float(torch.rand(())) ** 0.5
    sides = [min(max(1, round(share * side)), max(1, side - 1)) for side in (height, width)]
    box = torch.zeros(1, 1, height, width, dtype=torch.bool)
    top, left = (int(torch.randint(0, whole - side + 1, ())) for whole, side in zip((height, width), sides, strict=True))
    box[..., top : top + sides[0], left : left + sides[1]] = True
    return box
