"""A detector of dark discs, trained beside a network, stopped and gone on with, and used by `segment`."""

import json
from contextlib import ExitStack, contextmanager

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from malpighi.errors import DataError, RecipeError
from malpighi.models.boxes import BoxOptions
from malpighi.recipes.load import build, read_raw
from malpighi.sampling.layouts import find_cases
from malpighi.tasks.boxes.run import detector_digest
from malpighi.tasks.boxes.train import train_boxes, train_options
from malpighi.tasks.material import fold_of, gather
from malpighi.tasks.talk import Talk
from malpighi.training.metrics_file import read_metrics
from malpighi.training.options import TrainOptions
from system.tiny import SETTINGS, SMALLEST, malpighi, write_data

PLAIN = ("data.unit=px", "data.spacing=1.0", "objects.min_area=9.0")
BOXES = ("boxes.kind=fcos", "boxes.encoder=regnetx_002")


def recipe(*more):
    return build(read_raw("demo", (*PLAIN, *SETTINGS, *BOXES, *more)))


@contextmanager
def material(root, made):
    table = find_cases(root)
    with ExitStack() as stack:
        yield gather(table, fold_of(table.cases, made), made, stack, Talk())


def losses(run):
    return [row["loss"] for row in read_metrics(run / "boxes" / "metrics.jsonl") if "loss" in row]


def test_nothing_is_trained_without_a_detector(tmp_path):
    made = recipe("boxes.kind=none")
    assert train_boxes(None, made, tmp_path, Talk()) is None  # not even looked at
    assert list(tmp_path.iterdir()) == []


def test_it_is_scored_four_times_and_the_best_is_kept():
    told = train_options(BoxOptions(kind="fcos", steps=100), TrainOptions(steps=7, patience=3, keep="last", batch=5))
    assert (told.steps, told.validate_every, told.patience, told.keep, told.batch) == (100, 25, 0, "best", 5)
    assert train_options(BoxOptions(kind="fcos", steps=2), TrainOptions()).validate_every == 1


def test_a_run_without_its_detector_is_named(tmp_path):
    with pytest.raises(DataError, match="has no detector yet; go on with `malpighi train"):
        detector_digest(tmp_path)


def test_a_recipe_with_a_detector_where_it_has_nothing_to_do_is_refused():
    with pytest.raises(RecipeError, match="a detector goes with the masks"):
        build(read_raw("nuclei", ("boxes.kind=fcos",)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fcos", "retinanet"])
def test_it_learns_discs(tmp_path, kind):
    data = write_data(tmp_path / "data", 4)
    made = recipe(f"boxes.kind={kind}", "boxes.steps=140", "boxes.rate=2e-3", "train.batch=4", "data.folds=4")
    with material(data, made) as gathered:
        told = train_boxes(gathered, made, tmp_path, Talk())
    assert told["best_score"] > 0.7
    assert losses(tmp_path)[-1] < 0.8 * losses(tmp_path)[0]
    assert set(load_file(tmp_path / "boxes" / "weights.safetensors"))


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path):
    data = write_data(tmp_path / "data", 3)
    made = recipe("boxes.steps=8", "train.log_every=1")

    def trained(run, talk):
        run.mkdir(exist_ok=True)
        with material(data, made) as gathered:
            train_boxes(gathered, made, run, talk)
        return load_file(run / "boxes" / "weights.safetensors")

    class Stopped(Exception):
        pass

    @contextmanager
    def bar(description, total=None):
        done = 0

        def advance(n=1, total=None, text=None):
            nonlocal done
            done += n
            if description == "training the detector" and done == 5:  # a checkpoint was written at step 4
                raise Stopped

        yield advance

    whole = trained(tmp_path / "whole", Talk())
    with pytest.raises(Stopped):
        trained(tmp_path / "parted", Talk(bar=bar))
    again = trained(tmp_path / "parted", Talk())
    assert losses(tmp_path / "parted")[-3:] == losses(tmp_path / "whole")[-3:]
    assert all(np.array_equal(whole[name], again[name]) for name in whole)


@pytest.mark.slow
def test_the_commands_train_it_use_it_and_say_so(tmp_path):
    data = write_data(tmp_path / "data", 3)
    words = [word for setting in (*PLAIN, *BOXES, "boxes.steps=4") for word in ("--set", setting)]
    answer = malpighi("train", data, "-r", "demo", "-o", tmp_path / "run", *SMALLEST, *words, "--json")
    assert answer.code == 0, answer.err
    assert "best_score" in answer.json["boxes"]
    assert (tmp_path / "run" / "boxes" / "weights.safetensors").is_file()
    assert len(list((tmp_path / "run" / "validation").glob("*/boxes.parquet"))) == 1
    out = tmp_path / "out"
    answer = malpighi("segment", data / "images" / "s0.png", "-m", tmp_path / "run", "-o", out, "--set", "boxes.score=0.1")
    assert answer.code == 0, answer.err
    assert "filled" in pq.read_table(out / "s0" / "boxes.parquet").column_names
    assert json.loads((out / "s0" / "manifest.json").read_text())["options"]["boxes.score"] == 0.1
    refused = malpighi("segment", data / "images" / "s0.png", "-m", tmp_path / "run", "-o", out, "--set", "boxes.kind=none")
    assert refused.code == 2
