"""Connected components of a mask of any size, read block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.objects.pieces import Index, Pieces, border_pairs, checked_mask, label_block, trailing_faces

Read = Callable[[Box], np.ndarray]
"""Reads one box, which lies inside the image, of a mask: (*spatial), bool or integer, anything but 0 is foreground."""

BLOCK = {2: 2048, 3: 192}
"""Side of a block by rank: 4 million voxels in 2-D, 7 million in 3-D."""


@dataclass(frozen=True, eq=False)
class Components:
    """The connected components of a mask, numbered 1 … n in order of where their bounding boxes begin.

    Holds a few numbers a component, never the mask; `labels` reads that again. In 2-D no two components share a bounding
    box, so that numbers do not depend on the blocks; in 3-D those that do are ordered by size and centre.

    Attributes:
        shape: of the mask, voxels.
        start, stop: (component, axis) bounding boxes, half-open, int64.
        count: (component,) voxels, int64.
        sums: (component, axis) sums of voxel indices, float64.
        weights: (component,) sums of what `read_weights` returned, (component, kind) where it returned several; None without it.
    """

    shape: tuple[int, ...]
    start: np.ndarray
    stop: np.ndarray
    count: np.ndarray
    sums: np.ndarray
    weights: np.ndarray | None
    read: Read
    block: tuple[int, ...]
    faces_only: bool
    first: dict[Index, int]
    final: np.ndarray

    def __len__(self) -> int:
        return len(self.count)

    def box(self, component: int) -> Box:
        """Bounding box of component 1 … n."""
        return Box.of_bounds(self.start[component - 1].tolist(), self.stop[component - 1].tolist())

    @property
    def at_border(self) -> np.ndarray:
        """(component,) bool: whether it touches the image's border."""
        return ((self.start == 0) | (self.stop == np.array(self.shape))).any(1)

    def centroid(self, component: int) -> tuple[float, ...]:
        """Centre of mass of component 1 … n in voxels, where voxel i covers [i, i + 1)."""
        i = component - 1
        return tuple((self.sums[i] / self.count[i] + 0.5).tolist())

    def labels(self, box: Box) -> np.ndarray:
        """Component numbers in `box`, 0 in the background: a component has one number wherever it is met.

        Returns:
            (*box.size) int32.
        """
        if box.clip(self.shape) != box:
            raise DataError(f"box {box} leaves the mask of shape {self.shape}; clip it first")
        out = np.zeros(box.size, np.int32)
        for whole in _blocks(box.snap(self.block).clip(self.shape), self.block):
            first = self.first.get(_index(whole, self.block))
            if first is None:  # nothing but background
                continue
            # a block is labelled whole even for a corner of it, or its pieces would not get the same numbers again
            found = label_block(checked_mask(self.read(whole), whole), self.faces_only)
            if found is None:
                raise DataError(f"the mask changed while it was worked: {whole} was not empty before")
            part = whole.intersect(box)
            numbers = np.concatenate([np.zeros(1, np.int32), self.final[first + 1 : first + 1 + len(found.voxels)]])
            out[part.relative_to(box.start).slices] = numbers[found.labels[part.relative_to(whole.start).slices]]
        return out


def find_components(
    read: Read,
    shape: Sequence[int],
    block: int | Sequence[int] | None = None,
    faces_only: bool = False,
    read_weights: Read | None = None,
) -> Components:
    """Find the components of a mask that need not fit into memory.

    Every block is labelled alone; pieces that meet across block borders, diagonals over edges and corners included, are
    joined. Memory: a block, the border voxels of one layer of blocks, and some numbers a piece.

    Args:
        read: one box of the mask, (*spatial), bool or integer.
        shape: of the mask, 2-D or 3-D.
        block: side of a block, or one an axis; best a multiple of the file's chunks. Default: `BLOCK`.
        faces_only: voxels join only over faces (4 neighbours in 2-D, 6 in 3-D), else over edges and corners too (8, 26).
        read_weights: one box of numbers to sum over every component, such as probabilities: (*spatial), or (kind, *spatial).

    Raises:
        DataError: `read` returns another shape or floating-point values, or a weight is not finite.
    """
    shape = tuple(int(n) for n in shape)
    if len(shape) not in BLOCK:
        raise DataError(f"components need a 2-D or 3-D mask, not one of shape {shape}")
    step = tuple(block) if isinstance(block, Sequence) else (block or BLOCK[len(shape)],) * len(shape)
    first: dict[Index, int] = {}
    faces: dict[Index, list[np.ndarray]] = {}
    found: list[Pieces] = []
    weights: list[np.ndarray] = []
    pairs: list[np.ndarray] = []
    total = 0
    for box in _blocks(Box.of_shape(shape), step):
        index = _index(box, step)
        _forget(faces, index)
        pieces = label_block(checked_mask(read(box), box), faces_only)
        if pieces is None:  # the blocks around may still meet at its corner
            pairs.extend(border_pairs(np.broadcast_to(np.int32(0), box.size), total, faces, index, faces_only))
            continue
        pairs.extend(border_pairs(pieces.labels, total, faces, index, faces_only))
        if read_weights is not None:
            weights.append(_weigh(pieces.labels, read_weights(box), box))
        faces[index] = trailing_faces(pieces.labels, total)
        first[index] = total
        total += len(pieces.voxels)
        found.append(_placed(pieces, box))
    start, stop, count, sums, weight, final = _join(found, weights, pairs, total, len(shape))
    return Components(shape, start, stop, count, sums, weight if read_weights else None, read, step, faces_only, first, final)


def find_holes(
    read: Read, shape: Sequence[int], block: int | Sequence[int] | None = None, faces_only: bool = False
) -> Components:
    """The components of a mask's background, of which those that do not touch the border are its holes.

    Args:
        read, shape, block: as of `find_components`.
        faces_only: of the mask's components; where they join over corners the background does not.
    """
    return find_components(lambda box: checked_mask(read(box), box) == 0, shape, block, not faces_only)


def _blocks(box: Box, step: tuple[int, ...]) -> Iterator[Box]:
    yield from box.split(step)


def _index(box: Box, step: tuple[int, ...]) -> Index:
    return tuple(a // s for a, s in zip(box.start, step, strict=True))


def _forget(faces: dict[Index, list[np.ndarray]], index: Index) -> None:
    """Drop the faces that no block from `index` on can touch; they were put in, and are needed, in C order."""
    oldest = tuple(i - 1 for i in index)
    for passed in [key for key in faces if key < oldest]:
        del faces[passed]


def _placed(pieces: Pieces, box: Box) -> Pieces:
    """The pieces in the mask's coordinates, without the block's labels."""
    origin = np.array(box.start)
    return Pieces(
        np.empty(0, np.int32),
        pieces.start + origin,
        pieces.stop + origin,
        pieces.voxels,
        pieces.sums + pieces.voxels[:, None] * origin,
    )


def _weigh(labels: np.ndarray, weights: np.ndarray, box: Box) -> np.ndarray:
    """(piece,) sums, or (piece, kind)."""
    if weights.shape[-labels.ndim :] != labels.shape:
        raise DataError(f"weights of {box} came with shape {weights.shape}, the mask with {labels.shape}")
    where = np.flatnonzero(labels)
    of, kinds = labels.ravel()[where], weights.reshape(-1, labels.size)
    sums = np.stack([np.bincount(of, weights=kind[where])[1:] for kind in kinds], 1)
    if not np.isfinite(sums).all():
        raise DataError(f"probabilities of {box} hold NaN or infinity inside an object; predict that part again")
    return sums if weights.ndim > labels.ndim else sums[:, 0]


def _join(
    found: list[Pieces], weights: list[np.ndarray], pairs: list[np.ndarray], total: int, rank: int
) -> tuple[np.ndarray, ...]:
    """Merge pieces that meet: boxes, counts and sums a component, and the component number of every piece."""
    if total == 0:
        none = np.zeros((0, rank), np.int64)
        return none, none, np.zeros(0, np.int64), np.zeros((0, rank)), np.zeros(0), np.zeros(1, np.int32)
    n, owner = _connected(pairs, total)
    start = np.full((n, rank), np.iinfo(np.int64).max)
    stop = np.zeros((n, rank), np.int64)
    np.minimum.at(start, owner, np.concatenate([p.start for p in found]))
    np.maximum.at(stop, owner, np.concatenate([p.stop for p in found]))
    count = np.zeros(n, np.int64)
    np.add.at(count, owner, np.concatenate([p.voxels for p in found]))
    sums = np.zeros((n, rank))
    np.add.at(sums, owner, np.concatenate([p.sums for p in found]))
    weight = _added(np.concatenate(weights), owner, n) if weights else np.zeros(n)
    keys = [*start.T, *stop.T, count, *sums.T]
    order = np.lexsort(keys[::-1])
    number = np.empty(n, np.int32)
    number[order] = np.arange(1, n + 1)
    final = np.concatenate([np.zeros(1, np.int32), number[owner]])
    return start[order], stop[order], count[order], sums[order], weight[order], final


def _added(weights: np.ndarray, owner: np.ndarray, n: int) -> np.ndarray:
    """Sums of the pieces' weights over the components that own them."""
    if weights.ndim == 1:
        return np.bincount(owner, weights=weights, minlength=n)
    return np.stack([np.bincount(owner, weights=kind, minlength=n) for kind in weights.T], 1)


def _connected(pairs: list[np.ndarray], total: int) -> tuple[int, np.ndarray]:
    """Union of pieces 1 … total over the pairs that meet: number of sets, and each piece's set."""
    from scipy.sparse import coo_array, csgraph

    joined = np.concatenate([np.zeros((0, 2), np.int64), *pairs]) - 1
    graph = coo_array((np.ones(len(joined), bool), (joined[:, 0], joined[:, 1])), shape=(total, total))
    n, owner = csgraph.connected_components(graph, directed=False)
    return int(n), owner
