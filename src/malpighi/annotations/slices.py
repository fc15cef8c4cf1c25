"""A volume's masks as a folder of slices; what has no mask is unlabelled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from malpighi.annotations.base import Annotation
from malpighi.annotations.masks import MaskAnnotation
from malpighi.annotations.region import WithinRegion
from malpighi.geometry import Box, Space, Spacing


def open_slices(
    path: Path,
    space: Space,
    classes: tuple[str, ...] = (),
    numbers: Sequence[int] = (),
    on_damage: Literal["raise", "fill"] = "raise",
    unlabelled: int | None = None,
) -> Annotation:
    """The masks of a volume's slices, each belonging to the slice of its number.

    A folder with as many masks as the volume has slices is taken in order, whatever its numbers begin with; with fewer the
    numbers count, and slices without a mask are unlabelled.

    Args:
        path: the folder; one label image a slice.
        space: of the volume.
        classes: as for `MaskAnnotation`.
        numbers: of the volume's slices; 0, 1, … where empty.

    Raises:
        DataError: a mask of another size, of a slice that the volume has not, or not readable.
    """
    from malpighi.images.stack import StackSource, find_slices

    have = find_slices(path).numbers
    depth = space.shape[0]
    complete = len(have) == depth and not (set(have) <= set(numbers))
    wanted = have if complete else tuple(numbers) or tuple(range(depth))
    source = StackSource(path, labels=True, numbers=wanted)
    source.on_damage = on_damage
    masks = MaskAnnotation(source, space, classes, unlabelled=unlabelled)
    if source.present.all():
        return masks
    ratio = space.shape[0] / source.shape[0]

    def said(box: Box, spacing: Spacing) -> np.ndarray:
        step = spacing.over(space.spacing)[0]
        z = ((np.arange(box.start[0], box.stop[0]) + 0.5) * step / ratio).astype(np.int64)
        return source.present[np.minimum(z, len(source.present) - 1)][:, None, None]

    note = f"{int(source.present.sum())} of {depth} slices have a mask; the others are unlabelled"
    return WithinRegion(masks, said, (note,))
