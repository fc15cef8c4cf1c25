"""A network of ten weights, batches and options to train it with: see `test_loop` and `test_resume`."""

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from malpighi.models.losses import LossOptions, build_loss
from malpighi.models.outputs import Outputs
from malpighi.sampling.dataset import Batch
from malpighi.training.loop import Fit
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


class Normed(Tiny):
    """With a batch norm, whose statistics a mean of weights must measure anew."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x):
        return Outputs(self.norm(self.conv(self.dropout(x))))


class Killed(Exception):
    pass


def batches_from(first):
    n = first
    while True:
        random = np.random.default_rng(n)
        target = (random.random((4, 1, 8, 8)) > 0.5).astype(np.uint8)
        yield Batch(target * 200, target)
        n += 1


def task_of(validate=lambda network: {"score": 0.5}, network=None):
    prepare = lambda x: x.float() / 255  # noqa: E731
    return Fit(network or Tiny(), batches_from, prepare, build_loss(LossOptions()), validate, {"made": "by a test"})


def score_of(network):
    """A score that rises and falls with the weights."""
    return {"score": float(network.conv.weight.detach().sum().sin().abs())}


def on_cpu():
    return Fabric(accelerator="cpu", devices=1)


def options_of(**changes):
    return TrainOptions(**{"steps": 40, "batch": 4, "validate_every": 10, "log_every": 3, **changes})


def losses_of(run):
    return [(row["step"], row["loss"]) for row in read_metrics(run / "metrics.jsonl") if "loss" in row]


def dies_at(last):
    def dies(step, **_):
        if step >= last:
            raise Killed

    return dies
