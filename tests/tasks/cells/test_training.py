"""Both classifiers on dishes of cells: they learn, go on exactly where they were stopped, and say what does not fit."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from malpighi.errors import DataError, OutputError, RecipeError
from malpighi.inference.fuse import pool
from malpighi.models.classify import ClassifierOptions, LabelLossOptions
from malpighi.sampling.cell_data import CellData
from malpighi.sampling.folds import Fold
from malpighi.sampling.intensity import IntensityOptions
from malpighi.tasks.cells.classifier import load_classifier, read_facts
from malpighi.tasks.cells.crops import score_cells, train_cells
from malpighi.tasks.cells.images import map_cells, score_images, train_images
from malpighi.tasks.cells.training import label_scores, measured_intensity
from malpighi.tasks.talk import Talk
from malpighi.training.metrics_file import read_metrics
from tasks.cells.dishes import CLASSES, fold, prepared, recipe

QUIET = Talk()


@pytest.fixture(scope="module")
def dishes(tmp_path_factory):
    """Prepared data and the kind of each cell."""
    torch.set_num_threads(1)
    return prepared(tmp_path_factory.mktemp("dishes"))


@pytest.fixture(scope="module")
def stage1(dishes, tmp_path_factory):
    """A finished run of the image classifier, and its summary."""
    run = tmp_path_factory.mktemp("run") / "image"
    return run, train_images(dishes[0], fold(), recipe(), run, QUIET)


def test_images_are_learnt(dishes, stage1):
    data, (run, summary) = dishes[0], stage1
    assert summary["best_score"] <= summary["validation"]["map"] <= summary["best_score"] + 1e-3
    assert summary["validation"]["map"] > 0.95
    assert set(summary["validation"]["by_class"]) == set(CLASSES)
    scores = score_images(run, data, recipe(), QUIET)
    assert (scores.shape, scores.dtype) == ((24, 2), np.float32)
    held = list(fold().validation)
    assert label_scores(scores[held], data.targets[held], CLASSES)["score"] == pytest.approx(summary["best_score"])


def test_what_a_run_holds(dishes, stage1):
    run, _ = stage1
    assert {path.name for path in run.iterdir()} >= {"weights.safetensors", "last.ckpt", "metrics.jsonl", "summary.json"}
    facts = read_facts(run)
    assert (facts["classes"], facts["channels"]) == (CLASSES, ("red", "green", "blue", "yellow"))
    assert (facts["side"], facts["dtype"]) == (64, "uint8")
    network, intensity, _ = load_classifier(run, recipe().image.model)
    assert not network.training
    assert len(intensity.offset) == 4


def test_a_finished_run_is_not_trained_again(dishes, stage1):
    run, summary = stage1
    before = (run / "last.ckpt").stat().st_mtime_ns
    assert train_images(dishes[0], fold(), recipe(), run, QUIET) == summary
    assert (run / "last.ckpt").stat().st_mtime_ns == before


def test_another_training_in_the_folder_is_an_error(dishes, stage1):
    with pytest.raises(OutputError, match="another options"):
        train_images(dishes[0], fold(), recipe(steps=60), stage1[0], QUIET)
    with pytest.raises(OutputError, match="another labels"):
        train_images(dishes[0], Fold(fold().train[1:], fold().validation), recipe(), stage1[0], QUIET)


def test_more_views_are_another_mean_of_the_same_network(dishes, stage1):
    data, run = dishes[0], stage1[0]
    some = [score_images(run, data, replace(recipe(), image=replace(recipe().image, flips=n)), QUIET) for n in (1, 4, 8)]
    assert np.abs(some[0] - some[1]).max() > 1e-5
    turned = _turned(data)
    again = score_images(run, turned, replace(recipe(), image=replace(recipe().image, flips=8)), QUIET)
    np.testing.assert_allclose(again, some[2], atol=1e-4)  # a mean over all poses does not depend on the pose


def _turned(data):
    turned = CellData.open(data.folder)
    turned.image = lambda i: np.ascontiguousarray(np.rot90(data.image(i), axes=(1, 2)))
    turned.labels = lambda i: np.ascontiguousarray(np.rot90(data.labels(i)))
    return turned


def test_maps_of_images_are_read_in_their_cells(dishes, stage1):
    data, kinds = dishes
    scores = map_cells(stage1[0], data, recipe(), QUIET)
    assert scores.shape == (data.cells, 2)
    assert (scores.argmax(1) == kinds).mean() > 0.9


def test_cells_are_learnt_from_the_weights_of_images(dishes, stage1, tmp_path):
    data, kinds = dishes
    targets = np.eye(3, dtype=np.float32)[kinds]  # softmax with "none", which no cell is
    targets[::3] = np.nan
    said = []
    made = replace(recipe(), cell=replace(recipe().cell, loss=LabelLossOptions(name="ce", balanced=True)))
    run = tmp_path / "cell"
    summary = train_cells(data, targets, fold(), made, run, stage1[0], Talk(say=said.append))
    (line,) = [line for line in said if "starts from" in line]
    taken, there = (int(word) for word in line.split() if word.isdigit())
    assert there - 2 == taken > 50  # all but the head's two, which has another class
    assert summary["validation"]["map"] > 0.95
    assert summary["classes"] == [*CLASSES, "none"]
    assert read_facts(run)["intensity"] == read_facts(stage1[0])["intensity"]
    scores = score_cells(run, data, made, QUIET)
    assert scores.shape == (data.cells, 2)
    assert (scores.sum(1) <= 1 + 1e-5).all()
    held = np.isin(data.image_of, fold().validation)
    assert (scores[held].argmax(1) == kinds[held]).mean() > 0.95


def test_cells_without_a_start_and_without_none(dishes, tmp_path):
    data, kinds = dishes
    made = recipe()
    made = replace(
        made, data=replace(made.data, masked=False), cell=replace(made.cell, model=replace(made.cell.model, masked=True))
    )
    summary = train_cells(data, np.eye(2, dtype=np.float32)[kinds], fold(), made, tmp_path / "cell", None, QUIET)
    assert summary["validation"]["map"] > 0.9
    assert score_cells(tmp_path / "cell", data, made, QUIET).shape == (data.cells, 2)


@pytest.mark.parametrize("consistency", ["puzzle", "cutmix"])
def test_masked_images_of_16_bits_with_consistency(tmp_path, consistency):
    data, _ = prepared(tmp_path / "data", images=6, dtype=np.uint16)
    model = ClassifierOptions(encoder="resnet10t", pretrained="never", masked=True, consistency=consistency)
    made = recipe(steps=4, model=model)
    summary = train_images(data, fold(6), made, tmp_path / "run", QUIET)
    assert np.isfinite(summary["best_score"])
    assert np.isfinite(score_images(tmp_path / "run", data, made, QUIET)).all()


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(dishes, tmp_path):
    data = dishes[0]
    made = recipe(steps=8)
    train_images(data, fold(), made, tmp_path / "whole", QUIET)

    class Stop:
        def __init__(self):
            self.steps = 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def __call__(self, n=1, **_):
            self.steps += n
            if self.steps == 5:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_images(data, fold(), made, tmp_path / "stopped", Talk(bar=lambda *_, **__: Stop()))
    assert not (tmp_path / "stopped" / "summary.json").exists()
    assert train_images(data, fold(), made, tmp_path / "stopped", QUIET)["stopped"] == "finished"
    losses = [
        [row["loss"] for row in read_metrics(tmp_path / name / "metrics.jsonl") if "loss" in row]
        for name in ("whole", "stopped")
    ]
    assert losses[0] == losses[1]
    whole, stopped = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(value, stopped[name]) for name, value in whole.items())


def test_nobody_said_what_images_show(dishes, tmp_path):
    data = CellData.open(dishes[0].folder)
    data.targets[list(fold().validation)] = np.nan
    with pytest.raises(DataError, match="no image of the validation set has labels"):
        train_images(data, fold(), recipe(), tmp_path / "run", QUIET)


def test_labels_of_cells_that_cannot_be(dishes, tmp_path):
    data = dishes[0]
    with pytest.raises(DataError, match=r"labels of shape \(3, 2\) for 96 cells"):
        train_cells(data, np.zeros((3, 2), np.float32), fold(), recipe(), tmp_path / "run", None, QUIET)
    with pytest.raises(DataError, match="no cell of the training set has a label"):
        train_cells(data, np.full((96, 2), np.nan, np.float32), fold(), recipe(), tmp_path / "run", None, QUIET)


def test_images_of_another_kind_than_trained_on(dishes, stage1, tmp_path):
    other, _ = prepared(tmp_path, images=2, dtype=np.uint16)
    with pytest.raises(DataError, match=r"dtype 'uint16', and .* 'uint8'"):
        score_images(stage1[0], other, recipe(), QUIET)


def test_weights_that_are_none(dishes, tmp_path):
    with pytest.raises(DataError, match=r"has no weights\.safetensors"):
        score_images(tmp_path, dishes[0], recipe(), QUIET)
    (tmp_path / "weights.safetensors").write_bytes(b"no")
    with pytest.raises(DataError, match="not the weights of a classifier"):
        read_facts(tmp_path)


def test_intensity_is_measured_without_the_padding(dishes):
    data = CellData.open(dishes[0].folder)
    stored = data.image
    data.image = lambda i: stored(i) * (np.arange(64) < 32)
    data.shape = data.shape // [1, 2]
    half = measured_intensity(data, range(24), IntensityOptions(kind="measured"))
    expected = np.mean([data.image(i)[:, :, :32].mean((1, 2)) for i in range(24)], 0)
    np.testing.assert_allclose(half.offset, expected, rtol=0.05)  # of every fourth pixel
    with pytest.raises(RecipeError, match=r"intensity\.per"):
        measured_intensity(data, range(24), IntensityOptions(per="image"))


def test_the_highest_score_of_an_images_cells():
    scores = np.array([[0.1, 0.9], [0.3, 0.2], [0.5, 0.0]], np.float32)
    np.testing.assert_array_equal(pool(scores, np.array([0, 0, 2]), 3), np.array([[0.3, 0.9], [0, 0], [0.5, 0]], np.float32))


def test_scores_by_hand():
    scores = np.array([[0.9, 0.2], [0.8, 0.4], [0.1, 0.6]])
    targets = np.array([[1, 1], [0, 1], [1, 1]], float)
    found = label_scores(scores, targets, CLASSES)
    assert found["by_class"] == {"Nucleoplasm": pytest.approx((1 + 2 / 3) / 2), "Cytosol": None}
    assert found["map"] == pytest.approx(5 / 6)
    assert found["score"] == pytest.approx(5 / 6 - 0.001 * (0.1 + 0.8 + 0.9 + 0.8 + 0.6 + 0.4) / 6)
    assert found["macro_f1"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    alone = label_scores(scores[:, 1:], targets[:, 1:], CLASSES[1:])
    assert alone["map"] is None
    assert alone["score"] == pytest.approx(0.4)
    json.dumps(found)


def test_of_scores_that_rank_alike_the_surer_is_better():
    targets = np.array([[1.0], [0.0]])
    unsure, sure = (label_scores(np.array([[p], [1 - p]]), targets, CLASSES[:1]) for p in (0.6, 0.9))
    assert unsure["map"] == sure["map"] == 1
    assert unsure["score"] < sure["score"]
