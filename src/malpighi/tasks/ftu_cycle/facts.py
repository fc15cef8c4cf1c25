"""What pseudo-labels are like: how sure, how much of them, how they changed; streamed, box by box."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.geometry import Box, Spacing
from malpighi.images.base import Source
from malpighi.images.open import open_image
from malpighi.inference.folder import PROBABILITIES
from malpighi.inference.manifest import MANIFEST
from malpighi.reports.runfolder import read_json

SIDE = {2: 2048, 3: 128}
"""Of the boxes that are read at a time, by rank."""


def open_probabilities(folder: Path) -> tuple[Source, np.ndarray]:
    """The probabilities of a prediction, and (class,) from which one a voxel is of a class."""
    told = read_json(folder / MANIFEST)
    source = open_image(folder / PROBABILITIES, spacing=Spacing(tuple(told["spacing"]["values"]), told["spacing"]["unit"]))
    limits = told.get("thresholds") or told["classes"]
    return source, np.array([limits[name] for name in source.channels], np.float32)


def _boxes(source: Source) -> list[Box]:
    return list(Box.of_shape(source.shape).split((SIDE[source.space.rank],) * source.space.rank))


def _read(source: Source, box: Box, spacing: Spacing | None = None) -> np.ndarray:
    """(class, *spatial) float32 in 0 … 1."""
    stored = source.read(box) if spacing is None else source.read_at(box, spacing, pad="edge")
    return stored.astype(np.float32) / np.float32(np.iinfo(stored.dtype).max)


def measure(folder: Path, sure: float) -> dict[str, Any]:
    """What one image's probabilities are like.

    Args:
        folder: a finished prediction with probabilities.
        sure: as `CycleOptions.sure`.

    Returns:
        "voxels"; "confidence": mean over voxels and classes of the larger of p and 1 - p, 0.5 … 1; "labelled": share of voxels
        (of every class) that are labelled; "objects": class → share of voxels that are labelled as of it.
    """
    source, limits = open_probabilities(folder)
    confidence, labelled, inside = 0.0, 0, np.zeros(len(limits), np.int64)
    with source:
        for box in _boxes(source):
            found = _read(source, box)
            certain = np.maximum(found, 1 - found)
            confidence += float(certain.sum(dtype=np.float64))
            said = (found <= np.float32(1 - sure)) | (found >= np.float32(sure))
            labelled += int(said.sum())
            inside += (said & (found >= _over(limits, box.rank))).sum(axis=tuple(range(1, found.ndim)))
        voxels = int(np.prod(source.shape))
    return {
        "voxels": voxels,
        "confidence": confidence / voxels / len(limits),
        "labelled": labelled / voxels / len(limits),
        "objects": {name: int(n) / voxels for name, n in zip(source.channels, inside, strict=True)},
    }


def agreement(pairs: Iterable[tuple[Path, Path]]) -> dict[str, Any] | None:
    """How the labels of a cycle agree with those of the cycle before.

    Args:
        pairs: folders of one image's prediction in this cycle and in the one before; read on the grid of this one.

    Returns:
        "images"; "dice": mean over images and classes of the Dice of the masks, without those that both leave empty (None
        where all are); "difference": mean over voxels and classes of |Δp|; "changed": share of them that changed side of the
        threshold. None: no image is in both.
    """
    dice: list[float] = []
    difference, changed, values, images = 0.0, 0, 0, 0
    for now, before in pairs:
        (new, new_limits), (old, old_limits) = open_probabilities(now), open_probabilities(before)
        order = [old.channels.index(name) for name in new.channels]
        sums = np.zeros((3, len(new_limits)), np.int64)  # of both, of the new, of the old
        with new, old:
            for box in _boxes(new):
                a, b = _read(new, box), _read(old, box, new.space.spacing)[order]
                inside, was = a >= _over(new_limits, box.rank), b >= _over(old_limits[order], box.rank)
                axes = tuple(range(1, a.ndim))
                sums += np.stack([(inside & was).sum(axis=axes), inside.sum(axis=axes), was.sum(axis=axes)])
                difference += float(np.abs(a - b).sum(dtype=np.float64))
                changed += int((inside != was).sum())
                values += a.size
        images += 1
        dice += [2 * both / (one + other) for both, one, other in sums.T.tolist() if one + other]
    if not images:
        return None
    mean = float(np.mean(dice)) if dice else None
    return {"images": images, "dice": mean, "difference": difference / values, "changed": changed / values}


def _over(limits: np.ndarray, rank: int) -> np.ndarray:
    return limits.reshape(-1, *[1] * rank)
