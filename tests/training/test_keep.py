"""Means of weights by hand; what is on disk while a run goes on."""

import os

import pytest
import torch
from torch import nn

from malpighi.errors import DataError, RecipeError
from malpighi.training.keep import Keep, mean_of_files
from malpighi.training.norms import measure_norms
from malpighi.training.options import TrainOptions


def _one(value):
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    return network


def _keep(tmp_path, kind, count=2, steps=100):
    return Keep(TrainOptions(steps=steps, keep=kind, keep_count=count), tmp_path)


def _validated(keep, scores):
    for n, score in enumerate(scores, 1):
        keep.validated(10 * n, score, _one(float(n)))


def test_top_is_the_mean_of_the_best(tmp_path):
    keep = _keep(tmp_path, "top")
    _validated(keep, [0.5, 0.9, 0.1, 0.7, 0.7])
    assert keep.members == [(20, 0.9), (40, 0.7)]  # of equals the first
    assert keep.averaged()["weight"].item() == (2 + 4) / 2


def test_snapshots_are_the_mean_of_the_last(tmp_path):
    keep = _keep(tmp_path, "snapshots", count=3)
    _validated(keep, [0.9, 0.8, 0.1, 0.2])
    assert keep.averaged()["weight"].item() == pytest.approx((2 + 3 + 4) / 3)


@pytest.mark.parametrize("kind", ["top", "snapshots"])
def test_disk_is_bounded_and_the_last_checkpoint_is_whole(tmp_path, kind):
    keep = _keep(tmp_path, kind)
    for n in range(1, 8):
        saved = keep.state_dict()
        keep.validated(n, n / 10, _one(float(n)))
        earlier = _keep(tmp_path, kind)  # a run killed now goes on from the checkpoint before
        earlier.load_state_dict(saved, _one(0.0))
        if earlier.members:
            earlier.averaged()
        assert len(os.listdir(tmp_path / "kept")) <= 3
        keep.prune()
        assert len(os.listdir(tmp_path / "kept")) <= 2
    keep.clear()
    assert not (tmp_path / "kept").exists()


def test_a_validation_that_is_done_again_counts_once(tmp_path):
    keep = _keep(tmp_path, "top", count=3)
    _validated(keep, [0.5, 0.6])
    keep.validated(20, 0.6, _one(2.0))
    assert keep.members == [(20, 0.6), (10, 0.5)]


def test_a_file_that_is_gone_is_an_error(tmp_path):
    keep = _keep(tmp_path, "top")
    _validated(keep, [0.5, 0.6])
    (tmp_path / "kept" / "step-10.safetensors").unlink()
    with pytest.raises(DataError, match="step-10"):
        keep.averaged()


def test_means_leave_integers_and_types_alone(tmp_path):
    norms = [nn.BatchNorm1d(2).half() for _ in range(3)]
    for n, norm in enumerate(norms, 1):
        norm.num_batches_tracked += n
        norm.running_mean += 1024 * n  # sums of such numbers need more than half precision
    keep = _keep(tmp_path, "snapshots", count=3)
    for n, norm in enumerate(norms):
        keep.validated(n, 0.0, norm)
    found = keep.averaged()
    assert found["num_batches_tracked"] == 3
    assert found["running_mean"].dtype == torch.float16
    assert found["running_mean"].tolist() == [2048, 2048]


def test_swa_is_the_mean_over_the_last_quarter(tmp_path):
    keep = _keep(tmp_path, "swa", steps=40)
    for step in range(1, 41):
        keep.stepped(step, _one(float(step)))
        if step == 35:
            saved = keep.state_dict()
            keep = _keep(tmp_path, "swa", steps=40)
            keep.load_state_dict(saved, _one(0.0))
    assert keep.steps == 10
    assert keep.averaged()["weight"].item() == pytest.approx(sum(range(31, 41)) / 10)
    assert not list(tmp_path.iterdir())


def test_swa_of_a_run_that_may_stop_early_is_refused():
    with pytest.raises(RecipeError, match=r"set train\.patience = 0"):
        TrainOptions(keep="swa", patience=3)


def test_mean_of_one_file_is_that_file(tmp_path):
    keep = _keep(tmp_path, "top", count=1)
    _validated(keep, [0.5])
    assert mean_of_files([tmp_path / "kept" / "step-10.safetensors"])["weight"].item() == 1


class Two(nn.Module):
    """A body that runs, and a head that only training reaches."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(2))
        self.head = nn.BatchNorm2d(2)

    def forward(self, x):
        return self.body(x)


def test_norms_are_measured_anew_as_prediction_meets_them():
    network = Two()
    norm = network.body[1]
    norm.running_mean += 100
    network.head.running_mean += 7
    batches = [torch.randn(4, 2, 3, 3) + n for n in range(3)]
    assert measure_norms(network, batches) == 1
    torch.testing.assert_close(norm.running_mean, torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([b.var((0, 2, 3)) for b in batches]).mean(0))
    assert norm.momentum == 0.1
    assert not norm.training
    assert network.head.running_mean.tolist() == [7, 7]


def test_without_norms_no_batch_is_read():
    def never():
        raise AssertionError
        yield

    assert measure_norms(nn.Conv2d(1, 1, 1), never()) == 0
