"""The script that makes the starter model: modalities are told apart by what the pixels show, weights halved and refused."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from malpighi.errors import DataError

PATH = Path(__file__).resolve().parents[2] / "scripts" / "starter_nuclei.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("starter_nuclei", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _image(background, nucleus):
    image = np.empty((3, 40, 40), np.uint8)
    image[:] = np.array(background)[:, None, None]
    image[:, 5:30, 5:25] = np.array(nucleus)[:, None, None]
    return image


def test_modality_is_told_from_pixels(script):
    assert script.modality(_image((10, 10, 10), (200, 200, 200))) == script.FLUORESCENCE
    assert script.modality(_image((0, 0, 8), (0, 0, 250))) == script.FLUORESCENCE
    assert script.modality(_image((230, 200, 220), (110, 60, 150))) == script.STAINED
    assert script.modality(_image((200, 200, 200), (90, 90, 90))) == script.GRAY


def _run(folder, value):
    folder.mkdir()
    (folder / "recipe.toml").write_text("task = 'instances'\n")
    tensors = {"weight": torch.full((4,), value), "count": torch.tensor(3)}
    save_file(tensors, folder / "weights.safetensors", metadata={"classes": '["nucleus"]'})
    return folder


def test_weights_are_halved_and_counts_stay(script, tmp_path):
    script.pack(_run(tmp_path / "run", 0.25), tmp_path / "out")
    tensors = load_file(tmp_path / "out" / "weights.safetensors")
    assert tensors["weight"].dtype == torch.float16
    assert tensors["weight"].tolist() == [0.25] * 4
    assert tensors["count"].dtype == torch.int64
    assert (tmp_path / "out" / "recipe.toml").is_file()


def test_what_float16_cannot_hold_is_refused(script, tmp_path):
    with pytest.raises(DataError, match="float16"):
        script.pack(_run(tmp_path / "run", 1e6), tmp_path / "out")
