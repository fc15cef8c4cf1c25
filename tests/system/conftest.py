"""The one tiny run that tests of whole commands share."""

from pathlib import Path

import pytest

from system.tiny import SMALLEST, malpighi, write_data


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: RGB, 8 bits, in pixels, one class."""
    import torch

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("tiny")
    answer = malpighi("train", write_data(root / "data"), "-o", root / "run", *SMALLEST, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["run"] == str(root / "run")
    return root / "run"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A fresh data set to spoil."""
    return write_data(tmp_path / "data")
