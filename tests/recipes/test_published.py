"""Every shipped recipe of a published vessel system: its network is built as named, learns a step, predicts, is saved and read."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from malpighi.models.build import build_network
from malpighi.recipes.load import list_recipes
from malpighi.sampling.intensity import Intensity
from malpighi.tasks.ftu import ftu_task
from malpighi.tasks.image import forward_of
from malpighi.tasks.run import Inputs

VESSELS = [name for name in list_recipes() if name.startswith("vessel-")]


@pytest.mark.parametrize("name", VESSELS)
def test_a_recipe_says_what_it_is_and_where_its_numbers_come_from(name, filled):
    recipe = filled(name)
    assert recipe.task == "vessels"
    assert recipe.model.rank == 3
    assert "SenNet" in recipe.source
    depth = recipe.data.sides(3)[0]
    assert depth == recipe.model.slices_in or not recipe.model.slices_in


def test_every_row_of_the_published_systems_is_there():
    rows = "1st 2nd 3rd 4th-2d 4th-3d 5th 2d-attention-unet 25d-resnext50 25d-resnext101"
    assert set(VESSELS) == {f"vessel-{row}" for row in rows.split()}


@pytest.mark.slow
@pytest.mark.parametrize("name", VESSELS)
def test_its_network_learns_a_step_predicts_and_comes_back_the_same(name, tmp_path, filled):
    torch.manual_seed(0)
    recipe = filled(name)
    network = build_network(recipe.model, 1, 1)
    depth = recipe.model.slices_in or 32
    tile = (depth, 64, 64)
    images = torch.randn(2, 1, *tile)
    target = (torch.rand(2, 1, *tile) > 0.8).to(torch.uint8)
    task = ftu_task(recipe, 1)
    loss = task.loss(network.train()(images), target)
    loss.backward()
    assert torch.isfinite(loss)
    gradients = [p.grad.abs().sum() for p in network.parameters() if p.grad is not None]
    assert gradients
    assert sum(gradients) > 0
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    again = build_network(recipe.model, 1, 1)
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    inputs = Inputs(("vessel",), 1, recipe.data.working_spacing(3), Intensity((0.0,), (1.0,)))
    options = replace(recipe.predict, flips="none")
    volume = np.random.default_rng(0).normal(size=(1, 1, 32, 64, 64)).astype(np.float32)
    first, second = (forward_of(n, inputs, options, "cpu", "float32", False, ("z",))(volume) for n in (network, again))
    assert first.shape == (1, 1, 32, 64, 64)
    assert ((first >= 0) & (first <= 1)).all()
    np.testing.assert_array_equal(first, second)
