"""Whole commands that are stopped, by Ctrl-C or without warning, and given again."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from malpighi.inference import store
from system.tiny import SMALLEST, malpighi, picture, refused

pytestmark = pytest.mark.slow


def stopped(words: list[object], when: Callable[[], bool], how: signal.Signals) -> tuple[int, str, str]:
    """Run a command in a process of its own and send it a signal as soon as `when` holds: exit code, stdout, stderr."""
    command = [sys.executable, "-c", "from malpighi.cli.main import run; run()", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 300
        while process.poll() is None and not when() and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(how)
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def lines(path: Path) -> int:
    return path.read_text().count("\n") if path.is_file() else 0


@pytest.fixture
def long_slide(tmp_path: Path) -> Path:
    """Four boxes of 2048 and 300 px, one under the other; a tile of the first is damaged."""
    path = tmp_path / "long.tif"
    tifffile.imwrite(path, picture(0, (7000, 300))[0], tile=(256, 256), compression="zlib", photometric="rgb")
    with tifffile.TiffFile(path) as tif:
        start, size = tif.pages[0].dataoffsets[2], tif.pages[0].databytecounts[2]
    data = bytearray(path.read_bytes())
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_segment_goes_on_and_knows_the_damage_of_before(tmp_path, tiny_run, long_slide, how):
    def words(out: Path) -> list[object]:
        options = ["--set", "predict.skip_blank=false", "--set", "predict.batch=1", "--json"]
        return ["segment", long_slide, "-m", tiny_run, "-o", out, *options]

    out = tmp_path / "out"
    code, said, told = stopped(words(out), lambda: lines(out / "long/unfinished.log") >= 2, how)
    assert not (out / "long/manifest.json").exists(), "it was stopped too late for this test"
    assert said == ""
    if how is signal.SIGINT:
        assert code == 130
        assert "interrupted; the same command goes on" in told
    answer = malpighi(*words(out))
    assert answer.code == 5, answer.err
    assert "going on" in answer.err
    assert len(answer.json["damage"]) == 1
    assert "[256:512, 0:256]" in answer.json["damage"][0]

    whole = malpighi(*words(tmp_path / "whole"))
    assert whole.json["damage"] == answer.json["damage"]
    assert whole.json["tiles"] > answer.json["tiles"]
    import zarr

    masks = [
        zarr.open_array(folder / "long/labels.ome.zarr/labels/object/0", mode="r")[:] for folder in (out, tmp_path / "whole")
    ]
    np.testing.assert_array_equal(*masks)


def test_an_unfinished_prediction_is_not_gone_on_with_by_another(tmp_path, tiny_run, long_slide, monkeypatch):
    def full(self, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    words = ["segment", long_slide, "-m", tiny_run, "-o", tmp_path / "out"]
    with monkeypatch.context() as patch:
        patch.setattr(store.PredictionStore, "finish_masks", full)
        refused(malpighi(*words), 4, "disk is full")
    refused(malpighi(*words, "--set", "predict.thresholds=[0.3]"), 4, "another threshold of object;", "--overwrite")
    assert malpighi(*words).code == 5


STEPS = ["--set", "train.steps=120", "--set", "train.validate_every=30", "--set", "train.log_every=1"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_train_goes_on(data, how):
    run = data.parent / "run"
    words = ["train", data, "-o", run, *SMALLEST, *STEPS, "--json"]
    until = {signal.SIGKILL: (run / "last.ckpt").exists, signal.SIGINT: lambda: lines(run / "metrics.jsonl") > 3}
    code, said, told = stopped(words, until[how], how)
    assert not (run / "summary.json").exists(), "it was stopped too late for this test"
    assert said == ""
    if how is signal.SIGINT:
        assert code == 130
        assert "interrupted; the same command goes on" in told
        assert (run / "last.ckpt").exists()
    refused(malpighi(*words, "--set", "optim.rate=0.5"), 4, "another recipe", "--overwrite")
    answer = malpighi(*words)
    assert answer.code == 0, answer.err
    assert "going on with the run" in answer.err
    assert answer.json["steps"] == 120
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines() if '"loss"' in line]
    assert steps == list(range(1, 121))
    assert "is finished" in malpighi(*words).err
