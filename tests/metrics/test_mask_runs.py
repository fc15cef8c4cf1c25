"""Overlaps of run-length masks against counting pixels, and against pycocotools."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from malpighi.metrics import mask_runs
from malpighi.metrics.mask_runs import MaskRuns, overlaps


def runs_of(masks):
    """(mask, y, x) bool → their runs down the columns."""
    starts, stops, owner = [], [], []
    for i, mask in enumerate(masks):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel().astype(int), [0]])))
        starts += edges[::2].tolist()
        stops += edges[1::2].tolist()
        owner += [i] * (len(edges) // 2)
    return MaskRuns(*(np.array(v, np.int64) for v in (starts, stops, owner)), len(masks))


def dense(pairs):
    out = np.zeros((len(pairs.predicted), len(pairs.true)))
    out[pairs.p, pairs.t] = pairs.shared
    return out


def test_by_hand():
    a = np.zeros((2, 3, 4), bool)
    a[0, :, 0], a[1, 1, :] = True, True  # a column of three and a row of four
    pairs = overlaps(runs_of(a), runs_of(a[1:]))
    assert pairs.predicted.tolist() == [3, 4]
    assert dense(pairs).tolist() == [[1], [4]]
    assert pairs.iou.tolist() == [1 / 6, 1]


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 2**31), st.integers(0, 4), st.integers(0, 4), st.booleans())
def test_is_the_count_of_pixels(seed, n, m, overlapping):
    counted(seed, n, m, overlapping)


def test_many_masks_are_summed_without_a_table(monkeypatch):
    monkeypatch.setattr(mask_runs, "DENSE", 0)
    for seed in range(10):
        counted(seed, 4, 3, overlapping=bool(seed % 2))


def counted(seed, n, m, overlapping):
    draw = np.random.default_rng(seed)
    if overlapping:
        p, t = draw.random((n, 7, 9)) < 0.5, draw.random((m, 7, 9)) < 0.5
    else:
        p, t = (draw.integers(0, k + 1, (7, 9)) == np.arange(1, k + 1)[:, None, None] for k in (n, m))
    pairs = overlaps(runs_of(p), runs_of(t))
    np.testing.assert_array_equal(pairs.predicted, p.sum((1, 2)))
    np.testing.assert_array_equal(pairs.true, t.sum((1, 2)))
    np.testing.assert_array_equal(dense(pairs), np.einsum("pyx,tyx->pt", p.astype(int), t.astype(int)))
    assert (pairs.shared > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_is_pycocotools(seed):
    draw = np.random.default_rng(seed)
    p, t = draw.random((5, 20, 30)) < 0.6, draw.random((4, 20, 30)) < 0.6
    pairs = overlaps(runs_of(p), runs_of(t))
    encoded = [[coco.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in side] for side in (p, t)]
    wanted = coco.iou(*encoded, [0] * len(t))
    found = np.zeros_like(wanted)
    found[pairs.p, pairs.t] = pairs.iou
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
