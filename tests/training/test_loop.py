"""The loop on a network of ten weights: it learns, resumes exactly, stops when asked, leaves nothing half-written."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import nn

from malpighi.errors import DataError, OutputError
from malpighi.models.losses import LossOptions, build_loss
from malpighi.models.outputs import Outputs
from malpighi.sampling.dataset import Batch
from malpighi.training import loop
from malpighi.training.checkpoint import load_weights, save_last
from malpighi.training.loop import Fit, fit
from malpighi.training.metrics_file import read_metrics
from malpighi.training.metrics_log import MetricsLog
from malpighi.training.options import OptimOptions, TrainOptions

OPTIM = OptimOptions(rate=0.05, schedule="cosine", warmup=0.0, average=0.5)


class Tiny(nn.Module):
    """One convolution with dropout, so that a resumed run also needs the random state."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x):
        return Outputs(self.conv(self.dropout(x)))


def _batches(first):
    n = first
    while True:
        random = np.random.default_rng(n)
        target = (random.random((4, 1, 8, 8)) > 0.5).astype(np.uint8)
        yield Batch(target * 200, target)
        n += 1


def _fit(validate=lambda network: {"score": 0.5}, network=None):
    prepare = lambda x: x.float() / 255  # noqa: E731
    return Fit(network or Tiny(), _batches, prepare, build_loss(LossOptions()), validate, {"made": "by a test"})


def _losses(run):
    return [(row["step"], row["loss"]) for row in read_metrics(run / "metrics.jsonl") if "loss" in row]


def _fabric():
    return Fabric(accelerator="cpu", devices=1)


def _options(**changes):
    return TrainOptions(**{"steps": 40, "batch": 4, "validate_every": 10, "log_every": 3, **changes})


def test_it_learns_and_leaves_what_a_run_holds(tmp_path):
    torch.manual_seed(0)
    result = fit(_fit(), _options(steps=120), OPTIM, tmp_path, _fabric())
    losses = [loss for _, loss in _losses(tmp_path)]
    assert losses[-1] < 0.6 * losses[0]
    assert result.stopped == "finished"
    assert {"last.ckpt", "weights.safetensors", "metrics.jsonl", "tensorboard"} <= set(os.listdir(tmp_path))
    assert result.best_step == 10, "the first of equal validations is kept"


def test_a_resumed_run_logs_the_same_losses_to_the_last_bit(tmp_path):
    (whole := tmp_path / "whole").mkdir()
    (parts := tmp_path / "parts").mkdir()
    torch.manual_seed(0)
    fit(_fit(), _options(), OPTIM, whole, _fabric())

    torch.manual_seed(0)
    with pytest.raises(Killed):
        fit(_fit(), _options(), OPTIM, parts, _fabric(), progress=_dies_at(25))
    torch.manual_seed(99)  # whatever the new process draws first
    fit(_fit(), _options(), OPTIM, parts, _fabric())
    assert _losses(parts) == _losses(whole)
    a, b = Tiny(), Tiny()
    load_weights(whole, a)
    load_weights(parts, b)
    torch.testing.assert_close(a.state_dict(), b.state_dict(), rtol=0, atol=0)


class Killed(Exception):
    pass


def _dies_at(last):
    def dies(step, **_):
        if step >= last:
            raise Killed

    return dies


class Normed(Tiny):
    """With a batch norm, whose statistics a mean of weights must measure anew."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x):
        return Outputs(self.norm(self.conv(self.dropout(x))))


def _score(network):
    """A score that rises and falls with the weights."""
    return {"score": float(network.conv.weight.detach().sum().sin().abs())}


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
    options = _options(validate_every=5, keep=keep, keep_count=3)
    (whole := tmp_path / "whole").mkdir()
    (parts := tmp_path / "parts").mkdir()
    torch.manual_seed(0)
    result = fit(_fit(_score, Normed()), options, optim, whole, _fabric())
    torch.manual_seed(0)
    for last in (13, 33, 37):
        with pytest.raises(Killed):
            fit(_fit(_score, Normed()), options, optim, parts, _fabric(), progress=_dies_at(last))
        torch.manual_seed(99)
    again = fit(_fit(_score, Normed()), options, optim, parts, _fabric())
    assert _losses(parts) == _losses(whole)
    assert (again.kept, again.kept_steps, again.kept_score) == (result.kept, result.kept_steps, result.kept_score)
    assert (whole / "weights.safetensors").read_bytes() == (parts / "weights.safetensors").read_bytes()
    assert not (parts / "kept").exists()


def test_a_run_killed_while_it_ends_ends_the_same(tmp_path):
    options = _options(validate_every=5, keep="top")
    (whole := tmp_path / "whole").mkdir()
    (parts := tmp_path / "parts").mkdir()
    torch.manual_seed(0)
    fit(_fit(_score, Normed()), options, OPTIM, whole, _fabric())
    calls = []

    def dies_in_the_last(network):
        calls.append(1)
        if len(calls) == 9:  # eight while it trains, one of the mean
            raise Killed
        return _score(network)

    torch.manual_seed(0)
    with pytest.raises(Killed):
        fit(_fit(dies_in_the_last, Normed()), options, OPTIM, parts, _fabric())
    fit(_fit(_score, Normed()), options, OPTIM, parts, _fabric())
    assert (whole / "weights.safetensors").read_bytes() == (parts / "weights.safetensors").read_bytes()
    assert len([row for row in read_metrics(parts / "metrics.jsonl") if "kept" in row]) == 1


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_run_killed_after_it_stopped_early_takes_no_further_step(tmp_path, monkeypatch, keep):
    options = _options(steps=100, patience=2, keep=keep)

    def falling():
        scores = iter([0.5, 0.4, 0.3])
        return _fit(lambda _: {"score": next(scores)})

    (whole := tmp_path / "whole").mkdir()
    (parts := tmp_path / "parts").mkdir()
    torch.manual_seed(0)
    result = fit(falling(), options, OPTIM, whole, _fabric())

    def dies(*_):
        raise Killed

    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "finish", dies)
        with pytest.raises(Killed):
            fit(falling(), options, OPTIM, parts, _fabric())
    again = fit(_fit(lambda _: pytest.fail("validated again")), options, OPTIM, parts, _fabric())
    assert (again.steps, again.stopped, again.kept_steps) == (result.steps, "early stop", result.kept_steps)
    assert (whole / "weights.safetensors").read_bytes() == (parts / "weights.safetensors").read_bytes()


def test_a_resumed_run_in_float16_scales_its_losses_as_before(tmp_path):
    """The scale begins too high, so that the first steps overflow, are left out, and halve it."""

    def half():
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
        return Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler))

    (whole := tmp_path / "whole").mkdir()
    (parts := tmp_path / "parts").mkdir()
    options = _options(steps=60, keep="last")
    torch.manual_seed(0)
    fit(_fit(), options, OPTIM, whole, half())
    torch.manual_seed(0)
    with pytest.raises(Killed):
        fit(_fit(), options, OPTIM, parts, half(), progress=_dies_at(45))
    scale = torch.load(parts / "last.ckpt")["precision"]["scale"]
    fit(_fit(), options, OPTIM, parts, half())
    assert torch.load(parts / "last.ckpt")["precision"]["scale"] == scale < 2.0**30
    assert (whole / "weights.safetensors").read_bytes() == (parts / "weights.safetensors").read_bytes()


def test_what_is_kept_is_scored_logged_and_told(tmp_path):
    scores = iter([0.2, 0.8, 0.5, 0.6, 0.7])
    weights = []

    def validate(network):
        weights.append(network.conv.weight.detach().clone())
        return {"score": next(scores)}

    result = fit(_fit(validate), _options(keep="top", keep_count=2), OPTIM, tmp_path, _fabric())
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

    result = fit(_fit(validate), _options(steps=20, keep="last"), OPTIM, tmp_path, _fabric())
    assert (result.kept, result.kept_steps, result.kept_score, result.best_score) == ("last", [20], 0.2, 0.8)
    last = Tiny()
    load_weights(tmp_path, last)
    torch.testing.assert_close(last.conv.weight, seen[1])


def test_a_run_that_has_ended_does_nothing_more(tmp_path):
    scores = iter([0.8, 0.2, 0.1])
    options = _options(steps=100, patience=2)
    first = fit(_fit(lambda _: {"score": next(scores)}), options, OPTIM, tmp_path, _fabric())
    again = fit(_fit(lambda _: pytest.fail("validated again")), options, OPTIM, tmp_path, _fabric())
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
            return _batches(first + 1000 * seed)

        task = replace(_fit(), batches=batches, mine=mine)
        if killed:
            with pytest.raises(Killed):
                fit(task, _options(), OPTIM, folder, _fabric(), progress=_dies_at(killed))
        else:
            fit(task, _options(), OPTIM, folder, _fabric())
        return asked

    torch.manual_seed(0)
    assert run(tmp_path / "whole") == [0, 10, 20, 30]
    torch.manual_seed(0)
    assert run(tmp_path / "parts", 25) == [0, 10, 20]
    assert run(tmp_path / "parts") == [20, 30]
    assert _losses(tmp_path / "parts") == _losses(tmp_path / "whole")


def test_facts_reach_the_loss_where_there_are_any(tmp_path):
    seen = []

    def loss(outputs, target, facts):
        seen.append(facts["organ"])
        return outputs.logits.mean() ** 2

    def batches(first):
        for batch in _batches(first):
            yield batch._replace(facts={"organ": np.array([0, 1, -1, 2])})

    fit(replace(_fit(), batches=batches, loss=loss), _options(steps=2), OPTIM, tmp_path, _fabric())
    assert [facts.tolist() for facts in seen] == [[0, 1, -1, 2]] * 2
    assert isinstance(seen[0], torch.Tensor)


def test_interrupt_saves_after_the_step_and_goes_on(tmp_path):
    def interrupt(step, **_):
        if step == 12:
            os.kill(os.getpid(), signal.SIGINT)

    result = fit(_fit(), _options(), OPTIM, tmp_path, _fabric(), progress=interrupt)
    assert result.stopped == "interrupted"
    assert result.steps in (12, 13)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert fit(_fit(), _options(), OPTIM, tmp_path, _fabric()).steps == 40


def test_best_weights_are_kept_and_patience_stops(tmp_path):
    scores = iter([0.2, 0.8, 0.5, 0.5, 0.9])
    weights = []

    def validate(network):
        weights.append(network.conv.weight.detach().clone())
        return {"score": next(scores)}

    result = fit(_fit(validate), _options(steps=50, patience=2), OPTIM, tmp_path, _fabric())
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
        _fit(validate, network),
        _options(),
        OptimOptions(rate=0.05, warmup=0.0, average=average),
        tmp_path,
        _fabric(),
        progress=lambda **_: modes.append(network.training),
    )
    assert len(modes) == 40
    assert all(modes)


def test_a_loss_that_is_not_finite_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"lower optim\.rate"):
        fit(_fit(), _options(), OptimOptions(name="sgd", rate=1e30, clip=0, warmup=0), tmp_path, _fabric())


@pytest.mark.parametrize("saves", ["validation", "interrupt"])
def test_weights_that_a_broken_step_left_are_neither_validated_nor_saved(tmp_path, saves):
    """Of a step between two lines of the log, at once followed by what saves."""

    def batches(first):
        for n, batch in enumerate(_batches(first), first):
            yield batch._replace(images=batch.images * np.float32(np.nan if n == 13 else 1))

    def interrupts(step, **_):
        if step == 14 and saves == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)

    def validate(network):
        assert network.conv.weight.isfinite().all()
        return {"score": 0.5}

    options = _options(validate_every=5, log_every=100, keep="snapshots")
    with pytest.raises(DataError, match=r"loss is nan at step 1[45]"):
        fit(replace(_fit(validate), batches=batches), options, OPTIM, tmp_path, _fabric(), progress=interrupts)
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
