"""What a network takes, and the words in which it refuses the rest."""

import numpy as np
import pytest

from malpighi.errors import DataError, SpacingError
from malpighi.geometry import Spacing
from malpighi.images.array import ArraySource
from malpighi.inference.options import PredictOptions
from malpighi.sampling.intensity import Intensity
from malpighi.tasks.run import Inputs, find_run, list_starters, open_run

INTENSITY = Intensity((0.0,) * 3, (255.0,) * 3)


def _image(spacing=None, channels=3):
    return ArraySource(np.zeros((channels, 64, 64), np.uint8), spacing)


def _network(spacing):
    return Inputs(("tuft",), 3, spacing, INTENSITY)


def test_facts_come_back_equal():
    inputs = _network(Spacing.um(2.0))
    assert Inputs.from_facts(inputs.as_facts()) == inputs


def test_micrometres_and_pixels_are_told_apart_both_ways():
    with pytest.raises(SpacingError, match="--spacing"):
        _network(Spacing.um(2.0)).check(_image())
    with pytest.raises(SpacingError, match=r"--spacing px"):
        _network(Spacing.pixels(2, 2)).check(_image(Spacing.um(0.5)))


@pytest.mark.parametrize("native", [0.001, 100.0])
def test_a_pixel_size_that_cannot_be_true_is_refused_before_any_work(native):
    with pytest.raises(SpacingError, match="give the true size"):
        _network(Spacing.um(2.0)).check(_image(Spacing.um(native)))


def test_what_fits_is_taken():
    _network(Spacing.um(2.0)).check(_image(Spacing.um(0.25)))


def test_channels_are_counted():
    with pytest.raises(DataError, match="4 channels"):
        _network(Spacing.um(2.0)).check(_image(Spacing.um(0.25), channels=4))


def test_what_a_network_gives_is_its_layers_or_its_classes():
    inputs = Inputs(("nucleus",), 3, Spacing.pixels(2), INTENSITY, layers=("foreground", "distance"))
    assert inputs.outputs == ("foreground", "distance")
    assert Inputs.from_facts(inputs.as_facts()) == inputs
    assert _network(Spacing.um(2.0)).outputs == ("tuft",)


def test_what_a_network_tells_is_kept_and_older_runs_tell_nothing():
    inputs = Inputs(("tuft",), 3, Spacing.pixels(2), INTENSITY, told={"organ": ("kidney", "colon"), "pixel_size": ()})
    facts = inputs.as_facts()
    assert Inputs.from_facts(facts) == inputs
    del facts["told"]
    assert Inputs.from_facts(facts).told == {}


@pytest.fixture
def starters(tmp_path, monkeypatch):
    """A starter model called `discs`, in float16, and the network it was packed from."""
    import torch

    from malpighi.models.build import build_network
    from malpighi.recipes.load import build, read_raw, write_recipe
    from malpighi.training.checkpoint import save_weights

    small = ("model.encoder=resnet10t", "model.decoder_channels=[16,16,16,8,8]")
    recipe = build(read_raw("nuclei", small))
    network = build_network(recipe.model, 3, 2)
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    folder = tmp_path / "discs"
    folder.mkdir()
    write_recipe(recipe, folder / "recipe.toml")
    facts = Inputs(("nucleus",), 3, Spacing.pixels(2), INTENSITY, layers=recipe.instances.layers).as_facts()
    for parameter in network.parameters():
        parameter.data = parameter.data.to(torch.float16)
    save_weights(folder, network, facts)
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    return kept


def test_a_starter_model_is_found_by_name_and_computes_in_float32(starters, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    assert list_starters() == ("discs",)
    run = open_run("discs")
    assert run.inputs.classes == ("nucleus",)
    network = run.network()
    assert {str(p.dtype) for p in network.parameters()} == {"torch.float32"}
    for name, value in network.state_dict().items():
        np.testing.assert_allclose(value.numpy(), starters[name].numpy(), rtol=1e-3, atol=1e-7)


def test_a_folder_of_data_does_not_hide_a_starter_model_and_a_run_does(starters, tmp_path, monkeypatch):
    (tmp_path / "work" / "discs" / "images").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    assert find_run("discs") == tmp_path / "discs"
    (tmp_path / "work" / "discs" / "recipe.toml").write_text("")
    assert str(find_run("discs")) == "discs"


def test_an_unknown_name_is_answered_with_the_starter_models(starters, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"not a training run.*starter models are discs"):
        open_run("disks")


def test_an_image_is_reduced_until_so_many_tiles_reach_across_it():
    inputs, options = _network(Spacing.um(2.0)), PredictOptions(tile=100, across=2)
    sides = {200: 1, 201: 2, 400: 2, 401: 3, 50: 1}  # longer side → reduction: the least with which it is at most 200
    for side, times in sides.items():
        image = ArraySource(np.zeros((3, 40, side), np.uint8), Spacing.um(0.5))
        found = inputs.at(image, options)
        assert found.spacing == Spacing.um(0.5 * times)
        found.check(image)
    assert inputs.at(_image(Spacing.um(0.5)), PredictOptions()) is inputs
    with pytest.raises(SpacingError, match="--spacing"):
        inputs.at(_image(), options)


def test_the_tile_along_the_longer_side_counts():
    image = ArraySource(np.zeros((3, 300, 40), np.uint8), Spacing.um(0.5))
    assert _network(Spacing.um(2.0)).at(image, PredictOptions(tile=(100, 10), across=1)).spacing == Spacing.um(1.5)
