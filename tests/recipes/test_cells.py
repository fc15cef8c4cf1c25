"""Recipes of single cells: read, refused and written as all recipes are, by the command that can train them."""

import numpy as np
import pytest
import torch

from malpighi.errors import RecipeError
from malpighi.models.classifier import build_classifier
from malpighi.models.label_losses import build_label_loss
from malpighi.recipes.load import build, build_cells, list_recipes, read_raw, recipe_text, write_recipe
from malpighi.sampling.augment import augment

CELLS = [name for name in list_recipes() if name == "cells" or name.startswith("cells-") or name == "demo-cells"]


@pytest.mark.parametrize("name", CELLS)
def test_a_recipe_is_read_as_one_of_cells_and_comes_back_the_same(name, tmp_path):
    recipe = build_cells(read_raw(name), name)
    assert recipe.task == "cells"
    assert recipe.source
    write_recipe(recipe, tmp_path / "recipe.toml")
    assert build_cells(read_raw(str(tmp_path / "recipe.toml"))) == recipe


def test_every_row_of_the_published_systems_is_there():
    assert {"cells-weak", "cells-1st", "cells-6th", "cells-7th", "cells-puzzle"} <= set(CELLS)
    for name in ("cells-weak", "cells-1st", "cells-6th", "cells-7th", "cells-puzzle"):
        assert "HPA Single Cell Classification 2021" in recipe_text(name)


def test_what_the_systems_are_known_for_stands_in_their_recipes():
    weak, first, sixth, seventh, puzzle = (
        build_cells(read_raw(f"cells-{row}")) for row in ("weak", "1st", "6th", "7th", "puzzle")
    )
    assert (weak.image.model.encoder, weak.cell.loss.name, weak.cycle.most) == ("resnet101", "ce", 2)
    assert (first.cell.model.encoder, first.cell.model.attention, first.cell.model.pooling) == (
        "inception_v3",
        "cbam",
        "average+max",
    )
    assert first.data.masked
    assert first.data.crop == 128
    assert first.cell.optim.average > 0
    assert sixth.cell.model.masked
    assert sixth.fuse.negative == "Negative"
    assert (seventh.image.model.consistency, seventh.fuse.edge_area) == ("cutmix", 80_000)
    assert puzzle.image.model.consistency == "puzzle"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("image.model.encodr=resnet18", "image.model.encoder"),
        ("image.model=3", "image.model is a section"),
        ("cell.train.steps=0", "train.steps"),
        ("pseudo.none=0.9", "pseudo.none"),
        ("channels.protein=cyan", "cyan is not among"),
        ("fuse.image=2.0", "fuse.image"),
    ],
)
def test_what_is_wrong_is_named(override, said):
    with pytest.raises(RecipeError, match=said.replace(".", r"\.")):
        build_cells(read_raw("cells", [override]))


def test_each_kind_of_recipe_is_refused_where_the_other_is_wanted():
    with pytest.raises(RecipeError, match="malpighi cycle --task cells"):
        build(read_raw("cells"))
    with pytest.raises(RecipeError, match="malpighi train"):
        build_cells(read_raw("demo"))


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("stage", ["image", "cell"])
def test_its_networks_learn_a_step_and_come_back_the_same(name, stage):
    torch.manual_seed(0)
    from dataclasses import replace

    options = getattr(build_cells(read_raw(name)), stage)
    model = replace(options.model, pretrained="never")
    network = build_classifier(model, 4, 3)
    images = np.random.default_rng(0).integers(0, 255, (2, 4, 160, 160), np.uint8)
    varied, _ = augment(images, np.zeros((2, 1, 160, 160), np.uint8), options.augment, (128, 128), [1, 2])
    x = torch.from_numpy(np.ascontiguousarray(varied)).float() / 255
    target = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    loss = build_label_loss(options.loss, None, model.consistency_weight)(network.train()(x), target)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    again = build_classifier(model, 4, 3)
    again.load_state_dict(network.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(again.eval()(x).image_logits, network.eval()(x).image_logits)
