"""Mining by hand: a network that takes what is bright for a gland, in pictures where only some of it is one."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from malpighi.annotations.base import UNLABELLED
from malpighi.annotations.masks import MaskAnnotation
from malpighi.errors import DataError
from malpighi.geometry import Box, Spacing
from malpighi.images.array import ArraySource
from malpighi.models.losses import LossOptions, build_loss
from malpighi.models.outputs import Outputs
from malpighi.recipes.load import build, read_raw
from malpighi.sampling.augment import PRESETS
from malpighi.sampling.cases import Case, OpenCase
from malpighi.sampling.dataset import TileBatches
from malpighi.sampling.hard_boxes import HardBoxes, hard_boxes
from malpighi.sampling.intensity import Intensity
from malpighi.sampling.plain_boxes import random_boxes
from malpighi.tasks import mining
from malpighi.tasks.material import Material
from malpighi.tasks.mining import HARD, Miner, known_and_wanted, miner
from malpighi.tasks.run import Inputs
from malpighi.training.loop import Fit as Work
from malpighi.training.loop import fit
from malpighi.training.metrics_file import read_metrics
from malpighi.training.options import OptimOptions, TrainOptions

PIXELS, TILE = Spacing.pixels(2), (16, 16)


class Bright(nn.Module):
    """A gland is what is brighter than half; one weight, so that it can be trained."""

    stride = (1, 1)
    slices = None

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.scale = nn.Conv2d(1, 1, 1)
        nn.init.constant_(self.scale.weight, 10.0)
        nn.init.constant_(self.scale.bias, -5.0)

    def forward(self, x):
        return Outputs(self.scale(x))


def _case():
    """64 × 64: a bright square that is a gland, a larger and a smaller one that are not, the left edge bright and unlabelled."""
    image, label = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    image[4:14, 40:50] = 255
    label[4:14, 40:50] = 1
    image[44:60, 44:60] = 255
    image[50:53, 20:23] = 255
    image[:, :2] = 255
    label[:, :2] = 9
    source = ArraySource(image[None])
    mask = MaskAnnotation(ArraySource(label[None]), source.space, ("gland",), unlabelled=9)
    return OpenCase(Case("a", "none"), source, mask)


def _recipe(*more):
    return build(read_raw("demo", ("train.precision=float32", "train.batch=4", "train.channels_last=false", *more)))


def _made(run, share=0.5, batch=4):
    hard = HardBoxes()
    series = hard_boxes(random_boxes([(64, 64)], TILE, 1), hard, TILE, share, batch, 1)
    batches = TileBatches([_case()], series, PIXELS, TILE, 1.0, PRESETS["none"], batch, 1, 1)
    inputs = Inputs(("gland",), 1, PIXELS, Intensity((0.0,), (255.0,)))
    return Miner(Material((), (), inputs, batches, hard=hard), hard, _recipe(), run, "cpu"), hard


def test_where_nothing_is_the_wrongest_come_first(tmp_path):
    look, hard = _made(tmp_path)
    look(Bright(), 10)
    found = hard.at(10)
    assert 0 < len(found) <= mining.KEPT
    case = _case()
    for one in found:
        box = Box(one.start, TILE)
        image, target = case.source.read(box, 0)[0], case.annotation.rasterise(box)[0]
        assert one.false == ((image > 127) & (target == 0)).sum() > 0
        assert not (target == 1).any()
    assert [one.false for one in found] == sorted((one.false for one in found), reverse=True)
    assert hard.at(9) == ()
    saved = json.loads((tmp_path / HARD).read_text())
    assert saved["tile"] == [16, 16]
    assert saved["looks"][0]["step"] == 10


def test_boxes_that_were_hard_are_looked_at_again_and_go_when_they_are_no_longer(tmp_path):
    look, hard = _made(tmp_path)
    look(Bright(), 10)
    first = hard.at(10)
    look(Bright(), 20)
    assert max(one.false for one in hard.at(20)) >= max(one.false for one in first)
    learnt = Bright()
    nn.init.constant_(learnt.scale.bias, -50.0)  # sees nothing
    look(learnt, 30)
    assert hard.at(30) == ()


def test_looks_are_taken_up_again_and_later_ones_forgotten(tmp_path):
    look, hard = _made(tmp_path)
    look(Bright(), 10)
    look(Bright(), 20)
    again, restored = _made(tmp_path)
    assert restored.looks == hard.looks
    again.batches(15).close()
    assert restored.looks == hard.looks[:1]
    again(Bright(), 20)
    assert restored.looks == hard.looks  # the same network at the same step finds the same
    (tmp_path / HARD).write_text('{"looks": [{}]}')
    with pytest.raises(DataError, match="not what training wrote"):
        _made(tmp_path)


def test_known_and_wanted():
    known, wanted = known_and_wanted(np.array([0, 1, UNLABELLED], np.uint8))
    assert (known.tolist(), wanted.tolist()) == ([True, True, False], [False, True, False])
    known, wanted = known_and_wanted(np.array([0.2, 0.7, np.nan], np.float32))
    assert (known.tolist(), wanted.tolist()) == ([True, True, False], [False, True, False])


def test_no_miner_where_none_is_asked_for(tmp_path):
    assert miner(SimpleNamespace(hard=None), _recipe(), tmp_path, "cpu") is None


def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path):
    class KilledError(Exception):
        pass

    def run(folder, die=0):
        folder.mkdir(exist_ok=True)
        look, _ = _made(folder, share=0.9)
        torch.manual_seed(3)
        work = Work(
            Bright(), look.batches, look.inputs.intensity.apply, build_loss(LossOptions()), lambda _: {"score": 0.5}, {}, look
        )

        def progress(step, **_):
            if step == die:
                raise KilledError

        options = TrainOptions(steps=12, batch=4, validate_every=4, log_every=1, patience=0, precision="float32")
        fit(work, options, OptimOptions(rate=0.01, warmup=0.0), folder, Fabric(accelerator="cpu", devices=1), progress)

    run(tmp_path / "whole")
    with pytest.raises(KilledError):
        run(tmp_path / "parts", 11)
    # as if it had been killed between the look after step 8 and that step's checkpoint: a look that is not to be known
    saved = json.loads((tmp_path / "parts" / HARD).read_text())
    assert [look["step"] for look in saved["looks"]] == [4, 8]
    saved["looks"].append({"step": 9, "boxes": [{"case": 0, "start": [0, 0], "false": 1}]})
    (tmp_path / "parts" / HARD).write_text(json.dumps(saved))
    run(tmp_path / "parts")
    losses = [
        [(row["step"], row["loss"]) for row in read_metrics(tmp_path / name / "metrics.jsonl") if "loss" in row]
        for name in ("whole", "parts")
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 12
    tiles = _made(tmp_path / "whole", share=0.9)[0].tiles
    plain = replace(tiles, draw=random_boxes([(64, 64)], TILE, 1))
    assert not np.array_equal(plain.make(9).images, tiles.make(9).images)  # hard boxes did come
