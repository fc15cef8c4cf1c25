"""Annotation as people leave it: some slices, some vessels."""

from __future__ import annotations

import numpy as np

from malpighi.phantoms.tree import VesselTree


def kept_slice(z: np.ndarray, share: float) -> np.ndarray:
    """Whether slices `z` are annotated: `share` of them, evenly spread; bool, as `z`."""
    return np.asarray(np.floor((z + 1) * share + 1e-9) > np.floor(z * share + 1e-9))


def dropped_subtrees(tree: VesselTree, share: float, seed: int) -> np.ndarray:
    """(b,) bool: branches left out, whole subtrees at random until about `share` of the volume is gone."""
    below = tree.volume.copy()
    for branch in range(len(tree) - 1, -1, -1):  # children come after their parents
        if tree.parent[branch] >= 0:
            below[tree.parent[branch]] += below[branch]
    dropped = np.zeros(len(tree), bool)
    missing = share * tree.volume.sum()
    for branch in np.random.default_rng([seed, 2]).permutation(len(tree)):
        if below[branch] > 1.02 * missing or dropped[branch]:
            continue
        gone = _subtree(tree, branch) & ~dropped
        dropped |= gone
        missing -= tree.volume[gone].sum()
    return dropped


def _subtree(tree: VesselTree, root: int) -> np.ndarray:
    """(b,) bool: `root` and all that comes from it."""
    inside = np.zeros(len(tree), bool)
    inside[root] = True
    for branch in range(root + 1, len(tree)):
        inside[branch] = tree.parent[branch] >= 0 and inside[tree.parent[branch]]
    return inside
