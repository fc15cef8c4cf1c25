"""ensemble.json there and back, and what it makes of an image."""

import json
from pathlib import Path

import numpy as np
import pytest

from malpighi.errors import DataError
from malpighi.metrics.stability import probability
from malpighi.tasks.ensemble.folder import NAME, is_ensemble, place, read_ensemble
from malpighi.tasks.ensemble.options import value_of
from tasks.ensemble.made import data_of


def write(folder: Path, runs: list[Path], **more) -> Path:
    folder.mkdir(exist_ok=True)
    members = [
        {
            "name": run.name,
            **place(run, folder),
            "weight": 1 / len(runs),
            "digest": "d",
            "thresholds": {"tuft": probability(100), "capsule": probability(50)},
            "by": {"kidney": {"tuft": probability(90)}},
        }
        for run in runs
    ]
    thresholds = {"tuft": 0.4, "capsule": 0.5}
    told = {"format": 1, "how": "mean", "classes": ["tuft", "capsule"], "members": members, "thresholds": thresholds}
    told |= {"attribute": "organ", "by": {"kidney": {"tuft": 0.3}}} | more
    (folder / NAME).write_text(json.dumps(told))
    return folder


@pytest.fixture
def runs(tmp_path):
    found = [tmp_path / "runs" / name for name in "ab"]
    for run in found:
        run.mkdir(parents=True)
    return found


def test_thresholds_of_a_value_and_of_the_rest(tmp_path, runs):
    folder = write(tmp_path / "ens", runs)
    assert is_ensemble(folder)
    assert not is_ensemble(runs[0])
    ensemble = read_ensemble(folder)
    assert ensemble.limits() == ensemble.limits("lung") == (0.4, 0.5)
    assert ensemble.limits("kidney") == (0.3, 0.5)
    assert ensemble.values == ("kidney",)
    assert ensemble.combination().cuts is None
    np.testing.assert_array_equal(ensemble.combination().weights, [0.5, 0.5])


def test_an_image_counts_under_what_the_manifest_beside_it_says(tmp_path):
    data = data_of(tmp_path)
    assert [value_of(data / f"images/s{n}.png", "organ") for n in (0, 3)] == ["kidney", "spleen"]
    assert value_of(data / "images/s0.png", "group") == "s0"  # what cases are counted under when thresholds are fitted
    assert value_of(data / "images/s0.png", "stain") == "unknown"
    assert value_of(tmp_path / "alone.png", "organ") is None


def test_votes_have_thresholds_of_their_members(tmp_path, runs):
    ensemble = read_ensemble(write(tmp_path / "ens", runs, how="union"))
    assert ensemble.limits("kidney") == (0.25, 0.25)
    np.testing.assert_array_equal(ensemble.combination().cuts, [[100, 50]] * 2)
    np.testing.assert_array_equal(ensemble.combination("kidney").cuts, [[90, 50]] * 2)


def test_runs_are_found_where_all_was_moved_together_or_where_they_were(tmp_path, runs):
    folder = write(tmp_path / "ens", runs)
    (tmp_path / "elsewhere").mkdir()
    folder = folder.rename(tmp_path / "elsewhere" / "ens")
    assert [part.path for part in read_ensemble(folder).parts] == runs
    moved = (tmp_path / "runs").rename(tmp_path / "elsewhere" / "runs")
    assert [part.path for part in read_ensemble(folder).parts] == [moved / "a", moved / "b"]
    moved.rename(tmp_path / "gone")
    with pytest.raises(DataError, match="its member a is neither at"):
        read_ensemble(folder)


def test_what_is_no_ensemble_is_said(tmp_path, runs):
    with pytest.raises(DataError, match="no ensemble"):
        read_ensemble(tmp_path)
    with pytest.raises(DataError, match="format 2"):
        read_ensemble(write(tmp_path / "ens", runs, format=2))
    with pytest.raises(DataError, match="how = 'magic'"):
        read_ensemble(write(tmp_path / "ens", runs, how="magic"))
    (tmp_path / "ens" / NAME).write_text("{}")
    with pytest.raises(DataError, match="make it again"):
        read_ensemble(tmp_path / "ens")
