import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

from inference.toys import ArraySource, place
from malpighi.errors import OutputError
from malpighi.geometry import Box, Spacing
from malpighi.images.base import Damage
from malpighi.images.write import ZarrWriter
from malpighi.inference import masks as module
from malpighi.inference.manifest import differences, file_fingerprint, finished_manifest
from malpighi.inference.options import PredictOptions
from malpighi.inference.predict import predict
from malpighi.inference.store import PredictionStore

SHAPES = {2: (70, 50), 3: (20, 17, 22)}


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(module, "_SHARD", {2: (8, 16), 3: (4, 8)})


def image(rank: int) -> ArraySource:
    return ArraySource(np.random.default_rng(0).random((1, *SHAPES[rank]), dtype=np.float32))


def opened(path, rank=2, **more) -> PredictionStore:
    options = {"probabilities": True, "fingerprint": {"weights": "abc"}, **more}
    return PredictionStore(path, SHAPES[rank], Spacing.um(0.5, rank), ("tuft", "Bowman's capsule"), (0.3, 0.6), **options)


def two(tiles):
    first = np.abs(place(tiles))
    return np.concatenate([first, 1 - first], axis=1)


def segment(path, rank=2, stop_after=None, forward=two, **more) -> list[Box]:
    """Predict into a store; a run stopped after some boxes leaves as a killed one does, without `finish`."""
    handed = []
    with opened(path, rank, **more) as store:
        found = predict(
            forward, image(rank), Spacing.pixels(rank), 2, PredictOptions(tile=8, batch=2), align=store.align, done=store.done
        )
        for box, values in found:
            if stop_after is not None and len(handed) == stop_after:
                found.close()
                return handed
            store.add(box, values)
            handed.append(box)
        store.finish({"malpighi": "0"})
    return handed


def contents(path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()}


@pytest.mark.parametrize("rank", [2, 3])
def test_labels_are_where_probabilities_reach_the_threshold(tmp_path, rank):
    segment(tmp_path / "out", rank)
    expected = np.zeros((2, *SHAPES[rank]), np.float32)
    for box, values in predict(two, image(rank), Spacing.pixels(rank), 2, PredictOptions(tile=8, batch=2)):
        expected[(slice(None), *box.slices)] = values

    labels = zarr.open_group(tmp_path / "out/labels.ome.zarr", mode="r")["labels"]
    np.testing.assert_array_equal(labels["tuft"]["0"][:], expected[0] >= np.float32(0.3))
    np.testing.assert_array_equal(labels["Bowman's capsule"]["0"][:], expected[1] >= np.float32(0.6))
    stored = zarr.open_group(tmp_path / "out/probabilities.ome.zarr", mode="r")["0"][:]
    np.testing.assert_allclose(stored / 255, expected, atol=0.5 / 255 + 1e-6)


def test_the_manifest_comes_last_and_says_what_the_run_was(tmp_path):
    segment(tmp_path / "out", stop_after=3)
    assert not (tmp_path / "out/manifest.json").exists()
    segment(tmp_path / "out")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["classes"] == {"tuft": 0.3, "Bowman's capsule": 0.6}
    assert manifest["spacing"] == {"values": [0.5, 0.5], "unit": "µm"}
    assert (manifest["shape"], manifest["weights"], manifest["malpighi"]) == ([70, 50], "abc", "0")
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == [
        "labels.ome.zarr",
        "manifest.json",
        "probabilities.ome.zarr",
    ]


@pytest.mark.slow
def test_a_process_killed_without_warning_goes_on_to_the_same_bytes(tmp_path):
    segment(tmp_path / "whole")
    out = tmp_path / "out"
    script = (
        "import time; from inference import test_store as t; t.module._SHARD = {2: (8, 16), 3: (4, 8)}\n"
        "def slowly(tiles): time.sleep(0.02); return t.two(tiles)\n"
        f"t.segment(t.Path({str(out)!r}), forward=slowly)"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    log = out / "unfinished.log"
    for lines in (3, 9):
        with subprocess.Popen([sys.executable, "-c", script], env=env) as process:
            while process.poll() is None and not (log.exists() and log.read_text().count("\n") >= lines):
                time.sleep(0.005)
            process.kill()
        assert process.returncode == -signal.SIGKILL
    assert not (out / "manifest.json").exists()
    segment(out)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("rank", [2, 3])
def test_killed_and_resumed_is_uninterrupted_byte_for_byte(tmp_path, rank):
    segment(tmp_path / "whole", rank)
    handed = segment(tmp_path / "stopped", rank, stop_after=0)
    for boxes in (1, 4, 2):
        handed += segment(tmp_path / "stopped", rank, stop_after=boxes)
    handed += segment(tmp_path / "stopped", rank)
    assert len(handed) == len(set(handed))  # no box was predicted twice
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_a_log_line_cut_off_by_a_kill_is_that_box_again(tmp_path):
    segment(tmp_path / "whole")
    segment(tmp_path / "cut", stop_after=5)
    log = tmp_path / "cut/unfinished.log"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:-1]) + lines[-1][:7])
    with opened(tmp_path / "cut") as store:
        assert len(store.done) == len(lines) - 1
    segment(tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_empty_boxes_are_known_to_be_done_although_nothing_is_written_for_them(tmp_path):
    def nothing(tiles):
        return np.zeros((len(tiles), 2, *tiles.shape[2:]), np.float32)

    handed = segment(tmp_path / "out", stop_after=4, forward=nothing)
    assert not list((tmp_path / "out/labels.ome.zarr").rglob("c/*"))
    with opened(tmp_path / "out") as store:
        assert store.done == set(handed)


def test_killed_before_the_first_box_begins_again(tmp_path):
    out = tmp_path / "out"
    opened(out).close()
    (out / "labels.ome.zarr/labels/tuft/0/zarr.json").unlink()  # killed while the arrays were being made
    segment(out)
    assert (out / "manifest.json").exists()


def test_killed_while_finishing_finishes(tmp_path, monkeypatch):
    segment(tmp_path / "whole")
    out = tmp_path / "out"

    def killed(path, names):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_labels_group", killed)
        with pytest.raises(KeyboardInterrupt):
            segment(out)
    assert not (out / "manifest.json").exists()
    assert segment(out) == []
    assert contents(out) == contents(tmp_path / "whole")


def test_killed_after_the_manifest_is_finished(tmp_path, monkeypatch):
    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("malpighi.inference.store.tidy", killed)
        with pytest.raises(KeyboardInterrupt):
            segment(tmp_path / "out")
    assert (tmp_path / "out/manifest.json").exists()
    with pytest.raises(OutputError, match="finished prediction"):
        opened(tmp_path / "out")


@pytest.mark.parametrize("probabilities", [True, False])
def test_masks_and_probabilities_can_be_read_before_the_manifest_is_written(tmp_path, probabilities):
    box = Box((3, 10), (30, 25))
    with opened(tmp_path / "out", probabilities=probabilities) as store:
        expected = np.zeros((2, *SHAPES[2]), np.float32)
        for part, values in predict(two, image(2), Spacing.pixels(2), 2, PredictOptions(tile=8, batch=2), align=store.align):
            expected[(slice(None), *part.slices)] = values
            store.add(part, values)
        store.finish_masks()
        inside = expected[1][box.slices]
        mask = store.read_mask(1)(box)
        np.testing.assert_array_equal(mask, inside >= np.float32(0.6))
        np.testing.assert_allclose(store.read_probability(1)(box)[mask > 0] / 255, inside[mask > 0], atol=0.5 / 255 + 1e-6)
        store.finish()
    assert (tmp_path / "out/probabilities.ome.zarr").exists() == probabilities
    assert not list((tmp_path / "out").glob("unfinished*"))


@pytest.mark.parametrize(
    ("change", "named"), [({"fingerprint": {"weights": "other"}}, "weights"), ({"probabilities": False}, "probabilities")]
)
def test_a_run_of_another_kind_does_not_go_on(tmp_path, change, named):
    segment(tmp_path / "out", stop_after=2)
    before = contents(tmp_path / "out")
    with pytest.raises(OutputError, match=rf"out: .*{named}.*--overwrite"):
        opened(tmp_path / "out", **change)
    assert contents(tmp_path / "out") == before
    segment(tmp_path / "out", overwrite=True, **change)
    assert (tmp_path / "out/manifest.json").exists()


def test_a_finished_prediction_is_not_replaced_unasked(tmp_path):
    segment(tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(OutputError, match=r"finished prediction.*--overwrite"):
        opened(tmp_path / "out")
    segment(tmp_path / "out", overwrite=True)
    assert contents(tmp_path / "out") == before


def test_damage_met_before_a_stop_is_remembered(tmp_path):
    first, second = Damage(0, Box((8, 0), (4, 4)), "gone"), Damage(1, Box((0, 0), (4, 4)), "gone too")
    with opened(tmp_path / "out") as store:
        boxes = list(Box.of_shape(SHAPES[2]).split(store.align))
        store.add(boxes[0], np.zeros((2, *boxes[0].size), np.float32), [second])
        store.add(boxes[1], np.zeros((2, *boxes[1].size), np.float32), [first, second])
    with opened(tmp_path / "out") as store:
        assert store.done == {boxes[0], boxes[1]}
        assert store.damage == [first, second]
        store.add(boxes[2], np.zeros((2, *boxes[2].size), np.float32), [first])
    log = (tmp_path / "out/unfinished.log").read_text().splitlines()
    assert len(log) == 5  # three boxes, and each damage once


def test_a_begun_prediction_without_a_box_is_begun_again_by_another(tmp_path):
    opened(tmp_path / "out").close()
    with opened(tmp_path / "out", fingerprint={"weights": "other"}) as store:
        assert not store.done


def test_a_finished_manifest_is_of_the_same_identity(tmp_path):
    assert finished_manifest(tmp_path, {"weights": "abc"}) is None
    (tmp_path / "manifest.json").write_text('{"weights": "abc", "tiles": 3}')
    assert finished_manifest(tmp_path, {"weights": "abc"}) == {"weights": "abc", "tiles": 3}
    with pytest.raises(OutputError, match=r"another weights;.*--overwrite"):
        finished_manifest(tmp_path, {"weights": "other"})
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(OutputError, match=r"manifest.json: is damaged.*--overwrite"):
        finished_manifest(tmp_path, {"weights": "abc"})


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({"classes": {"a": 0.5}}, ["threshold of a"]),
        ({"classes": {"b": 0.5}}, ["classes"]),
        ({"options": {"predict.tile": 64}}, ["predict.tile"]),
        ({"options": None, "weights": None}, ["options", "weights"]),
        ({}, []),
    ],
)
def test_differences_are_words(there, words):
    asked = {"classes": {"a": 0.4}, "options": {"predict.tile": 32}, "weights": "abc"}
    assert differences({**asked, **there}, asked) == words


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("…")
    with pytest.raises(OutputError, match="not empty"):
        opened(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "…"
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="not a folder"):
        opened(tmp_path / "file")


def test_finishing_before_all_is_done_is_refused(tmp_path):
    store = opened(tmp_path / "out")
    with store, pytest.raises(OutputError, match="20 boxes are not predicted"):
        store.finish()
    assert not (tmp_path / "out/manifest.json").exists()


def test_a_full_disk_says_what_is_needed_and_the_run_goes_on_when_there_is_room(tmp_path, monkeypatch):
    segment(tmp_path / "whole")
    out, written = tmp_path / "out", []
    write = ZarrWriter.write

    def full(self, box, array):
        if len(written) == 12:
            raise OutputError("full") from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(box)
        write(self, box, array)

    with monkeypatch.context() as patch:
        patch.setattr(ZarrWriter, "write", full)
        with pytest.raises(OutputError, match=r"out: the disk is full after 4 of 20 boxes .* MB more are needed"):
            segment(out)
    assert not (out / "manifest.json").exists()
    segment(out)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.timeout(30)
def test_what_is_refused_within_a_step_is_said_once(tmp_path, monkeypatch):
    """Each of the two calls explains it; chained to itself, the error was followed without end."""

    def refused(self, box, array):
        raise OutputError("may not be written") from PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with opened(tmp_path / "out") as store:
        boxes = list(Box.of_shape(SHAPES[2]).split(store.align))
        for box in boxes:
            store.add(box, np.zeros((2, *box.size), np.float32))
        store.decide()
        monkeypatch.setattr(ZarrWriter, "write", refused)
        with pytest.raises(OutputError, match="may not be written") as told:
            store.change("step", lambda _: store.write_mask(0, boxes[0], np.ones(boxes[0].size, np.uint8)))
    assert isinstance(told.value.__cause__, PermissionError)


def test_an_output_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        opened(tmp_path / "file" / "out")


def test_a_class_that_cannot_name_a_folder(tmp_path):
    with pytest.raises(OutputError, match="'a/b'"):
        PredictionStore(tmp_path / "out", (8, 8), Spacing.pixels(2), ("a/b",), (0.5,))


def test_the_fingerprint_of_a_file_and_of_a_folder(tmp_path):
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"45")
    assert file_fingerprint(tmp_path / "a")["bytes"] == 3
    assert file_fingerprint(tmp_path)["bytes"] == 5
    before = file_fingerprint(tmp_path / "a")
    os.utime(tmp_path / "a", ns=(1, 1))
    assert file_fingerprint(tmp_path / "a") != before
