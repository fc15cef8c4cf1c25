"""A run that was killed, wherever, or asked to stop, goes on and ends as one that was not."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision

from malpighi.training import loop
from malpighi.training.checkpoint import load_weights
from malpighi.training.loop import fit
from malpighi.training.metrics_file import read_metrics
from malpighi.training.metrics_log import MetricsLog
from malpighi.training.options import OptimOptions
from training.tiny_run import (
    OPTIM,
    Killed,
    Normed,
    Tiny,
    batches_from,
    dies_at,
    losses_of,
    on_cpu,
    options_of,
    score_of,
    task_of,
)


def test_a_resumed_run_logs_the_same_losses_to_the_last_bit(tmp_path):
    (whole := tmp_path / "whole").mkdir()
    (parts := tmp_path / "parts").mkdir()
    torch.manual_seed(0)
    fit(task_of(), options_of(), OPTIM, whole, on_cpu())

    torch.manual_seed(0)
    with pytest.raises(Killed):
        fit(task_of(), options_of(), OPTIM, parts, on_cpu(), progress=dies_at(25))
    torch.manual_seed(99)  # whatever the new process draws first
    fit(task_of(), options_of(), OPTIM, parts, on_cpu())
    assert losses_of(parts) == losses_of(whole)
    a, b = Tiny(), Tiny()
    load_weights(whole, a)
    load_weights(parts, b)
    torch.testing.assert_close(a.state_dict(), b.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("average", [0.0, 0.5])
@pytest.mark.parametrize(
    ("optimiser", "keep"),
    [
        *((name, "best") for name in ("adam", "sgd", "radam", "ranger", "adan")),
        *(("adamw", keep) for keep in ("last", "top", "snapshots", "swa")),
        ("ranger", "swa"),
    ],
)
def test_a_resumed_run_ends_with_the_same_weights(tmp_path, optimiser, keep, average):
    optim = OptimOptions(name=optimiser, rate=0.02, warmup=0.0, average=average)
    options = options_of(validate_every=5, keep=keep, keep_count=3)
    (whole := tmp_path / "whole").mkdir()
    (parts := tmp_path / "parts").mkdir()
    torch.manual_seed(0)
    result = fit(task_of(score_of, Normed()), options, optim, whole, on_cpu())
    torch.manual_seed(0)
    for last in (13, 33, 37):
        with pytest.raises(Killed):
            fit(task_of(score_of, Normed()), options, optim, parts, on_cpu(), progress=dies_at(last))
        torch.manual_seed(99)
    again = fit(task_of(score_of, Normed()), options, optim, parts, on_cpu())
    assert losses_of(parts) == losses_of(whole)
    assert (again.kept, again.kept_steps, again.kept_score) == (result.kept, result.kept_steps, result.kept_score)
    assert (whole / "weights.safetensors").read_bytes() == (parts / "weights.safetensors").read_bytes()
    assert not (parts / "kept").exists()


def test_a_run_killed_while_it_ends_ends_the_same(tmp_path):
    options = options_of(validate_every=5, keep="top")
    (whole := tmp_path / "whole").mkdir()
    (parts := tmp_path / "parts").mkdir()
    torch.manual_seed(0)
    fit(task_of(score_of, Normed()), options, OPTIM, whole, on_cpu())
    calls = []

    def dies_in_the_last(network):
        calls.append(1)
        if len(calls) == 9:  # eight while it trains, one of the mean
            raise Killed
        return score_of(network)

    torch.manual_seed(0)
    with pytest.raises(Killed):
        fit(task_of(dies_in_the_last, Normed()), options, OPTIM, parts, on_cpu())
    fit(task_of(score_of, Normed()), options, OPTIM, parts, on_cpu())
    assert (whole / "weights.safetensors").read_bytes() == (parts / "weights.safetensors").read_bytes()
    assert len([row for row in read_metrics(parts / "metrics.jsonl") if "kept" in row]) == 1


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_run_killed_after_it_stopped_early_takes_no_further_step(tmp_path, monkeypatch, keep):
    options = options_of(steps=100, patience=2, keep=keep)

    def falling():
        scores = iter([0.5, 0.4, 0.3])
        return task_of(lambda _: {"score": next(scores)})

    (whole := tmp_path / "whole").mkdir()
    (parts := tmp_path / "parts").mkdir()
    torch.manual_seed(0)
    result = fit(falling(), options, OPTIM, whole, on_cpu())

    def dies(*_):
        raise Killed

    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "finish", dies)
        with pytest.raises(Killed):
            fit(falling(), options, OPTIM, parts, on_cpu())
    again = fit(task_of(lambda _: pytest.fail("validated again")), options, OPTIM, parts, on_cpu())
    assert (again.steps, again.stopped, again.kept_steps) == (result.steps, "early stop", result.kept_steps)
    assert (whole / "weights.safetensors").read_bytes() == (parts / "weights.safetensors").read_bytes()


def test_a_resumed_run_in_float16_scales_its_losses_as_before(tmp_path):
    """The scale begins too high, so that the first steps overflow, are left out, and halve it."""

    def half():
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
        return Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler))

    (whole := tmp_path / "whole").mkdir()
    (parts := tmp_path / "parts").mkdir()
    options = options_of(steps=60, keep="last")
    torch.manual_seed(0)
    fit(task_of(), options, OPTIM, whole, half())
    torch.manual_seed(0)
    with pytest.raises(Killed):
        fit(task_of(), options, OPTIM, parts, half(), progress=dies_at(45))
    scale = torch.load(parts / "last.ckpt")["precision"]["scale"]
    fit(task_of(), options, OPTIM, parts, half())
    assert torch.load(parts / "last.ckpt")["precision"]["scale"] == scale < 2.0**30
    assert (whole / "weights.safetensors").read_bytes() == (parts / "weights.safetensors").read_bytes()


def test_a_run_that_has_ended_does_nothing_more(tmp_path):
    scores = iter([0.8, 0.2, 0.1])
    options = options_of(steps=100, patience=2)
    first = fit(task_of(lambda _: {"score": next(scores)}), options, OPTIM, tmp_path, on_cpu())
    again = fit(task_of(lambda _: pytest.fail("validated again")), options, OPTIM, tmp_path, on_cpu())
    assert (first.stopped, first.steps) == ("early stop", 30)
    assert again.as_dict() == first.as_dict()


def test_mined_batches_follow_a_validation_and_a_resumed_run_sees_the_same(tmp_path):
    def run(folder, killed=None):
        """Batches depend on what was found at the last mining, which lies in the run folder."""
        folder.mkdir(exist_ok=True)
        asked, found = [], folder / "found.json"

        def mine(network, step):
            found.write_text(json.dumps([*(json.loads(found.read_text()) if found.exists() else []), step]))

        def batches(first):
            asked.append(first)
            seed = max([step for step in (json.loads(found.read_text()) if found.exists() else []) if step <= first], default=0)
            return batches_from(first + 1000 * seed)

        task = replace(task_of(), batches=batches, mine=mine)
        if killed:
            with pytest.raises(Killed):
                fit(task, options_of(), OPTIM, folder, on_cpu(), progress=dies_at(killed))
        else:
            fit(task, options_of(), OPTIM, folder, on_cpu())
        return asked

    torch.manual_seed(0)
    assert run(tmp_path / "whole") == [0, 10, 20, 30]
    torch.manual_seed(0)
    assert run(tmp_path / "parts", 25) == [0, 10, 20]
    assert run(tmp_path / "parts") == [20, 30]
    assert losses_of(tmp_path / "parts") == losses_of(tmp_path / "whole")


def test_interrupt_saves_after_the_step_and_goes_on(tmp_path):
    def interrupt(step, **_):
        if step == 12:
            os.kill(os.getpid(), signal.SIGINT)

    result = fit(task_of(), options_of(), OPTIM, tmp_path, on_cpu(), progress=interrupt)
    assert result.stopped == "interrupted"
    assert result.steps in (12, 13)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert fit(task_of(), options_of(), OPTIM, tmp_path, on_cpu()).steps == 40


def test_a_run_killed_while_it_opens_its_log_keeps_its_lines(tmp_path, monkeypatch):
    lines = "".join(json.dumps({"step": step, "loss": 1.0}) + "\n" for step in (1, 2, 3))
    (tmp_path / "metrics.jsonl").write_text(lines)

    def half(path, text, **_):
        path.write_bytes(text[:5].encode())
        raise Killed

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(Killed):
        MetricsLog(tmp_path, 2)
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3]
