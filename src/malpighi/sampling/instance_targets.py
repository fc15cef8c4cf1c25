"""Numbered objects of a tile → the layers that a network for instances learns."""

from __future__ import annotations

import numpy as np

from malpighi.errors import DataError
from malpighi.objects.instances import LAYERS


def instance_targets(labels: np.ndarray, kind: str) -> np.ndarray:
    """What a network of this kind shall answer, made of what the warp left of a tile.

    "distance": depth in the object over the largest depth it has in the tile (`depth_in_objects`); 0 in the background, 1 in an
    object that fills the tile. "flow": `flow_to_middle`, stored as (f + 1) / 2, 0.5 in the background.

    Args:
        labels: (batch, y, x) integers: 0 background, > 0 the object, -1 where nobody said.
        kind: a key of `LAYERS` that has layers.

    Returns:
        (batch, layer, y, x) float32 in 0 … 1, NaN where nobody said.

    Raises:
        DataError: labels of another shape or type.
        ValueError: a kind without layers.
    """
    from malpighi.objects.depth import depth_in_objects
    from malpighi.objects.flow import flow_to_middle

    if labels.ndim != 3 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"labels of shape {labels.shape} and type {labels.dtype}: objects are (batch, y, x) integers")
    if not LAYERS.get(kind):
        raise ValueError(f"no targets of kind {kind!r}; those with layers: {', '.join(k for k, v in LAYERS.items() if v)}")
    target = np.empty((len(labels), len(LAYERS[kind]), *labels.shape[1:]), np.float32)
    for numbers, layers in zip(labels.astype(np.int64), target, strict=True):
        depth = depth_in_objects(numbers)
        layers[0] = numbers > 0
        if kind == "distance":
            layers[1] = _over_largest(depth, numbers)
        else:
            layers[1:] = (flow_to_middle(numbers, depth) + 1) / 2
        layers[:, numbers < 0] = np.nan
    return target


def _over_largest(depth: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Depth over the largest of the same object; 1 where an object has no border to be deep from."""
    inside = labels > 0
    _, row = np.unique(labels[inside], return_inverse=True)
    deep = depth[inside]
    borderless = np.isinf(deep)
    deep[borderless] = 0
    largest = np.zeros(row.max(initial=-1) + 1, np.float32)
    np.maximum.at(largest, row, deep)
    out = np.zeros_like(depth)
    out[inside] = np.where(borderless, np.float32(1), deep / np.maximum(largest[row], 1))
    return out
