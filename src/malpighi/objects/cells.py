"""Cells of a multi-channel fluorescence image: nuclei, then each nucleus's cell around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from malpighi.errors import DataError, RecipeError


@dataclass(frozen=True)
class CellOptions:
    """How cells are found, before anything is learnt of what is in them.

    Lengths and areas are level-0 pixels of the image.

    Attributes:
        method: "classical" (threshold, then watershed), "nuclei" (the nuclei by the starter model, cells by watershed), or
            "cellpose" (an optional extra; its weights come from the model hub).
        scale: images are worked at this share of their size, and labels brought back: 2048² at .25 is 512².
        nucleus_area: smallest nucleus.
        cell_area: smallest cell.
        split: how deep the saddle between two nuclei that touch must be, as a share of the smaller one's radius.
        reach: farthest that a cell's border may lie from its nucleus; 0: no limit.
    """

    method: Literal["classical", "nuclei", "cellpose"] = "classical"
    scale: float = 0.25
    nucleus_area: float = 1500.0
    cell_area: float = 4000.0
    split: float = 0.25
    reach: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 1:
            raise RecipeError(f"cells.scale {self.scale}: a share of the image's size, above 0 and up to 1")
        for name in ("nucleus_area", "cell_area", "split", "reach"):
            if getattr(self, name) < 0:
                raise RecipeError(f"cells.{name} {getattr(self, name)}: give 0 or more")


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of one image.

    Attributes:
        labels: (y, x) int32, cell 1, 2, … without gaps, 0 outside of cells.
        nuclei: (y, x) int32, the nucleus of cell n is n.
        border: (cell,) bool: whether cell n + 1 touches the image's border.
    """

    labels: np.ndarray
    nuclei: np.ndarray
    border: np.ndarray

    @property
    def count(self) -> int:
        """Number of cells."""
        return len(self.border)


def find_cells(nucleus: np.ndarray, cell: np.ndarray, options: CellOptions, nuclei: np.ndarray | None = None) -> Cells:
    """Cells by thresholds and a watershed: nothing is learnt and nothing downloaded.

    Args:
        nucleus: (y, x), the channel that shows nuclei; any real numbers, 8 or 16 bits as a rule.
        cell: (channel, y, x) of the same size, channels that are bright within cells. May have no channel, or show nothing:
            cells are then what lies within `options.reach` of a nucleus, or the nuclei themselves.
        options: `method` is not asked.
        nuclei: (y, x) integer labels, where nuclei were found by other means.

    Returns:
        Cells at the image's own size, in order of their first pixels; none where no nucleus stands out from noise.

    Raises:
        DataError: sizes differ, an image is empty, or values are not finite numbers.
    """
    from malpighi.objects.cell_watershed import grow_cells
    from malpighi.objects.nuclei import find_nuclei
    from malpighi.objects.resize import shrink, shrink_labels

    _check(nucleus, cell, nuclei)
    area = options.scale**2  # of a level-0 pixel, in working pixels
    small = shrink(nucleus, options.scale)
    if nuclei is None:
        seeds = find_nuclei(small, options.nucleus_area * area, options.split)
    else:
        seeds = shrink_labels(nuclei, small.shape)
    if not seeds.any():
        return no_cells(nucleus.shape)
    extent = (
        np.stack([shrink(channel, options.scale) for channel in cell]) if len(cell) else np.zeros((0, *small.shape), np.float32)
    )
    labels = grow_cells(seeds, extent, options.nucleus_area * area, options.reach * options.scale)
    return finish_cells(labels, seeds if nuclei is None else nuclei, nucleus.shape, options)


def finish_cells(labels: np.ndarray, nuclei: np.ndarray, shape: tuple[int, ...], options: CellOptions) -> Cells:
    """Cells at the image's size, without those that are too small, numbered in order of their first pixels.

    Args:
        labels, nuclei: (y, x) integer labels, nucleus n of cell n, each at the image's size or at a smaller one.
        shape: of the image.
    """
    from malpighi.objects.cell_sums import join_and_count, keep_and_number
    from malpighi.objects.resize import enlarge_labels

    cells, inner = enlarge_labels(labels, shape), enlarge_labels(nuclei, shape)
    sizes = np.zeros((2, 1 + int(max(cells.max(initial=0), inner.max(initial=0)))), np.int64)
    join_and_count(cells, inner, sizes)  # every nucleus lies in its cell
    kept = (sizes[0] >= max(1.0, options.cell_area)) & (sizes[1] >= max(1.0, options.nucleus_area))
    kept[0] = False
    count = keep_and_number(cells, inner, kept)
    return Cells(cells, inner, _on_border(cells, count))


def no_cells(shape: tuple[int, ...]) -> Cells:
    """An image without cells."""
    return Cells(np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.zeros(0, bool))


def _on_border(labels: np.ndarray, count: int) -> np.ndarray:
    touches = np.zeros(count + 1, bool)
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        touches[line] = True
    return touches[1:]


def _check(nucleus: np.ndarray, cell: np.ndarray, nuclei: np.ndarray | None) -> None:
    if nucleus.ndim != 2 or 0 in nucleus.shape:
        raise DataError(f"the nucleus channel has shape {nucleus.shape}; give (y, x) with at least one pixel")
    if cell.ndim != 3 or cell.shape[1:] != nucleus.shape:
        raise DataError(
            f"the cell channels have shape {cell.shape}, the nucleus channel {nucleus.shape}; give (channel, y, x) of one size"
        )
    if nuclei is not None and (nuclei.shape != nucleus.shape or not np.issubdtype(nuclei.dtype, np.integer)):
        raise DataError(
            f"labels of nuclei: {nuclei.dtype} of shape {nuclei.shape}; give integers of the image's shape {nucleus.shape}"
        )
    if nuclei is not None and nuclei.min() < 0:
        raise DataError("labels of nuclei hold numbers below 0; give 0 for the background, 1, 2, … for nuclei")
    for name, array in (("nucleus channel", nucleus), ("cell channels", cell)):
        real = np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating) or array.dtype == bool
        if not real:
            raise DataError(f"the {name} hold {array.dtype} values; give numbers")
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            raise DataError(f"the {name}: {bad} values are not finite (NaN or infinite); fill them before cells are sought")
