"""The loop on a network of ten weights: it learns, resumes exactly, stops when asked, leaves nothing half-written."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from malpighi.errors import DataError, OutputError
from malpighi.models.losses import LossOptions, build_loss
from malpighi.models.outputs import Outputs
from malpighi.sampling.dataset import Batch
from malpighi.training.checkpoint import load_weights, save_last
from malpighi.training.loop import Fit, fit
from malpighi.training.metrics_file import read_metrics
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

    class Killed(Exception):
        pass

    def dies(step, **_):
        if step >= 25:
            raise Killed

    torch.manual_seed(0)
    with pytest.raises(Killed):
        fit(_fit(), _options(), OPTIM, parts, _fabric(), progress=dies)
    torch.manual_seed(99)  # whatever the new process draws first
    fit(_fit(), _options(), OPTIM, parts, _fabric())
    assert _losses(parts) == _losses(whole)
    a, b = Tiny(), Tiny()
    load_weights(whole, a)
    load_weights(parts, b)
    torch.testing.assert_close(a.state_dict(), b.state_dict(), rtol=0, atol=0)


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
