"""Recipes as tests need them: without "auto", and without published weights."""

from dataclasses import replace

import pytest

from malpighi.recipes.load import AUTO, build, read_raw

FILLED = {
    "data.unit": "µm",
    "data.spacing": 50.0,
    "train.precision": "float32",
    "train.channels_last": False,
    "train.loaders": 1,
}


@pytest.fixture
def filled():
    """Name of a shipped recipe → the recipe with what "auto" would fill in."""

    def fill(name):
        raw = read_raw(name)
        for key, value in FILLED.items():
            section, _, last = key.partition(".")
            if raw[section].get(last) == AUTO:
                raw[section][last] = value
        recipe = build(raw)
        return replace(recipe, model=replace(recipe.model, pretrained="never"))

    return fill
