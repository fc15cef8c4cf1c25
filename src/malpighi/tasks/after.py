"""What follows thresholding: masks are tidied, so that masks, outlines and tables show the same objects."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from malpighi.geometry import Box, Spacing
from malpighi.inference.store import PredictionStore
from malpighi.objects.label import BLOCK, find_components
from malpighi.objects.measure import ObjectOptions, min_voxels
from malpighi.tasks.instances import BLOCK as INSTANCE_BLOCK
from malpighi.tasks.instances import find_instances
from malpighi.tasks.model import Model
from malpighi.tasks.talk import Talk


def number_objects(store: PredictionStore, model: Model, talk: Talk) -> None:
    """Make the label image of the layers that were stored; what is below the smallest area does not get into it.

    Done again from the start where a run was stopped in it: it takes far less than the layers did.
    """
    blocks = len(list(Box.of_shape(store.shape).split((INSTANCE_BLOCK, INSTANCE_BLOCK))))
    smallest = min_voxels(model.objects, model.run.inputs.spacing)
    with talk.bar("telling objects apart", total=blocks) as advance:
        write = partial(store.write_mask, 0)
        find_instances(store.read_layers(), store.shape, write, model.instances, smallest, advance)


def drop_specks(store: PredictionStore, spacing: Spacing, options: ObjectOptions) -> None:
    """Take objects below the smallest area out of the masks, so that masks, outlines and tables show the same objects."""
    voxel = math.prod(spacing.values)
    if not options.min_area > voxel:
        return
    block = tuple(max(side, BLOCK[len(store.shape)] // side * side) for side in store.align)
    for k in range(len(store.classes)):
        components = find_components(store.read_mask(k), store.shape, block, options.faces_only)
        dropped = np.concatenate([[False], components.count * voxel < options.min_area])
        if not dropped.any():
            continue
        for whole in Box.of_shape(store.shape).split(block):
            # a block is numbered before any of it is rewritten: numbers hold only as long as their block is as it was
            labels = components.labels(whole)
            small = dropped[labels]
            if small.any():
                kept = (labels > 0) & ~small
                for box in whole.split(store.align):
                    store.write_mask(k, box, kept[box.relative_to(whole.start).slices])
