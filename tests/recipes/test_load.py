"""Recipes: read, checked, overridden, written back the same."""

import pytest

from malpighi.errors import RecipeError
from malpighi.recipes.load import build, list_recipes, load_recipe, read_raw, recipe_text, write_recipe


def test_every_shipped_recipe_has_known_keys_and_says_what_it_is():
    known = list_recipes()
    assert {"auto", "demo"} <= set(known)
    for name, about in known.items():
        assert about, name
        assert read_raw(name)["source"], name


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'auto'"):
        recipe_text("atuo")


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(RecipeError, match="malpighi recipes"):
        read_raw(str(tmp_path / "mine.toml"))


def _file(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


def test_unknown_key_names_the_nearest_known_one(tmp_path):
    with pytest.raises(RecipeError, match=r"unknown key 'train\.stepz'; did you mean 'train\.steps'"):
        read_raw(_file(tmp_path, "[train]\nstepz = 5\n"))


def test_a_key_in_the_wrong_section_is_pointed_to_its_own(tmp_path):
    with pytest.raises(RecipeError, match=r"did you mean 'train\.steps'"):
        read_raw(_file(tmp_path, "steps = 5\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[train]\nsteps = "many"\n', r"train\.steps: .*integer.*it is 'many'"),
        ('[optim]\nname = "adagrad"\n', r"optim\.name: .*'adamw', 'adam', 'sgd'"),
        ("[predict]\noverlap = 2.0\n", "overlap 2.0"),
        ("[data]\nfold = 9\n", r"data\.fold 9"),
        ('[loss]\nsmooth = "auto"\n', r"loss\.smooth = \"auto\" cannot be filled"),
    ],
)
def test_wrong_values_name_the_key_and_what_came(tmp_path, text, message):
    with pytest.raises(RecipeError, match=message):
        build(read_raw(_file(tmp_path, text)))


def test_not_toml_is_said(tmp_path):
    with pytest.raises(RecipeError, match="not valid TOML"):
        read_raw(_file(tmp_path, "[train\n"))


def test_overrides_reach_any_key_with_the_type_that_toml_gives_it():
    raw = read_raw("demo", ["train.steps=7", "model.encoder=resnet34", "predict.thresholds=[0.3, 0.4]", "objects.min_area=5.0"])
    raw["train"] |= {"precision": "float32", "channels_last": True}
    recipe = build(raw)
    assert recipe.train.steps == 7
    assert recipe.model.encoder == "resnet34"
    assert recipe.predict.thresholds == (0.3, 0.4)


@pytest.mark.parametrize("wrong", ["train.steps", "=5", "train.nosuch=1", "train=3"])
def test_overrides_that_are_none_are_refused(wrong):
    with pytest.raises(RecipeError):
        read_raw("demo", [wrong])


def test_a_written_recipe_reads_back_equal(tmp_path):
    recipe = build(read_raw("demo", ["train.precision=bfloat16", "train.channels_last=true", "data.classes=['a', 'b']"]))
    write_recipe(recipe, tmp_path / "recipe.toml")
    assert load_recipe(tmp_path / "recipe.toml") == recipe
