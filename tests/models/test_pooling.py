"""Pooling of maps: over an image, over masks, over cells. Cases of a few numbers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from malpighi.models.pooling import pool_cells, pool_maps

MAPS = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
HOWS = ["average", "average+max", "lse"]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("average", 3.0),
        ("average+max", 4.5),
        ("lse", math.log((math.e + math.e**2 + math.e**3 + math.e**6) / 4)),
    ],
)
def test_of_a_whole_image(how, expected):
    assert pool_maps(MAPS, None, how).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("how", "expected"), [("average", 1.5), ("average+max", 1.75), ("lse", math.log((math.e + math.e**2) / 2))]
)
def test_of_what_a_mask_leaves(how, expected):
    mask = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    assert pool_maps(MAPS, mask, how).item() == pytest.approx(expected)


def test_masks_count_by_area():
    """A quarter of the first place and all of the last."""
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 0, 0] = 1
    mask[..., 2:, 2:] = 1
    assert pool_maps(MAPS, mask, "average").item() == pytest.approx((0.25 * 1 + 6) / 1.25)


@pytest.mark.parametrize("how", HOWS)
def test_an_empty_mask_is_none(how):
    maps = torch.cat([MAPS, MAPS]).requires_grad_()
    masks = torch.zeros(2, 1, 2, 2)
    masks[1] = 1
    pooled = pool_maps(maps, masks, how)
    torch.testing.assert_close(pooled, pool_maps(maps, None, how))
    pooled.sum().backward()
    assert maps.grad.isfinite().all()


@pytest.mark.parametrize("how", HOWS)
def test_outside_of_the_mask_nothing_matters_and_nothing_learns(how):
    maps = torch.tensor([[[[1.0, 2.0], [80.0, -80.0]]]], requires_grad=True)
    mask = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    pooled = pool_maps(maps, mask, how)
    torch.testing.assert_close(pooled, pool_maps(MAPS, mask, how))
    pooled.sum().backward()
    assert maps.grad[..., 1, :].eq(0).all()
    assert maps.grad[..., 0, :].gt(0).all()


@pytest.mark.parametrize("how", HOWS)
def test_a_map_that_is_alike_everywhere_has_its_own_value(how):
    """So that a map's value is the logit of an image that looks everywhere as here."""
    for dtype in (torch.float32, torch.bfloat16):
        pooled = pool_maps(torch.full((1, 3, 5, 4), -2.5, dtype=dtype), torch.rand(1, 1, 9, 9), how)
        torch.testing.assert_close(pooled, torch.full((1, 3), -2.5))


def test_cells_by_hand():
    labels = torch.tensor([[1, 1, 0], [3, 3, 3]])
    maps = torch.tensor([[[1.0, 3.0, 9.0], [4.0, 5.0, 9.0]], [[0.0, 0.0, 9.0], [1.0, 1.0, 1.0]]])
    assert pool_cells(maps, labels, 3, "mean").tolist() == [[2, 0], [0, 0], [6, 1]]
    assert pool_cells(maps, labels, 3, "max").tolist() == [[3, 0], [0, 0], [9, 1]]
    assert pool_cells(maps, labels, 1, "max").tolist() == [[3, 0]]
    assert pool_cells(maps, torch.zeros(2, 3, dtype=torch.uint8), 2, "top").tolist() == [[0, 0]] * 2


def test_top_is_the_mean_of_the_highest_tenth():
    labels = torch.ones(4, 5, dtype=torch.int32)
    assert pool_cells(torch.arange(20.0).reshape(1, 4, 5), labels, 1, "top").item() == pytest.approx(18.5)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["mean", "max", "top"]))
def test_cells_as_numpy_has_them(seed, how):
    rng = np.random.default_rng(seed)
    labels, maps = rng.integers(0, 6, (7, 9)), rng.normal(size=(2, 7, 9)).astype(np.float32)
    found = pool_cells(torch.from_numpy(maps), torch.from_numpy(labels), 6, how).numpy()
    for cell in range(1, 7):
        inside = np.sort(maps[:, labels == cell], 1)
        top = inside[:, -max(1, round(inside.shape[1] / 10)) :]
        expected = {"mean": inside, "max": inside[:, -1:], "top": top}[how].mean(1) if inside.size else 0
        np.testing.assert_allclose(found[cell - 1], expected, atol=1e-6)


def test_sides_must_be_the_same():
    with pytest.raises(ValueError, match="same sides"):
        pool_cells(torch.zeros(1, 4, 4), torch.zeros(4, 5, dtype=torch.long), 1, "mean")
