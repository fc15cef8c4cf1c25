"""Whose folder it is, above all after a run that was killed."""

import json

import pytest

from malpighi.annotations.files import replacing
from malpighi.errors import OutputError
from malpighi.tasks.claim import claim


def killed(path):
    """Begin to write a file, and end."""
    with replacing(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt


def test_a_run_killed_while_it_wrote_its_first_file_begins_again(tmp_path, monkeypatch):
    run = tmp_path / "run"
    assert not claim(run, "mark.json", {}, overwrite=False, unmarked=("filled.toml",))
    monkeypatch.setattr("pathlib.Path.unlink", lambda *_, **__: None)  # a killed process clears nothing away
    with pytest.raises(KeyboardInterrupt):
        killed(run / "filled.toml")
    assert [path.suffix for path in run.iterdir()] == [".part"]
    assert not claim(run, "mark.json", {}, overwrite=False, unmarked=("filled.toml",))
    (run / "notes.txt").write_text("somebody's")
    with pytest.raises(OutputError, match="is not empty and no run"):
        claim(run, "mark.json", {}, overwrite=False)


def test_a_marked_folder_goes_on_where_it_was_asked_for_the_same(tmp_path):
    (tmp_path / "mark.json").write_text(json.dumps({"asked": {"data": "a", "only": {}}}))
    assert claim(tmp_path, "mark.json", {"data": "a", "only": {}}, overwrite=False)
    with pytest.raises(OutputError, match="another data"):
        claim(tmp_path, "mark.json", {"data": "b", "only": {}}, overwrite=False)
    assert not claim(tmp_path, "mark.json", {"data": "b", "only": {}}, overwrite=True)
    assert not any(tmp_path.iterdir())


def test_what_differs_of_a_recipe_is_named(tmp_path):
    before = {"recipe": {"name": "auto", "train": {"steps": 4, "batch": 2}}, "data": "a"}
    (tmp_path / "mark.json").write_text(json.dumps({"asked": before}))
    now = {"recipe": {"name": "auto", "train": {"steps": 8, "batch": 2}, "data": {"fold": 1}}, "data": "a"}
    with pytest.raises(OutputError, match=r"another recipe \(train\.steps, data\.fold\); choose"):
        claim(tmp_path, "mark.json", now, overwrite=False)
