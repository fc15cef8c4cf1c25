"""Objects of images of any size: decoded block by block with a halo, and every object kept once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.objects.canvas import Canvas, Write
from malpighi.objects.views import Views, look

Decode = Callable[[Box], np.ndarray]
"""Integer labels of a box inside the image, 0 in the background; numbers mean nothing beyond it."""

SAME = 0.5
"""Share of an object, within what an earlier block could see, from which it is the object that was kept there."""


def stitch(
    decode: Decode,
    shape: tuple[int, ...],
    write: Write,
    *,
    block: tuple[int, ...],
    halo: int,
    min_voxels: int = 0,
    on_block: Callable[[], None] | None = None,
) -> int:
    """Number the objects of an image 1 … n without gaps, in order of blocks (C order), then of the decoder's labels.

    Each block is decoded with `halo` voxels more on each side. An object belongs to the block that holds its centroid (in
    integers: the nearest voxel, halves upwards) if that block sees it whole, and to the first that has voxels of it otherwise. It
    is kept as that block sees it, halo included; a voxel of two objects stays with the one of the earlier block. An object that
    an earlier block kept already, by more than `SAME` of what that block could see, gets that number for the rest.

    So if decoding is local and no object is longer than the halo, labels are those of the whole image decoded at once, but for
    their numbers. A longer object is continued from block to block; where its arms meet late (a U) it may stay in pieces,
    but no voxel of it is lost or numbered twice. Where a decoder sees an object differently from two sides, it is kept once.

    Blocks are final once all blocks that could reach them are done: about 2 halo / block rows of blocks, at least 2, are in memory.

    Args:
        decode: gives (*box.size) integers.
        shape: of the image, any rank.
        write: gets each block, cut at the image's end.
        block: sides of a block, voxels.
        halo: voxels.
        min_voxels: smaller objects are left out.
        on_block: called after each block.

    Returns:
        The number of objects.

    Raises:
        DataError: the decoder's labels have another shape or are not integers from 0 on.
        ValueError: sides or halo out of range.
    """
    if len(block) != len(shape) or min(block, default=0) < 1 or halo < 0:
        raise ValueError(f"block {block} and halo {halo}: a side of at least 1 for each axis of {shape}, a halo of at least 0")
    canvas = Canvas(tuple(shape), tuple(block), halo, write)
    whole = Box.of_shape(shape)
    for core in whole.split(block):
        window = core.grow(halo).clip(shape)
        views = look(_decoded(decode, window), core, window)
        kept = canvas.read(window)
        _keep(views, kept, core, window, canvas, min_voxels)
        canvas.put(window, kept)
        canvas.finish(core)
        if on_block is not None:
            on_block()
    return canvas.count


def _decoded(decode: Decode, window: Box) -> np.ndarray:
    labels = np.asarray(decode(window))
    if labels.shape != window.size or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"decoding {window} gave {labels.dtype} of shape {labels.shape}; it must be integers of {window.size}")
    if labels.size and labels.min() < 0:
        raise DataError(f"decoding {window} gave the label {labels.min()}; objects are numbered from 1, the background is 0")
    return labels


def _keep(views: Views, kept: np.ndarray, core: Box, window: Box, canvas: Canvas, min_voxels: int) -> None:
    """Number the objects that belong to this block, in `kept`."""
    large = views.count >= min_voxels
    home = np.asarray(((views.centroid >= core.start) & (views.centroid < core.stop)).all(1))
    whole = canvas.sees_whole(window, views.start, views.stop)
    mine = large & (home & whole | (views.core > 0))
    plain = mine & home & whole & ~_taken(views, kept)
    table = np.zeros(len(views.count) + 1, np.uint32)
    table[np.flatnonzero(plain) + 1] = canvas.numbers(int(plain.sum()), window)
    kept += table[views.labels]  # 0 wherever something has been kept
    for row in np.flatnonzero(mine & ~plain).tolist():
        if home[row] or not whole[row] or not _awaited(views, row, core, canvas):
            _keep_one(views, row, kept, window, canvas, min_voxels)


def _taken(views: Views, kept: np.ndarray) -> np.ndarray:
    """(object,) whether an earlier block kept any voxel of it."""
    under = views.labels[kept > 0]
    return np.bincount(under, minlength=len(views.count) + 1)[1:] > 0


def _awaited(views: Views, row: int, core: Box, canvas: Canvas) -> bool:
    """Whether a later block holds the centroid of an object and will see it whole."""
    home = canvas.index_of(views.centroid[row].tolist())
    window = canvas.window_of(home)
    return home > canvas.index_of(core.start) and bool(canvas.sees_whole(window, views.start[row], views.stop[row]))


def _keep_one(views: Views, row: int, kept: np.ndarray, window: Box, canvas: Canvas, min_voxels: int) -> None:
    """Keep what nobody has kept of an object, as a new one or as the rest of an earlier one."""
    bounds = Box.of_bounds(views.start[row].tolist(), views.stop[row].tolist())
    at = bounds.relative_to(window.start).slices
    inside, under = views.labels[at] == row + 1, kept[at]  # a view: written below
    free = inside & (under == 0)
    number = _earlier(inside, under, bounds, canvas)
    if number:
        canvas.continued(number, window)
    elif np.count_nonzero(free) < max(min_voxels, 1):
        return
    else:
        number = int(canvas.numbers(1, window)[0])
    under[free] = number


def _earlier(inside: np.ndarray, under: np.ndarray, bounds: Box, canvas: Canvas) -> int:
    """The number that an earlier block gave to the object `inside`; 0 if none did."""
    numbers, counts = np.unique(under[inside], return_counts=True)
    numbers, counts = numbers[numbers > 0], counts[numbers > 0]
    if not len(numbers):
        return 0
    best = int(np.argmax(counts))
    visible = np.zeros(bounds.size, bool)
    for seen in canvas.seen_by(int(numbers[best])):
        visible[seen.intersect(bounds).relative_to(bounds.start).slices] = True
    return int(numbers[best]) if counts[best] > SAME * np.count_nonzero(inside & visible) else 0
