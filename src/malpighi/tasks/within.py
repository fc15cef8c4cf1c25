"""Where an earlier prediction found something: the part of an image that a dearer network looks at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malpighi.errors import DataError, RecipeError
from malpighi.images import Source
from malpighi.inference.manifest import MANIFEST, file_fingerprint
from malpighi.objects.hull import Hull, find_hull
from malpighi.tasks.prediction import Prediction


@dataclass(frozen=True)
class Within:
    """The part of an image that is looked at, and in words that tell it from another."""

    hull: Hull
    told: dict[str, Any]


def hull_of(folder: Path, name: str, source: Source, margin: float) -> Within:
    """The convex hull of what an earlier prediction of the image found.

    Args:
        folder: the prediction, or a folder with one for each image, named `name`.
        margin: in the unit of the prediction's spacing.

    Raises:
        DataError: no finished prediction is there, it is of an image of another size, or it found nothing.
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise RecipeError(f"--margin {margin}: give a number of 0 or more")
    path = Path(folder) if (Path(folder) / MANIFEST).is_file() else Path(folder) / name
    earlier = Prediction(path)
    try:
        if earlier.space.shape != source.shape or earlier.space.spacing.unit != source.space.spacing.unit:
            raise DataError(
                f"{path}: was made of an image of {earlier.space.shape} voxels in {earlier.space.spacing.unit}, and {source.name} "
                f"has {source.shape} in {source.space.spacing.unit}; give a prediction of the same image"
            )
        read = lambda box: (earlier.rasterise(box, earlier.spacing) == 1).any(0)  # noqa: E731
        shape = source.space.shape_at(earlier.spacing)
        try:
            hull = find_hull(read, shape, earlier.spacing, margin)
        except DataError as error:
            raise DataError(f"{path}: found nothing, {error}; segment the image without --within") from error
    finally:
        earlier.close()
    return Within(hull, {"prediction": file_fingerprint(path / MANIFEST), "margin": margin})
