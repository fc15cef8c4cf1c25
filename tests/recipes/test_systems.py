"""Every shipped recipe of a published FTU system: it says where it is from; its network is built as named, learns a step, comes back the same;
and the whole recipe, with a small encoder, trains, segments and is scored."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from safetensors.torch import load_file, save_file

from malpighi.models.build import build_network
from malpighi.recipes.load import list_recipes, read_raw, recipe_text
from malpighi.sampling.intensity import Intensity
from malpighi.tasks.ftu import ftu_task
from malpighi.tasks.image import forward_of
from malpighi.tasks.run import Inputs
from malpighi.tasks.train import train

KIDNEY = "1st 2nd 3rd 4th 10th 12th 17th 23rd 35th"
BODY = "unet-resnext50 unet-resnext101 unet-resnest101 unet-efficientnet-b7 unet-resnest269 upernet-convnext 1st 2nd 3rd"
SYSTEMS = [name for name in list_recipes() if name.startswith(("kidney-", "body-"))]
VALUES = {"organ": ("kidney", "spleen")}


def test_every_row_of_the_published_systems_is_there():
    assert set(SYSTEMS) == {f"kidney-{row}" for row in KIDNEY.split()} | {f"body-{row}" for row in BODY.split()}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_recipe_says_what_it_is_and_where_its_numbers_come_from(name, filled):
    recipe = filled(name)
    assert recipe.task == "ftu"
    assert "HuBMAP" in recipe.source
    assert ("Kidney" if name.startswith("kidney") else "Body") in recipe.source
    assert recipe.model.rank == 2
    text = recipe_text(name)
    assert '# "ours": its authors do not say' in text
    assert recipe.optim.name != "adam" or "weight_decay = " in text  # its decay is L2: the default is AdamW's, and too much
    assert recipe.augment.stain == 0  # no author jittered stains, as the default does


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_its_network_learns_a_step_predicts_and_comes_back_the_same(name, tmp_path, filled):
    torch.manual_seed(0)
    recipe = filled(name)
    values = {key: VALUES.get(key, ()) for key in recipe.model.tells}
    network = build_network(recipe.model, 3, 2, values)
    images = torch.randn(2, 3, 128, 128)
    target = (torch.rand(2, 2, 128, 128) > 0.8).to(torch.uint8)
    facts = {"organ": torch.tensor([0, 1]), "pixel_size": torch.tensor([0.0, 0.3])} if values else {}
    loss = ftu_task(recipe, 2).loss(network.train()(images), target, *([facts] if facts else []))
    loss.backward()
    assert torch.isfinite(loss)
    silent = [key for key, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert not silent
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    again = build_network(recipe.model, 3, 2, values)
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    inputs = Inputs(("cortex", "tuft"), 3, recipe.data.working_spacing(2), Intensity((0.0,) * 3, (1.0,) * 3))
    options = replace(recipe.predict, flips="none")
    tiles = np.random.default_rng(0).normal(size=(1, 3, 128, 128)).astype(np.float32)
    first, second = (forward_of(n, inputs, options, "cpu", "float32", False)(tiles) for n in (network, again))
    assert first.shape == (1, 2, 128, 128)
    assert ((first >= 0) & (first <= 1)).all()
    np.testing.assert_array_equal(first, second)


SMALL = [
    "data.unit=px",
    "data.spacing=1.0",
    "data.tile=64",
    "data.folds=2",
    "model.encoder=regnetx_002",
    "model.pretrained=never",
    "train.steps=3",
    "train.batch=2",
    "train.validate_every=2",
    "train.precision=float32",
    "train.loaders=1",
    "predict.tile=64",
]


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    """Four images 160 × 144 of discs on tissue, of two organs, with masks."""
    root = tmp_path_factory.mktemp("discs")
    rng = np.random.default_rng(0)
    lines = ["image,labels,class,organ"]
    for number in range(4):
        y, x = np.mgrid[:160, :144]
        mask = np.zeros((160, 144), bool)
        for _ in range(5):
            cy, cx, r = *rng.uniform(20, 130, 2), rng.uniform(8, 18)
            mask |= (y - cy) ** 2 + (x - cx) ** 2 < r**2
        image = np.where(mask[..., None], (120, 60, 140), (215, 170, 200)) + rng.normal(0, 8, (160, 144, 3))
        tifffile.imwrite(root / f"image{number}.tif", np.clip(image, 0, 255).astype(np.uint8), photometric="rgb")
        tifffile.imwrite(root / f"mask{number}.tif", mask.astype(np.uint8) * 255)
        lines.append(f"image{number}.tif,mask{number}.tif,disc,{('kidney', 'spleen')[number % 2]}")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    return root


SAME = [name for name in SYSTEMS if name.startswith("body-unet-")][1:]
"""But for the encoder, which is small here, they are the first of them."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SYSTEMS if name not in SAME])
def test_the_whole_recipe_trains_and_is_scored(name, discs, tmp_path):
    boxes = ["boxes.encoder=regnetx_002", "boxes.steps=2"] if "boxes" in read_raw(name) else []
    # a network of three steps is sure of nothing: its objects would all be dropped
    objects = ["objects.energy=0.0"] if "energy" in read_raw(name).get("objects", {}) else []
    told = train(discs, name, tmp_path / "run", overrides=[*SMALL, *boxes, *objects])
    assert told["steps"] == 3
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert 0 <= scores["dice"] <= 1
    assert (tmp_path / "run" / "report.html").stat().st_size > 1000
