import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from malpighi.cli.inspect import inspect
from malpighi.errors import DataError, OutputError, RecipeError


@pytest.fixture
def tiles(tmp_path):
    for structure, stain in (("tuft", "pas"), ("tuft", "he"), ("capsule", "pas")):
        mask = np.zeros((16, 16), np.uint8)
        mask[4:9, 4:9] = 255
        image = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        for folder, array in (("images", image), ("masks", mask)):
            path = tmp_path / "tiles" / structure / stain / folder / "im_1_0.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(array).save(path)
    return tmp_path / "tiles"


def test_prints_json_and_writes_the_page(tiles, capsys, tmp_path):
    inspect(tiles, output=tmp_path / "out", json=True)
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["counts"]["class"] == {"tuft": 2, "capsule": 1}
    assert told["report"] == str(tmp_path / "out" / "report.html")
    assert told["broken"] == []
    page = (tmp_path / "out" / "report.html").read_text()
    assert "tuft/pas/im_1_0" in page
    assert "<img" in page
    assert "<svg" in page
    assert json.loads((tmp_path / "out" / "survey.json").read_text())["classes"] == told["classes"]
    rows = (tmp_path / "out" / "cases.csv").read_text().splitlines()
    assert len(rows) == 4
    assert rows[0].startswith("id,image,group,split,organ,stain,shape")


def test_only_and_no_report(tiles, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inspect(tiles, only=["class=tuft", "stain=PAS"], report=False, json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["cases"], list(told["classes"])) == (1, ["tuft"])
    assert [path.name for path in tmp_path.iterdir()] == ["tiles"]


def test_the_report_goes_to_this_folder_by_default(tiles, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inspect(tiles)
    assert (tmp_path / "inspect-tiles" / "report.html").is_file()


def test_a_broken_case_is_named_and_ends_in_exit_code_3(tiles, capsys, tmp_path):
    bad = tiles / "tuft" / "he" / "masks" / "im_1_0.png"
    Image.fromarray(np.zeros((16, 7), np.uint8)).save(bad)
    with pytest.raises(DataError, match="1 of 3 cases are broken") as error:
        inspect(tiles, output=tmp_path / "out", json=True)
    assert error.value.exit_code == 3
    told = capsys.readouterr()
    assert str(bad) in told.err.replace("\n", "")
    assert len(json.loads(told.out)["broken"]) == 1
    assert str(bad) in (tmp_path / "out" / "report.html").read_text()


def test_an_output_that_is_a_file(tiles, tmp_path):
    (tmp_path / "out").write_text("here")
    with pytest.raises(OutputError, match="out"):
        inspect(tiles, output=tmp_path / "out")


def test_names_are_text_not_markup(tmp_path, capsys):
    folder: Path = tmp_path / "[bold]" / "images"
    folder.mkdir(parents=True)
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(folder / "[red]<b>.png")
    inspect(tmp_path / "[bold]", output=tmp_path / "out", classes="a")
    assert "<b>" not in (tmp_path / "out" / "report.html").read_text()


def test_augmentations_are_shown_instead(tiles, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inspect(tiles, augmentations=Path("page.html"), recipe="auto", overrides=["data.tile=16"], only=["stain=PAS"], json=True)
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["cases"] == ["capsule/pas/im_1_0", "tuft/pas/im_1_0"]
    assert "rotate" in told["transforms"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "tiles"]
    with pytest.raises(RecipeError, match="--augmentations"):
        inspect(tiles, recipe="auto")
