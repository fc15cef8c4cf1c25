"""A case seen along another axis: training draws slices along y and x from it as from one more case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from malpighi.annotations.turned import TurnedAnnotation
from malpighi.errors import RecipeError
from malpighi.geometry import Spacing
from malpighi.images.turned import TurnedSource
from malpighi.sampling.cases import OpenCase


def turned(case: OpenCase, axis: str) -> OpenCase:
    """The open case with `axis` first; the case itself where it is so already. It shares, and closes, the case's files.

    Raises:
        DataError: the image has no such axis.
    """
    if case.source.space.axes[0] == axis:
        return case
    annotation = None if case.annotation is None else TurnedAnnotation(case.annotation, axis)
    return replace(case, source=TurnedSource(case.source, axis), annotation=annotation)


def require_alike(axes: Sequence[str], spacing: Spacing) -> None:
    """Refuse several directions at voxels that are no cubes: slices along y would show the tissue stretched.

    A tile's voxels are of `spacing` whatever the direction. What is predicted is read once for all directions, so that only
    cubes look alike from all of them.

    Raises:
        RecipeError: several axes, and a spacing that differs by axis.
    """
    if len(axes) > 1 and len(set(spacing.values)) > 1:
        raise RecipeError(
            f"data.axes {list(axes)} with data.spacing {list(spacing.values)}: slices along several axes need voxels of the "
            f"same size on all; give one data.spacing, say {min(spacing.values):g}, or one axis"
        )
