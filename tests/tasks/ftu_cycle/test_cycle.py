"""Whole cycles of a few steps: what they leave, who taught whom, and that a run that was stopped ends as an unbroken one."""

import json
import shutil

import numpy as np
import pytest

from malpighi.errors import DataError, OutputError, RecipeError
from malpighi.geometry import Box
from malpighi.inference.folder import PROBABILITIES
from malpighi.reports.runfolder import read_json
from malpighi.sampling.cases import open_case
from malpighi.sampling.layouts import find_cases
from malpighi.tasks.ftu_cycle import cycle as module
from malpighi.tasks.ftu_cycle import labels as labelling
from malpighi.tasks.ftu_cycle.cycle import cycle
from malpighi.tasks.segment import segment
from system.tiny import malpighi, refused
from tasks.ftu_cycle.small import TINY, write_data

pytestmark = pytest.mark.slow
PASSING = ("seconds", "made", "peak_memory_mb", "run", "report")
"""What differs from one time to the next."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    import torch

    torch.set_num_threads(1)
    return write_data(tmp_path_factory.mktemp("cycle") / "data")


@pytest.fixture(scope="module")
def run(data):
    out = data.parent / "run"
    return cycle(data, "auto", out, overrides=TINY), out


def lasting(value):
    """A summary without what differs from one time to the next."""
    if isinstance(value, dict):
        return {key: lasting(each) for key, each in value.items() if key not in PASSING or (key == "run" and "cycle" in value)}
    return [lasting(each) for each in value] if isinstance(value, list) else value


def probabilities(out, cycle=1, case="s4"):
    import zarr

    return zarr.open_array(out / f"pseudo/cycle-{cycle}" / case / PROBABILITIES / "0", mode="r")[:]


def test_a_row_a_cycle_and_the_best_network_on_top(run, tmp_path, data):
    told, out = run
    assert [row["cycle"] for row in told["cycles"]] == [0, 1, 2]
    assert [row["pseudo_images"] for row in told["cycles"]] == [0, 2, 2]
    assert told["score"] == max(row["score"] for row in told["cycles"])
    assert told["baseline"] == json.loads((out / "cycle-0/scores.json").read_text())["dice"]
    assert told["cycles"][1]["agreement"] is None
    assert 0 < told["cycles"][2]["agreement"]["difference"] < 1
    assert (out / "report.html").stat().st_size > 20_000
    best = out / told["best_run"]
    assert (out / "weights.safetensors").read_bytes() == (best / "weights.safetensors").read_bytes()
    assert segment([data / "images/s5.png"], out, tmp_path / "out")["outputs"]


def test_labels_say_where_they_come_from(run):
    _, out = run
    for number in (1, 2):
        found = read_json(out / f"pseudo/cycle-{number}/s4/provenance.json")
        assert found["kept"]
        assert found["labelled"] == 1.0
        assert 0.5 <= found["confidence"] <= 1
        (teacher,) = found["runs"]
        assert teacher["run"] == f"cycle-{number - 1}"
        assert (teacher["fold"], teacher["folds"]) == (0, 2)
        manifest = read_json(out / f"pseudo/cycle-{number}/s4/manifest.json")
        assert teacher["weights"] == manifest["weights"]
        values = probabilities(out, number) / 255
        assert found["confidence"] == pytest.approx(np.maximum(values, 1 - values).mean(), abs=1e-6)


def test_held_out_images_are_the_same_in_every_cycle_and_pseudo_labels_are_not_among_them(run):
    _, out = run
    held = [sorted(path.name for path in (out / f"cycle-{k}/validation").iterdir()) for k in range(3)]
    assert held[0] == held[1] == held[2]
    assert not {"s4", "s5"} & set(held[0])
    summaries = [read_json(out / f"cycle-{k}/summary.json") for k in range(3)]
    assert [one["train_cases"] for one in summaries] == [2, 4, 4]


def test_labels_are_rows_for_anybodys_own_table(run):
    _, out = run
    table = find_cases(out / "pseudo/cycle-1")
    assert [(case.id, case.pseudo) for case in table.cases] == [("s4", "cycle-0"), ("s5", "cycle-0")]
    with open_case(table.cases[0], table.classes) as opened:
        found = opened.annotation.probabilities(Box.of_shape((96, 128)))
    np.testing.assert_allclose(found, probabilities(out) / 255, atol=1e-6)


def test_a_finished_run_is_left_alone_and_another_recipe_is_refused(run, data):
    told, out = run
    assert cycle(data, "auto", out, overrides=TINY) == told
    with pytest.raises(OutputError, match="another recipe"):
        cycle(data, "auto", out, overrides=[*TINY, "cycle.share=0.5"])


def test_stopped_between_steps_it_ends_as_if_it_had_not_been(run, data, tmp_path):
    told, out = run
    again = tmp_path / "run"
    shutil.copytree(out, again)
    for name in ("cycle-2", "pseudo/cycle-2"):
        shutil.rmtree(again / name)
    for name in ("summary.json", "report.html", "weights.safetensors", "recipe.toml"):
        (again / name).unlink()
    resumed = cycle(data, "auto", again, overrides=TINY)
    assert lasting(resumed) == lasting(told)
    np.testing.assert_array_equal(probabilities(again, 2), probabilities(out, 2))
    assert (again / "weights.safetensors").read_bytes() == (out / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("where", ["labelling", "choosing", "training"])
def test_stopped_within_a_step_it_ends_as_if_it_had_not_been(run, data, tmp_path, monkeypatch, where):
    told, out = run
    again = tmp_path / "run"
    with monkeypatch.context() as patch:
        if where == "labelling":
            real = labelling.measure
            patch.setattr(labelling, "measure", lambda folder, sure: stop() if folder.name == "s5" else real(folder, sure))
        elif where == "choosing":
            patch.setattr(labelling, "choose", lambda *_: stop())
        else:
            train = module.train_network
            patch.setattr(module, "train_network", lambda w, n, c: stop() if n.cycle == 2 else train(w, n, c))
        with pytest.raises(KeyboardInterrupt):
            cycle(data, "auto", again, overrides=TINY)
    assert not (again / "summary.json").exists()
    if where == "labelling":
        assert (again / "pseudo/cycle-1/s4/provenance.json").is_file()
        assert not (again / "pseudo/cycle-1/s5/provenance.json").exists()
    assert lasting(cycle(data, "auto", again, overrides=TINY)) == lasting(told)
    np.testing.assert_array_equal(probabilities(again, 2), probabilities(out, 2))


def stop():
    raise KeyboardInterrupt


def test_it_stops_where_nothing_is_gained(data, tmp_path):
    told = cycle(data, "auto", tmp_path / "run", overrides=[*TINY, "cycle.gain=1.0"])
    assert [row["cycle"] for row in told["cycles"]] == [0, 1]
    assert "gained less than" in told["stopped"]


def test_folds_label_together_and_no_held_out_image_teaches_them(data, tmp_path):
    out = tmp_path / "run"
    told = cycle(data, "auto", out, overrides=[*TINY, "cycle.folds=2", "cycle.cycles=1", "cycle.soft=false", "cycle.sure=0.6"])
    assert [row["pseudo_images"] for row in told["cycles"]][:1] == [0]
    held = {path.name for path in (out / "cycle-0/validation").iterdir()}
    members = []
    for fold in (0, 1):
        files = set(read_json(out / f"cycle-0-fold-{fold}/plan.json")["files"])
        assert not files & held
        segment([data / "images/s4.png"], out / f"cycle-0-fold-{fold}", tmp_path / str(fold), probabilities=True)
        import zarr

        members.append(zarr.open_array(tmp_path / str(fold) / "s4" / PROBABILITIES / "0", mode="r")[:])
    np.testing.assert_allclose(probabilities(out), np.mean(members, axis=0), atol=0.51)
    found = read_json(out / "pseudo/cycle-1/s4/provenance.json")
    assert [one["run"] for one in found["runs"]] == ["cycle-0-fold-0", "cycle-0-fold-1"]
    assert not (out / "pseudo/cycle-1-members").exists()
    if len(told["cycles"]) == 1:
        assert "no image was kept" in told["stopped"]


def test_two_groups_of_scales_label_for_one_another(data, tmp_path):
    out = tmp_path / "run"
    told = cycle(
        data, "auto", out, overrides=[*TINY, 'cycle.groups="alternate"', "cycle.cycles=1", "cycle.reductions=[1.0,1.5]"]
    )
    rows = told["cycles"][1]["networks"]
    assert [(row["run"], row["reduction"]) for row in rows] == [("cycle-1-1", 1.0), ("cycle-1-2", 1.5)]
    assert told["cycles"][1]["score"] == max(row["score"] for row in rows)
    taught = read_json(out / "pseudo/cycle-1-1/s4/provenance.json")["runs"]
    assert [(one["run"], one["spacing"]) for one in taught] == [("cycle-0-2", "1.5 px")]
    (other,) = read_json(out / "pseudo/cycle-1-2/s4/provenance.json")["runs"]
    assert other["run"] == "cycle-0-1"


def test_an_image_that_cannot_be_read_is_left_out(data, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes((data / "images/s4.png").read_bytes()[:200])
    out = tmp_path / "run"
    told = cycle(data, "auto", out, unlabelled=[bad], overrides=[*TINY, "cycle.cycles=1"])
    assert told["unlabelled_images"] == 3
    assert told["cycles"][1]["pseudo_images"] == 2
    rows = {row["case"]: row for row in read_json(out / "pseudo/cycle-1/labels.json")["images"]}
    assert not rows["bad"]["kept"]
    assert "bad.png" in rows["bad"]["why"]


def test_the_command_line(data, tmp_path):
    words = [word for setting in [*TINY, "cycle.cycles=1", "cycle.keep=0.5"] for word in ("--set", setting)]
    answer = malpighi("cycle", data, "-r", "auto", "-o", tmp_path / "run", *words, "--json")
    assert answer.code == 0, answer.err
    assert {"run", "best_cycle", "cycles", "seconds"} <= answer.json.keys()
    assert answer.json["cycles"][1]["pseudo_images"] == 1
    assert malpighi("cycle", data, "-r", "nuclei", "-o", tmp_path / "other").code == RecipeError.exit_code
    refused(malpighi("cycle", data, "--unlabelled", data), RecipeError.exit_code, "--task ftu")


def test_unlabelled_images_that_are_not_there_are_told_of_before_anything_is_made(data, tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        cycle(data, "auto", tmp_path / "run", unlabelled=[tmp_path / "nowhere"], overrides=TINY)
    assert not (tmp_path / "run").exists()
