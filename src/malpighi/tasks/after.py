"""What follows thresholding: masks are tidied, so that masks, outlines and tables show the same objects.

Every step reads and writes masks block by block, so that memory does not depend on the image, and is a step of the store
(`PredictionStore.change`): a run that was stopped in one begins it again and ends in the same masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from malpighi.geometry import Box, Spacing
from malpighi.inference.masks import ReadMask
from malpighi.inference.store import PredictionStore
from malpighi.objects.cache import BlockCache
from malpighi.objects.energy import energies
from malpighi.objects.label import BLOCK, Components, find_components, find_holes
from malpighi.objects.measure import ObjectOptions, min_voxels
from malpighi.objects.otsu import Redraw
from malpighi.tasks.instances import BLOCK as INSTANCE_BLOCK
from malpighi.tasks.instances import find_instances
from malpighi.tasks.model import Model
from malpighi.tasks.talk import Advance, Talk


def number_objects(store: PredictionStore, model: Model, spacing: Spacing, talk: Talk) -> None:
    """Make the label image of the layers that were stored; what is below the smallest area does not get into it.

    Done again from the start where a run was stopped in it: it takes far less than the layers did.
    """
    blocks = len(list(Box.of_shape(store.shape).split((INSTANCE_BLOCK, INSTANCE_BLOCK))))
    smallest = min_voxels(model.objects, spacing)
    with talk.bar("telling objects apart", total=blocks) as advance:
        write = partial(store.write_mask, 0)
        find_instances(store.read_layers(), store.shape, write, model.instances, smallest, advance)


def needs_everywhere(options: ObjectOptions) -> bool:
    """Whether masks may grow, so that the store has to keep probabilities outside of them too."""
    return bool(options.fill_holes or options.otsu)


def changes_masks(options: ObjectOptions, spacing: Spacing, one_class: bool = False) -> bool:
    """Whether `clean_masks` has anything to do."""
    return one_class or bool(needs_everywhere(options) or options.energy or min_voxels(options, spacing))


def clean_masks(
    store: PredictionStore, spacing: Spacing, options: ObjectOptions, talk: Talk | None = None, *, one_class: bool = False
) -> None:
    """Tidy the masks of a store to which all boxes were added: one class, holes, small objects drawn anew, faint and small ones.

    In this order: with `one_class` all classes but the one with most voxels are emptied; holes are filled; objects below
    `options.otsu` are drawn anew; objects of less energy than `options.energy`, or smaller than `options.min_area`, go.

    Args:
        store: opened with `everywhere` where `needs_everywhere`.
        spacing: of the masks.
        options: areas are in the square (cube) of the spacing's unit.
        one_class: see `PredictOptions`.
    """
    if needs_everywhere(options) and not store.everywhere:
        raise ValueError("masks that may grow need a store with everywhere=True")
    talk, area = talk or Talk(), math.prod(spacing.values)
    block = tuple(max(side, BLOCK[len(store.shape)] // side * side) for side in store.align)
    steps: list[tuple[str, str, Callable[[_Masks, int], None], bool]] = []
    if options.fill_holes > area:
        steps.append(("holes", "filling holes", partial(_fill_holes, below=options.fill_holes / area), False))
    if options.otsu > area:
        redraw = partial(_redraw, below=options.otsu / area, holes=options.fill_holes / area)
        steps.append(("otsu", "drawing small objects anew", redraw, True))
    smallest = min_voxels(options, spacing)
    if smallest or options.energy:
        drop = partial(_drop, smallest=smallest, energy=options.energy, temperature=options.temperature)
        steps.append(("drop", "dropping small and faint objects", drop, bool(options.energy)))
    if one_class:
        store.change("class", partial(_keep_one_class, store))
    for name, said, step, copy in steps:
        total = len(store.classes) * len(list(Box.of_shape(store.shape).split(block)))
        with talk.bar(said, total=total) as advance:
            store.change(name, partial(_each_class, store, block, options.faces_only, step, advance), copy=copy)


@dataclass(frozen=True)
class _Masks:
    """The masks of a store, as a step sees them."""

    store: PredictionStore
    read: ReadMask
    block: tuple[int, ...]
    faces_only: bool
    advance: Advance

    def rewrite(self, k: int, change: Callable[[Box], np.ndarray | None], needed: bool) -> None:
        """Put what `change` gives of each block in its place; None leaves the block as it is. Where not `needed` it is not asked.

        A block is worked whole before any of it is written: numbers of `Components.labels` hold only while their block is as it was.
        """
        for whole in Box.of_shape(self.store.shape).split(self.block):
            mask = change(whole) if needed else None
            if mask is not None:
                for box in whole.split(self.store.align):
                    self.store.write_mask(k, box, mask[box.relative_to(whole.start).slices])
            self.advance()


def _each_class(
    store: PredictionStore,
    block: tuple[int, ...],
    faces_only: bool,
    step: Callable[[_Masks, int], None],
    advance: Advance,
    read: ReadMask,
) -> None:
    masks = _Masks(store, read, block, faces_only, advance)
    for k in range(len(store.classes)):
        step(masks, k)


def _keep_one_class(store: PredictionStore, read: ReadMask) -> None:
    """Empty all classes but the one with most voxels, the first of several. The same if done again over half of itself."""
    boxes = list(Box.of_shape(store.shape).split(store.align))
    reads = [read(k) for k in range(len(store.classes))]
    counts = [sum(int(np.count_nonzero(each(box))) for box in boxes) for each in reads]
    kept = int(np.argmax(counts))
    for k, each in enumerate(reads):
        for box in boxes if k != kept and counts[k] else ():
            if each(box).any():
                store.write_mask(k, box, np.zeros(box.size, np.uint8))


def _fill_holes(masks: _Masks, k: int, *, below: float) -> None:
    """Fill holes of fewer than `below` voxels. Half filled, a hole is a smaller hole: it may be done again over half of itself."""
    read = masks.read(k)
    background = find_holes(read, masks.store.shape, masks.block, masks.faces_only)
    chosen = _chosen((background.count < below) & ~background.at_border)

    def change(whole: Box) -> np.ndarray | None:
        filled = chosen[background.labels(whole)]
        return (read(whole) != 0) | filled if filled.any() else None

    masks.rewrite(k, change, bool(chosen.any()))


def _redraw(masks: _Masks, k: int, *, below: float, holes: float) -> None:
    components = _components(masks, k)
    mask, probability = (
        BlockCache(read, masks.store.shape, masks.block, keep=4) for read in (masks.read(k), masks.store.read_probability(k))
    )
    redraw = Redraw(components, below, mask, probability, holes)
    masks.rewrite(k, redraw.draw, len(redraw) > 0)


def _drop(masks: _Masks, k: int, *, smallest: int, energy: float, temperature: float) -> None:
    """Take out objects of fewer voxels than `smallest`, and of a mean energy below `energy`."""
    probability = masks.store.read_probability(k)
    components = _components(masks, k, (lambda box: energies(probability(box), temperature)) if energy else None)
    faint = components.weights < energy * components.count if components.weights is not None else False
    chosen = _chosen((components.count < smallest) | faint)

    def change(whole: Box) -> np.ndarray | None:
        labels = components.labels(whole)
        gone = chosen[labels]
        return (labels > 0) & ~gone if gone.any() else None

    masks.rewrite(k, change, bool(chosen.any()))


def _components(masks: _Masks, k: int, weigh: Callable[[Box], np.ndarray] | None = None) -> Components:
    return find_components(masks.read(k), masks.store.shape, masks.block, masks.faces_only, weigh)


def _chosen(components: np.ndarray) -> np.ndarray:
    """(number,) bool for `labels`, whose background is 0."""
    return np.concatenate([[False], components])
