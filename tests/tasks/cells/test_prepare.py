"""Preparing: what is there is not done again, one bad image spoils nothing, and a folder is never of two kinds."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from malpighi.errors import DataError, OutputError
from malpighi.objects.cells import Cells
from malpighi.recipes.cells import CellDataOptions, CellsRecipe
from malpighi.sampling.cases import Case
from malpighi.sampling.cell_data import CellData
from malpighi.tasks.cells import prepare
from malpighi.tasks.cells.prepare import prepare_cells
from malpighi.tasks.talk import Talk
from tasks.cells.dishes import CLASSES, dish

NAMES = ("red", "green", "blue", "yellow")
RECIPE = CellsRecipe(data=CellDataOptions(side=32, crop=16))


@pytest.fixture(autouse=True)
def numbered(monkeypatch):
    """Blue holds the numbers of the cells themselves, so that what is found is known."""

    def found(options, channels):
        def segment(image):
            labels = image[channels.names.index(channels.nucleus)].astype(np.int32)
            return Cells(labels, labels, np.zeros(labels.max(initial=0), bool))

        return segment

    monkeypatch.setattr("malpighi.tasks.cells.segmenters.segmenter", found)


def _write(folder, name, labels, green=200, skip=()):
    """A file a channel; blue holds `labels`."""
    folder.mkdir(exist_ok=True)
    planes = {"red": 60 * (labels > 0), "green": green * (labels > 0), "blue": labels, "yellow": 90 * (labels > 0)}
    for channel, plane in planes.items():
        if channel not in skip:
            cv2.imwrite(str(folder / f"{name}_{channel}.png"), plane.astype(np.uint8))
    return folder / f"{name}_{{{','.join(NAMES)}}}.png"


def _labels(rng):
    return dish(rng, (0, 1, 0, 1))[1].labels


def _cases(folder, n=3):
    rng = np.random.default_rng(0)
    return [
        Case(f"plate/{i}", _write(folder, str(i), _labels(rng)), image_labels=(CLASSES[i % 2],), group=f"g{i // 2}")
        for i in range(n)
    ]


def _prepare(cases, out, recipe=RECIPE, said=None):
    return prepare_cells(cases, CLASSES, recipe, out, Talk(say=(said if said is not None else []).append))


def _files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_images_become_data(tmp_path):
    data = _prepare(_cases(tmp_path / "in"), tmp_path / "out")
    assert data.image_ids == ("plate/0", "plate/1", "plate/2")
    assert data.groups == ("g0", "g0", "g1")
    assert data.targets.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert (data.classes, data.channels, data.cells) == (CLASSES, NAMES, 12)
    assert data.scale.tolist() == [2, 2, 2]
    assert all((data.crop(j)[1][data.mask(j)] > 60).all() for j in range(data.cells))
    assert data.features
    assert all(data.feature(name).shape == (12,) for name in data.features)
    assert (data.area == 517).all()  # pixels of a disc of radius 13
    assert not (tmp_path / "out" / "parts").exists()


def test_a_case_without_a_group_is_its_own(tmp_path):
    cases = [replace(case, group="") for case in _cases(tmp_path / "in", 2)]
    assert _prepare(cases, tmp_path / "out").groups == ("plate/0", "plate/1")


def test_stopped_and_gone_on_is_as_if_it_had_not_been(tmp_path, monkeypatch):
    cases = _cases(tmp_path / "in", 5)
    _prepare(cases, tmp_path / "whole")
    write = prepare.write_image
    written = []

    def until_three(folder, identifier, *rest, **named):
        if len(written) >= 3:
            raise KeyboardInterrupt
        written.append(identifier)
        write(folder, identifier, *rest, **named)

    monkeypatch.setattr(prepare, "write_image", until_three)
    with pytest.raises(KeyboardInterrupt):
        _prepare(cases, tmp_path / "stopped")
    with pytest.raises(DataError, match="not all prepared"):
        CellData.open(tmp_path / "stopped")
    again = []
    monkeypatch.setattr(
        prepare, "write_image", lambda folder, name, *rest, **named: (again.append(name), write(folder, name, *rest, **named))
    )
    said = []
    _prepare(cases, tmp_path / "stopped", said=said)
    assert sorted(written + again) == sorted(case.id for case in cases)
    assert any("3 of 5 images are prepared already" in line for line in said)
    assert _files(tmp_path / "whole") == _files(tmp_path / "stopped")


def test_a_finished_folder_is_opened(tmp_path, monkeypatch):
    cases = _cases(tmp_path / "in")
    before = _files(_prepare(cases, tmp_path / "out").folder)
    monkeypatch.setattr("malpighi.tasks.cells.segmenters.segmenter", None)
    _prepare(cases, tmp_path / "out")
    assert _files(tmp_path / "out") == before


def test_other_options_are_an_error_and_how_crops_are_read_is_not(tmp_path):
    cases = _cases(tmp_path / "in")
    _prepare(cases, tmp_path / "out")
    _prepare(cases, tmp_path / "out", replace(RECIPE, data=replace(RECIPE.data, masked=False, fold=1)))
    with pytest.raises(OutputError, match=r"another data \(side\);.*delete the folder"):
        _prepare(cases, tmp_path / "out", replace(RECIPE, data=replace(RECIPE.data, side=64)))
    with pytest.raises(OutputError, match="another images"):
        _prepare(cases[:2], tmp_path / "out")


def test_an_image_that_cannot_be_used_is_left_out_and_told(tmp_path):
    cases = _cases(tmp_path / "in", 4)
    (tmp_path / "in" / "1_green.png").write_bytes(b"no image")
    cv2.imwrite(str(tmp_path / "in" / "2_green.png"), np.zeros((10, 10), np.uint8))
    said = []
    data = _prepare(cases, tmp_path / "out", said=said)
    assert data.image_ids == ("plate/0", "plate/3")
    left = [line for line in said if "left out" in line]
    assert len(left) == 2
    assert "plate/1" in left[0]
    assert "1_green.png" in left[0]
    assert "plate/2" in left[1]
    assert set(json.loads((tmp_path / "out" / "cells.json").read_text())["left_out"]) == {"plate/1", "plate/2"}


def test_none_can_be_used(tmp_path):
    cases = [Case("a", Path("nowhere.png")), Case("b", Path("neither.png"))]
    with pytest.raises(DataError, match="none of the 2 images can be used; the first: a: "):
        _prepare(cases, tmp_path / "out")


def test_no_cells_and_no_protein_are_told(tmp_path):
    cases = _cases(tmp_path / "in", 1)
    cases += [Case("bare", _write(tmp_path / "in", "bare", np.zeros((64, 64), int)), image_labels=())]
    cases += [Case("dark", _write(tmp_path / "in", "dark", cases and _labels(np.random.default_rng(1)), green=0))]
    said = []
    data = _prepare(cases, tmp_path / "out", said=said)
    assert data.cells == 8
    assert data.cells_of(1) == slice(4, 4)
    assert any("no cell was found in 1 of 3 images: bare" in line for line in said)
    assert any("0 everywhere in 2 of 3 images" in line and "bare, dark" in line for line in said)
    assert np.isnan(data.targets[2]).all()


def test_a_missing_channel(tmp_path):
    path = _write(tmp_path / "in", "a", _labels(np.random.default_rng(0)), skip=("yellow",))
    three = Case("a", path.with_name("a_{red,green,blue}.png"))
    with pytest.raises(DataError, match="yellow"):
        _prepare([three], tmp_path / "out")
    said = []
    zero = replace(RECIPE, channels=replace(RECIPE.channels, missing="zero"))
    data = _prepare([three], tmp_path / "zero", zero, said)
    assert not data.image(0)[3].any()
    assert any("yellow" in line for line in said)


def test_ids_must_differ_and_there_must_be_some(tmp_path):
    case = _cases(tmp_path / "in", 1)[0]
    with pytest.raises(DataError, match="plate/0: more than one image of that name"):
        _prepare([case, case], tmp_path / "out")
    with pytest.raises(DataError, match="no images"):
        _prepare([], tmp_path / "out")


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match="is not empty"):
        _prepare(_cases(tmp_path / "in", 1), tmp_path / "out")


def test_labels_that_are_no_classes_are_told(tmp_path):
    cases = _cases(tmp_path / "in", 2)
    cases[0] = replace(cases[0], image_labels=("Nucleoplasm", "Golgi"))
    said = []
    data = _prepare(cases, tmp_path / "out", said=said)
    assert any("not among the classes are not learnt: 'Golgi' (1 images)" in line for line in said)
    assert data.targets[0].tolist() == [1, 0]


def test_a_folder_is_gone_on_with_from_anywhere(tmp_path, monkeypatch):
    cases = _cases(tmp_path / "in", 1)
    _prepare(cases, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    _prepare([replace(cases[0], image=cases[0].image.relative_to(tmp_path))], tmp_path / "out")
