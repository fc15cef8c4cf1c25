"""The loop on a network of ten weights: it learns, keeps what was asked, and leaves nothing half-written or broken."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from malpighi.errors import DataError, OutputError
from malpighi.training.checkpoint import load_weights, save_last
from malpighi.training.loop import fit
from malpighi.training.metrics_file import read_metrics
from malpighi.training.options import OptimOptions
from training.tiny_run import OPTIM, Tiny, batches_from, losses_of, on_cpu, options_of, task_of


def test_it_learns_and_leaves_what_a_run_holds(tmp_path):
    torch.manual_seed(0)
    result = fit(task_of(), options_of(steps=120), OPTIM, tmp_path, on_cpu())
    losses = [loss for _, loss in losses_of(tmp_path)]
    assert losses[-1] < 0.6 * losses[0]
    assert result.stopped == "finished"
    assert {"last.ckpt", "weights.safetensors", "metrics.jsonl", "tensorboard"} <= set(os.listdir(tmp_path))
    assert result.best_step == 10, "the first of equal validations is kept"


def test_what_is_kept_is_scored_logged_and_told(tmp_path):
    scores = iter([0.2, 0.8, 0.5, 0.6, 0.7])
    weights = []

    def validate(network):
        weights.append(network.conv.weight.detach().clone())
        return {"score": next(scores)}

    result = fit(task_of(validate), options_of(keep="top", keep_count=2), OPTIM, tmp_path, on_cpu())
    assert (result.kept, result.kept_steps, result.kept_score) == ("top", [20, 40], 0.7)
    assert (result.best_score, result.best_step) == (0.8, 20)
    ended = Tiny()
    load_weights(tmp_path, ended)
    torch.testing.assert_close(ended.conv.weight, (weights[1] + weights[3]) / 2)
    torch.testing.assert_close(ended.conv.weight, weights[4])
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["kept"]["score"] for row in rows if "kept" in row] == [0.7]
    assert [row["validation"]["score"] for row in rows if "validation" in row] == [0.2, 0.8, 0.5, 0.6]


def test_last_weights_are_kept_though_worse(tmp_path):
    scores = iter([0.8, 0.2])
    seen = []

    def validate(network):
        if seen:  # until the run ends the best are there to use
            best = Tiny()
            load_weights(tmp_path, best)
            torch.testing.assert_close(best.conv.weight, seen[0])
        seen.append(network.conv.weight.detach().clone())
        return {"score": next(scores)}

    result = fit(task_of(validate), options_of(steps=20, keep="last"), OPTIM, tmp_path, on_cpu())
    assert (result.kept, result.kept_steps, result.kept_score, result.best_score) == ("last", [20], 0.2, 0.8)
    last = Tiny()
    load_weights(tmp_path, last)
    torch.testing.assert_close(last.conv.weight, seen[1])


def test_facts_reach_the_loss_where_there_are_any(tmp_path):
    seen = []

    def loss(outputs, target, facts):
        seen.append(facts["organ"])
        return outputs.logits.mean() ** 2

    def batches(first):
        for batch in batches_from(first):
            yield batch._replace(facts={"organ": np.array([0, 1, -1, 2])})

    fit(replace(task_of(), batches=batches, loss=loss), options_of(steps=2), OPTIM, tmp_path, on_cpu())
    assert [facts.tolist() for facts in seen] == [[0, 1, -1, 2]] * 2
    assert isinstance(seen[0], torch.Tensor)


def test_best_weights_are_kept_and_patience_stops(tmp_path):
    scores = iter([0.2, 0.8, 0.5, 0.5, 0.9])
    weights = []

    def validate(network):
        weights.append(network.conv.weight.detach().clone())
        return {"score": next(scores)}

    result = fit(task_of(validate), options_of(steps=50, patience=2), OPTIM, tmp_path, on_cpu())
    assert (result.stopped, result.best_score, result.best_step, result.steps) == ("early stop", 0.8, 20, 40)
    best = Tiny()
    load_weights(tmp_path, best)
    torch.testing.assert_close(best.conv.weight, weights[1])


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_validation_leaves_the_network_training(tmp_path, average):
    network = Tiny()
    modes = []

    def validate(validated):
        validated.eval()
        return {"score": 0.5}

    fit(
        task_of(validate, network),
        options_of(),
        OptimOptions(rate=0.05, warmup=0.0, average=average),
        tmp_path,
        on_cpu(),
        progress=lambda **_: modes.append(network.training),
    )
    assert len(modes) == 40
    assert all(modes)


def test_a_loss_that_is_not_finite_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"lower optim\.rate"):
        fit(task_of(), options_of(), OptimOptions(name="sgd", rate=1e30, clip=0, warmup=0), tmp_path, on_cpu())


@pytest.mark.parametrize("saves", ["validation", "interrupt"])
def test_weights_that_a_broken_step_left_are_neither_validated_nor_saved(tmp_path, saves):
    """Of a step between two lines of the log, at once followed by what saves."""

    def batches(first):
        for n, batch in enumerate(batches_from(first), first):
            yield batch._replace(images=batch.images * np.float32(np.nan if n == 13 else 1))

    def interrupts(step, **_):
        if step == 14 and saves == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)

    def validate(network):
        assert network.conv.weight.isfinite().all()
        return {"score": 0.5}

    options = options_of(validate_every=5, log_every=100, keep="snapshots")
    with pytest.raises(DataError, match=r"loss is nan at step 1[45]"):
        fit(replace(task_of(validate), batches=batches), options, OPTIM, tmp_path, on_cpu(), progress=interrupts)
    saved = torch.load(tmp_path / "last.ckpt")
    assert saved["counters"]["step"] == 10
    assert saved["network"]["conv.weight"].isfinite().all()
    assert sorted(os.listdir(tmp_path / "kept")) == ["step-10.safetensors", "step-5.safetensors"]


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save_last(tmp_path, {"step": 1})

    def full(state, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="free space"):
        save_last(tmp_path, {"step": 2})
    assert os.listdir(tmp_path) == ["last.ckpt"]
    assert torch.load(tmp_path / "last.ckpt") == {"step": 1}


def test_a_line_cut_short_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 2.0}) + '\n{"step": 2, "lo')
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 2.0}]
