"""The whole command on four small random networks: two folds at one spacing, two at another."""

import json
import shutil

import numpy as np
import pytest
import zarr

from malpighi.errors import DataError, OutputError, RecipeError
from malpighi.tasks.ensemble import held_out, predict
from malpighi.tasks.ensemble.make import ensemble
from malpighi.tasks.evaluate import evaluate
from malpighi.tasks.segment import segment
from malpighi.tasks.talk import Talk
from tasks.ensemble.made import data_of, run_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Data, runs, and an ensemble of them by organ."""
    root = tmp_path_factory.mktemp("ensemble")
    data = data_of(root, 6)
    runs = [run_of(root / f"a{fold}", data, fold, network=True) for fold in (0, 1)]
    runs += [run_of(root / f"b{fold}", data, fold, spacing=2.0, seed=1, network=True) for fold in (0, 1)]
    told = ensemble(runs, root / "ens", by="organ", search="convex")
    return root, data, runs, told


def read(folder, name: str) -> np.ndarray:
    return zarr.open_array(folder / name / "0", mode="r")[:]


def test_the_folder_says_who_is_in_it_and_what_it_is_worth(made):
    root, _, runs, told = made
    assert json.loads((root / "ens/ensemble.json").read_text()) == json.loads(json.dumps(told))
    assert [member["path"] for member in told["members"]] == [f"../{run.name}" for run in runs]
    assert sum(member["weight"] for member in told["members"]) == pytest.approx(1, abs=1e-5)
    assert told["columns"] == ["a0 + a1", "b0 + b1"]
    assert [each["id"] for each in told["images"]] == [f"s{n}" for n in range(6)]
    assert {each["organ"] for each in told["images"]} == {"kidney", "spleen"}
    assert {each["name"] for each in told["candidates"]} == {"a0 + a1", "b0 + b1", "best single", "mean", "convex"}
    stable = told["stability"]["object"]
    assert stable["low"] <= stable["threshold"] <= stable["high"]
    assert set(told["by"]) == {"kidney", "spleen"}
    page = (root / "ens/report.html").read_text()
    for words in ("What combining gains", "Stable range", "a0 + a1", "spleen"):
        assert words in page


def test_scores_of_one_run_are_what_evaluate_says_of_its_thresholded_held_out_masks(made, tmp_path):
    _, data, runs, _ = made
    told = ensemble(runs[:2], tmp_path / "fitted")
    threshold = told["thresholds"]["object"]
    dice = []
    for run in runs[:2]:
        cases = [p.name for p in (tmp_path / "fitted/members" / run.name).iterdir()]
        images = [data / f"images/{name}.png" for name in cases]
        options = [f"predict.thresholds=[{threshold}]", "objects.min_area=0"]
        segment(images, run, tmp_path / run.name, overrides=options)
        scores = evaluate(tmp_path / run.name, data, only={"id": cases}, objects=False)
        dice += [case["dice"] for case in scores["cases"]]
    assert told["candidates"][0]["fooled"] == pytest.approx(np.mean(dice), abs=2e-6)


def test_the_same_call_again_and_others(made):
    root, _, runs, told = made
    lines = []
    again = ensemble(runs, root / "ens", by="organ", search="convex", talk=Talk(say=lines.append))
    assert again == json.loads(json.dumps(told))
    assert "is finished" in lines[-1]
    (root / "ens/report.html").unlink()  # as of a call that was killed before it was written
    ensemble(runs, root / "ens", by="organ", search="convex")
    assert (root / "ens/report.html").is_file()
    with pytest.raises(OutputError, match="another how"):
        ensemble(runs, root / "ens", by="organ", search="convex", how="mean")
    with pytest.raises(RecipeError, match="cases have no 'donor'"):
        ensemble(runs, root / "other", by="donor")
    with pytest.raises(RecipeError, match="use weighted, mean, union, vote"):
        ensemble(runs, root / "other", how="best")
    with pytest.raises(RecipeError, match="no runs given"):
        ensemble([], root / "other")


def test_another_fit_reads_the_predictions_that_are_there(made, tmp_path, monkeypatch):
    root, _, runs, _ = made
    (tmp_path / "ens").mkdir()
    shutil.copytree(root / "ens/members", tmp_path / "ens/members")
    monkeypatch.setattr("malpighi.tasks.model.open_model", None)
    told = ensemble(runs, tmp_path / "ens", how="union")
    assert told["how"] == told["chosen"] == "union"
    assert told["thresholds"] == {}
    assert "scored with one voice a configuration" in told["remarks"][-1]
    assert "cut at its own thresholds" in (tmp_path / "ens/report.html").read_text()
    again = ensemble(runs, tmp_path / "ens", how="mean", overwrite=True)
    assert {member["weight"] for member in again["members"]} == {0.25}


def test_held_out_predictions_of_an_image_that_was_replaced_are_made_again(made, tmp_path):
    root, data, runs, _ = made
    shutil.copytree(data, tmp_path / "data")
    shutil.copytree(root / "ens/members", tmp_path / "ens/members")
    image = tmp_path / "data/images/s2.png"
    shutil.copy(tmp_path / "data/images/s3.png", image)
    with pytest.raises(OutputError, match="another image"):
        ensemble(runs, tmp_path / "ens", how="mean", data=tmp_path / "data")
    ensemble(runs, tmp_path / "ens", how="mean", data=tmp_path / "data", overwrite=True)
    for run in runs:
        told = tmp_path / "ens/members" / run.name / "s2/manifest.json"
        if told.is_file():
            assert json.loads(told.read_text())["image"]["changed"] == image.stat().st_mtime_ns


def test_segment_joins_what_members_predict(made, tmp_path):
    root, data, _, told = made
    image = data / "images/s0.png"
    result = segment([image], root / "ens", tmp_path / "out", probabilities=True, overrides=["objects.min_area=0"])
    out = tmp_path / "out/s0"
    assert result["outputs"] == [str(out)]
    used = [member for member in told["members"] if member["weight"] > 0]
    mean = np.zeros((1, 96, 128), np.float64)
    for member in used:
        stored = read(out / "members" / member["name"], "probabilities.ome.zarr")
        if member["spacing"] == "2 px":
            from malpighi.geometry import Box, Spacing
            from malpighi.images.array import ArraySource

            coarse = ArraySource(stored, Spacing.pixels(2, 2.0))
            stored = coarse.read_at(Box((0, 0), (96, 128)), Spacing.pixels(2), pad="edge")
        mean += member["weight"] * stored
    joined = read(out, "probabilities.ome.zarr")
    assert np.abs(joined - mean).max() < 0.51
    limit = told["by"]["kidney"]["object"]  # the manifest beside the image says that it is one
    np.testing.assert_array_equal(read(out, "labels.ome.zarr/labels/object"), (joined / 255 >= limit)[0])
    assert json.loads((out / "manifest.json").read_text())["thresholds"]["object"] == pytest.approx(limit)
    assert evaluate(tmp_path / "out", data, only={"id": ["s0"]})["dice"] >= 0
    assert (out / "report.html").is_file()


def test_segment_goes_on_where_it_was_stopped(made, tmp_path, monkeypatch):
    root, data, _, _ = made
    image = data / "images/s5.png"
    segment([image], root / "ens", tmp_path / "whole")

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(predict.Aligned, "levels", stop)
        with pytest.raises(KeyboardInterrupt):
            segment([image], root / "ens", tmp_path / "out")
    out = tmp_path / "out/s5"
    assert not (out / "manifest.json").exists()
    lines = []
    segment([image], root / "ens", tmp_path / "out", talk=Talk(say=lines.append))
    finished = [line for line in lines if "is finished" in line]
    assert len(finished) == len([line for line in lines if line.startswith("member")])
    np.testing.assert_array_equal(*(read(tmp_path / name / "s5", "labels.ome.zarr/labels/object") for name in ("out", "whole")))
    assert not (out / "members").exists()
    segment([image], root / "ens", tmp_path / "out", talk=Talk(say=lines.append))
    assert "is finished" in lines[-1]
    with pytest.raises(OutputError, match="another threshold of object"):
        segment([image], root / "ens", tmp_path / "out", overrides=["predict.thresholds=[0.25]"])


def test_values_are_given_or_refused(made, tmp_path):
    root, data, _, told = made
    image = tmp_path / "alone.png"  # no manifest speaks of it
    shutil.copy(data / "images/s0.png", image)
    opened = predict.open_ensemble(root / "ens", ["ensemble.organ=spleen", "objects.min_area=7", "predict.flips=flips"])
    assert opened.options.value == "spleen"
    assert opened.options.objects.min_area == 7
    assert all(model.predict.flips == "flips" for model in opened.models)
    lines = []
    segment([image], root / "ens", tmp_path / "out", talk=Talk(say=lines.append))
    assert any("its organ is not known" in line for line in lines)
    manifest = json.loads((tmp_path / "out/alone/manifest.json").read_text())
    assert manifest["thresholds"]["object"] == pytest.approx(told["thresholds"]["object"])
    for override, words in {
        "ensemble.organ=liver": "give ensemble.organ=kidney|spleen",
        "ensemble.stain=pas": "fitted by organ",
        "predict.top=3": "an ensemble has thresholds",
        "data.tile=32": "can change after training",
    }.items():
        with pytest.raises(RecipeError, match=words.replace("|", r"\|")):
            predict.open_ensemble(root / "ens", [override])


def test_a_members_share_of_voxels_gives_way_to_the_thresholds_of_all(made, tmp_path):
    root, data, _, _ = made
    for name in ("a0", "a1", "b0", "b1", "ens"):
        shutil.copytree(root / name, tmp_path / name)
        if (recipe := tmp_path / name / "recipe.toml").is_file():
            recipe.write_text(recipe.read_text().replace("\ntop = 0.0\n", "\ntop = 2.0\n"))
    image = data / "images/s1.png"
    assert predict.open_ensemble(tmp_path / "ens").models[0].predict.top == 2
    for name, folder in (("with", tmp_path), ("without", root)):
        segment([image], folder / "ens", tmp_path / name, overrides=["ensemble.organ=kidney"])
    np.testing.assert_array_equal(
        *(read(tmp_path / name / "s1", "labels.ome.zarr/labels/object") for name in ("with", "without"))
    )


def test_a_member_that_was_trained_again_is_refused(made, tmp_path):
    root, _, _, _ = made
    for name in ("a0", "a1", "b0", "b1"):
        shutil.copytree(root / name, tmp_path / name)
    (tmp_path / "ens").mkdir()
    told = json.loads((root / "ens/ensemble.json").read_text())
    for member in told["members"]:
        member["weight"] = 0.25
    (tmp_path / "ens/ensemble.json").write_text(json.dumps(told))
    shutil.copy(root / "b1/weights.safetensors", tmp_path / "b0/weights.safetensors")
    with pytest.raises(DataError, match="b0: was trained again"):
        predict.open_ensemble(tmp_path / "ens")


def test_held_out_predictions_without_probabilities_are_refused(tmp_path):
    from contextlib import ExitStack

    with ExitStack() as stack, pytest.raises(DataError, match="no finished prediction"):
        held_out.Aligned([tmp_path], stack)
