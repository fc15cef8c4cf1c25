"""The skeleton of a mask of any size, block by block: the same pieces and loops as the mask, one voxel thin, with radii."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from malpighi.geometry import Box
from malpighi.objects.bits import BitBlocks
from malpighi.objects.distance import distance_to
from malpighi.objects.thinning import FIXED, FREE, thin
from malpighi.objects.tracing import find_tips

_INNER = (slice(1, -1),) * 3
FEW_SURFACE_POINTS = 12
"""More voxels on surfaces than this in a block: the mask has cavities, which are filled."""


@dataclass(frozen=True, eq=False)
class Skeleton:
    """The centre lines of a mask as voxels.

    Attributes:
        shape: of the mask, (z, y, x).
        voxels: (n, 3) int32, z, y, x, sorted in C order.
        radius: (n,) float32, distance to the nearest background voxel's centre, in the unit of the spacing: the largest in the
            3×3×3 voxels around, because a voxel of the line lies up to half a voxel beside the axis.
        tip: (n, 3) float32, where the vessel's axis ends, for voxels at the end of a line, in voxel indices: thinning eats more
            than one radius from an end that points along no axis. All other voxels: the voxel itself.
        loose: (n,) bool, voxels from which their block saw the line go on into the next, which laid it elsewhere: a line that
            ends there is no end of a vessel.
    """

    shape: tuple[int, ...]
    voxels: np.ndarray
    radius: np.ndarray
    tip: np.ndarray
    loose: np.ndarray

    def __len__(self) -> int:
        return len(self.voxels)


@dataclass(eq=False)
class _Lines:
    """What is left of one block: (n, 3) voxels in the volume, radii, tips, and which of them the block's own skeleton wanted.

    `onward`: (m, 2, 3), pairs of voxels, the first in the block, the second where that skeleton went on outside it.
    """

    voxels: np.ndarray
    radius: np.ndarray
    tip: np.ndarray
    wanted: np.ndarray
    onward: np.ndarray

    def keep(self, kept: np.ndarray) -> None:
        self.voxels, self.radius = self.voxels[kept], self.radius[kept]
        self.tip, self.wanted = self.tip[kept], self.wanted[kept]


def skeletonise(mask: BitBlocks, spacing: tuple[float, ...], progress: Callable[[int, int], None] | None = None) -> Skeleton:
    """Thin a mask to its centre lines in bounded memory.

    A block is thinned together with a margin of 1½ times its largest vessel's radius, found by itself; what comes out inside
    the block is where its lines shall lie. Then the block proper is thinned towards those lines within the true state of
    everything around it: done neighbours are lines already, others still whole. Each voxel that goes is simple in the whole
    volume, so blocks can neither break a vessel nor join two nor open or close a loop. Last, what only held on to parts that
    were still whole then is drawn in.

    Cavities are filled (as far as a block and its margin see them whole): a hollow vessel has a line, not a skin.

    Args:
        mask: what to thin. Outside of the volume is background.
        spacing: of a voxel by axis, z, y, x.
        progress: called with (blocks done, blocks in all).
    """
    done: dict[Box, _Lines] = {}
    total = len(mask)
    for number, core in enumerate(mask.blocks(), 1):
        if not mask.empty(core):
            lines = _thin_block(mask, core, spacing, done)
            if len(lines.voxels):
                done[core] = lines
        if progress is not None:
            progress(number, total)
    if not done:
        return Skeleton(
            mask.shape, np.empty((0, 3), np.int32), np.empty(0, np.float32), np.empty((0, 3), np.float32), np.empty(0, bool)
        )
    if len(done) > 1:
        _draw_in(mask, done)
    voxels = np.concatenate([lines.voxels for lines in done.values()])
    radius = np.concatenate([lines.radius for lines in done.values()])
    order = np.lexsort(voxels.T[::-1])
    onward = np.concatenate([lines.onward for lines in done.values()])
    tip = np.concatenate([lines.tip for lines in done.values()])
    return Skeleton(mask.shape, voxels[order], radius[order], tip[order], _loose(voxels[order], onward, mask.shape))


def _thin_block(mask: BitBlocks, core: Box, spacing: tuple[float, ...], done: dict[Box, _Lines]) -> _Lines:
    """The lines in `core`, given those of the blocks before it."""
    part = _foreground_box(mask.read(core)).shift(core.start)
    around, solid, depth = _with_margin(mask, part, spacing)
    guide, solid = _unhindered(solid, around, mask.shape)
    state = _state(mask, part, core, solid, around, guide, done)
    thin(state, keep_ends=False)
    found = np.argwhere(state[_INNER])
    at = tuple((found + part.relative_to(around.start).start).T)
    radius = _widest_around(depth, at)
    tip = find_tips(guide, depth, np.stack(at, axis=1), radius, np.array(spacing)) + np.array(around.start, np.float32)
    voxels = (found + part.start).astype(np.int32)
    return _Lines(voxels, radius, tip, guide[at], _onward(voxels[guide[at]], core, around, guide))


def _onward(voxels: np.ndarray, core: Box, around: Box, guide: np.ndarray) -> np.ndarray:
    """Pairs of neighbours in `guide`, one of `voxels`, which lie in `core`, and one outside `core`: (m, 2, 3) in the volume."""
    first, last = np.array(core.start), np.array(core.stop) - 1
    edge = voxels[((voxels == first) | (voxels == last)).any(axis=1)]
    pairs = []
    for step in np.ndindex(3, 3, 3):
        near = edge + np.array(step) - 1
        out = ((near < first) | (near > last)).any(axis=1)
        out &= ((near >= around.start) & (near < around.stop)).all(axis=1)
        out[out] = guide[tuple((near[out] - around.start).T)]
        pairs.append(np.stack([edge[out], near[out]], axis=1))
    return np.concatenate(pairs)


def _loose(voxels: np.ndarray, onward: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Which of the sorted `voxels` have neighbours to go on to, none of which is there."""
    numbers = np.ravel_multi_index(tuple(voxels.T), shape)
    here, there = (np.ravel_multi_index(tuple(onward[:, side].T), shape) for side in (0, 1))
    met = np.isin(there, numbers)
    return np.isin(numbers, here[~met]) & ~np.isin(numbers, here[met])


def _draw_in(mask: BitBlocks, done: dict[Box, _Lines]) -> None:
    """Shorten lines that lead nowhere and that no block wanted, and thin where two blocks laid theirs side by side."""
    blocks = list(done)
    changed = True
    while changed:
        changed = False
        for block in (*blocks, *reversed(blocks)):
            lines = done[block]
            if not len(lines.voxels):
                continue
            part = Box.of_bounds(lines.voxels.min(axis=0).tolist(), (lines.voxels.max(axis=0) + 1).tolist())
            seen = part.grow(1)
            work = np.zeros(seen.size, np.uint8)
            _put_lines(work, seen, seen.clip(mask.shape), mask, done)
            at = tuple((lines.voxels - seen.start).T)
            work[at] = np.where(lines.wanted, FIXED, FREE)
            thin(work, keep_ends=False)
            work[at] = np.where(work[at] != 0, FREE, 0)
            thin(work, keep_ends=True)
            kept = work[at] != 0
            if not kept.all():
                lines.keep(kept)
                changed = True


def _put_lines(
    work: np.ndarray, seen: Box, part: Box, mask: BitBlocks, done: dict[Box, _Lines], before: Box | None = None
) -> None:
    """Replace what `work`, which lies at `seen`, holds of `part` by the lines of blocks (of those before `before` only)."""
    for block in part.snap(mask.block).clip(mask.shape).split(mask.block):
        if before is not None and not block < before:  # boxes compare by their start, in C order
            continue
        shared = block.intersect(part)
        view = work[shared.relative_to(seen.start).slices]
        view[:] = 0
        if block in done:
            voxels = done[block].voxels
            near = voxels[((voxels >= shared.start) & (voxels < shared.stop)).all(axis=1)] - shared.start
            view[tuple(near.T)] = FIXED


def _foreground_box(voxels: np.ndarray) -> Box:
    """The smallest box around what is not empty."""
    sides = []
    for axis in range(3):
        used = np.flatnonzero(voxels.any(axis=tuple(a for a in range(3) if a != axis)))
        sides.append((int(used[0]), int(used[-1]) + 1))
    return Box.of_bounds(tuple(a for a, _ in sides), tuple(b for _, b in sides))


def _with_margin(mask: BitBlocks, part: Box, spacing: tuple[float, ...]) -> tuple[Box, np.ndarray, np.ndarray]:
    """The box to look at around `part`, its mask, and the depth of every voxel in it: distance to the background.

    The margin grows until it holds 1½ times the largest depth in `part`, so that depths there are exact.
    """
    real = [axis for axis in range(3) if mask.shape[axis] > 1]
    reach = 8 * min(spacing[axis] for axis in real)
    while True:
        margin = tuple(math.ceil(reach / spacing[axis]) + 4 if axis in real else 0 for axis in range(3))
        around = part.grow(margin).clip(mask.shape)
        solid = mask.read(around)
        depth = _depth(solid, spacing, real)
        needed = 1.5 * float(depth[part.relative_to(around.start).slices].max())
        if needed <= reach or around == Box.of_shape(mask.shape):
            return around, solid, depth
        reach = min(max(needed, 1.25 * reach), max(n * s for n, s in zip(mask.shape, spacing, strict=True)))


def _depth(solid: np.ndarray, spacing: tuple[float, ...], real: list[int]) -> np.ndarray:
    """Distance of every voxel to the background, (z, y, x) float32. What lies outside says nothing: a cut vessel stays wide."""
    depth = distance_to(~solid, spacing)
    if np.isinf(depth).any():  # nothing but foreground
        depth[:] = max(n * s for axis, (n, s) in enumerate(zip(solid.shape, spacing, strict=True)) if axis in real)
    return depth


def _unhindered(solid: np.ndarray, around: Box, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The skeleton of all that is seen, as if there were no blocks; and the mask with its cavities filled."""
    guide = _framed(solid, around, shape)
    if thin(guide) > FEW_SURFACE_POINTS:
        filled = _without_cavities(solid)
        if filled is not solid:
            solid, guide = filled, _framed(filled, around, shape)
            thin(guide)
    return guide[_INNER] != 0, solid


def _framed(solid: np.ndarray, around: Box, shape: tuple[int, ...]) -> np.ndarray:
    """A work array with one voxel of background around; where the box cuts the volume its faces stay, or ends would shrink."""
    work = np.zeros(tuple(n + 2 for n in solid.shape), np.uint8)
    view = work[_INNER]
    view[solid] = FREE
    for axis in range(3):
        for cut, face in ((around.start[axis] > 0, 0), (around.stop[axis] < shape[axis], -1)):
            if cut:
                layer = np.moveaxis(view, axis, 0)[face]
                layer[layer != 0] = FIXED
    return work


def _without_cavities(solid: np.ndarray) -> np.ndarray:
    """`solid` with the background filled that does not reach its faces; the same array where there is none."""
    from scipy import ndimage

    labels, count = ndimage.label(~solid)
    outside = np.zeros(count + 1, bool)
    for axis in range(3):
        if solid.shape[axis] > 1:
            for face in (0, -1):
                outside[np.moveaxis(labels, axis, 0)[face]] = True
    inside = ~outside
    inside[0] = False
    return solid | inside[labels] if inside.any() else solid


def _state(
    mask: BitBlocks, part: Box, core: Box, solid: np.ndarray, around: Box, guide: np.ndarray, done: dict[Box, _Lines]
) -> np.ndarray:
    """`part` and one voxel around it as things stand: free voxels inside, those of `guide` and all outside fixed."""
    seen = part.grow(1)
    held = seen.clip(mask.shape)  # within `around`, whose margin is 4 voxels or more
    work = np.zeros(seen.size, np.uint8)
    work[held.relative_to(seen.start).slices] = solid[held.relative_to(around.start).slices] * FIXED
    here = part.relative_to(around.start).slices
    work[_INNER] = np.where(guide[here], FIXED, solid[here] * FREE)
    _put_lines(work, seen, held, mask, done, before=core)
    return work


def _widest_around(depth: np.ndarray, at: tuple[np.ndarray, ...]) -> np.ndarray:
    """The largest depth in the 3×3×3 voxels around each of the voxels `at`."""
    widest = np.zeros(len(at[0]), np.float32)
    for step in np.ndindex(3, 3, 3):
        near = tuple(np.clip(a + s - 1, 0, n - 1) for a, s, n in zip(at, step, depth.shape, strict=True))
        np.maximum(widest, depth[near], out=widest)
    return widest
