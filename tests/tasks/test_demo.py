"""The demo's folder: made, gone on with, never silently replaced."""

import pytest

from malpighi.errors import OutputError
from malpighi.tasks.demo import REPORT, _claim


def test_a_fresh_folder_is_made(tmp_path):
    _claim(tmp_path / "demo", overwrite=False)
    assert (tmp_path / "demo/training").is_dir()


def test_an_interrupted_demo_is_gone_on_with(tmp_path):
    _claim(tmp_path, overwrite=False)
    (tmp_path / "training/kidney1.tiff").write_text("made before")
    _claim(tmp_path, overwrite=False)
    assert (tmp_path / "training/kidney1.tiff").exists()


def test_a_finished_demo_is_only_replaced_when_asked(tmp_path):
    _claim(tmp_path, overwrite=False)
    (tmp_path / REPORT).write_text("done")
    with pytest.raises(OutputError, match="--overwrite"):
        _claim(tmp_path, overwrite=False)
    _claim(tmp_path, overwrite=True)
    assert not (tmp_path / REPORT).exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="choose another"):
        _claim(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()
