"""Scores that only volumes have, gathered box by box: surface Dice, NSD, clDice, Betti-0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from malpighi.geometry import Box, Space
from malpighi.metrics.surface import surface_overlaps
from malpighi.metrics.tolerance import Tolerance
from malpighi.metrics.topology import centerline_overlap, labelled_part
from malpighi.objects.label import find_components

NSD_TOLERANCE = Tolerance(1)
"""How far apart surfaces may lie for NSD: a voxel of the finest axis."""


def volume_scores(
    prediction: Callable[[Box], np.ndarray],
    truth: Callable[[Box], np.ndarray],
    space: Space,
    tolerance: Tolerance = NSD_TOLERANCE,
) -> dict[str, float]:
    """Score one class of one volume.

    Args:
        prediction: reads one box: anything but 0 is foreground.
        truth: reads one box: 0, 1, or 255 where nobody said; such voxels are left out on both sides.
        space: of both.
        tolerance: of `nsd`.

    Returns:
        "surface_dice" at tolerance 0, "nsd" at `tolerance`, "cldice", "betti0_error": difference in the number of pieces.
        NaN where a score is undefined: no surface or no centre line on either side.
    """
    reach = tolerance.at(space.spacing)
    exact, near = surface_overlaps(prediction, truth, space.shape, space.spacing.values, (0.0, reach))
    known = labelled_part(prediction, truth)
    pieces = [len(find_components(read, space.shape)) for read in known]
    return {
        "surface_dice": exact.dice,
        "nsd": near.dice,
        "cldice": centerline_overlap(*known, space.shape).dice,
        "betti0_error": float(abs(pieces[0] - pieces[1])),
    }
