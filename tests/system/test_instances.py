"""Whole commands on objects that touch: train, go on, segment, evaluate; and the layouts in which nuclei come."""

import json

import numpy as np
import pytest
import tifffile

from malpighi.geometry import Box
from malpighi.sampling.cases import open_case
from malpighi.sampling.layouts import find_cases
from system.tiny import SMALLEST, malpighi, refused


def _write(root, cases=3, channels=3):
    """images/ and labels/ of squares in pairs, bright on dark; labels of 16 bits."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number in range(cases):
        rng = np.random.default_rng(number)
        labels = np.zeros((64, 96), np.uint16)
        for k in range(3):
            y, x = rng.integers(0, 40) // 20 * 20, 4 + 30 * k
            labels[y + 4 : y + 16, x : x + 12], labels[y + 4 : y + 16, x + 12 : x + 24] = 500 + 2 * k, 501 + 2 * k
        image = np.where(labels > 0, 180, 30) + labels % 2 * 40 + rng.normal(0, 6, labels.shape)
        image = np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], channels, 2).squeeze()
        tifffile.imwrite(root / f"images/n{number}.tif", image)
        tifffile.imwrite(root / f"labels/n{number}.tif", labels)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("kind", [("distance", "flips"), ("flow", "none")])
def test_train_segment_evaluate(tmp_path, kind):
    data = _write(tmp_path / "data")
    settings = ("--set", f"instances.kind={kind[0]}", "--set", f"predict.flips={kind[1]}")
    words = ("train", data, "-r", "nuclei", "-o", tmp_path / "run", *SMALLEST, *settings, "--json")
    answer = malpighi(*words)
    assert answer.code == 0, answer.err
    assert 0 <= answer.json["ap50"] == answer.json["best_score"] <= 1
    assert 0 < answer.json["best_dice"] <= 1
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert {"ap50", "mean_precision", "pq"} <= set(scores)
    assert (tmp_path / "run" / "pictures" / "augmented.png").stat().st_size > 1000
    gray = _write(tmp_path / "gray", channels=1)
    answer = malpighi("segment", gray / "images", "-m", tmp_path / "run", "-o", tmp_path / "out", "--probabilities", "--json")
    assert answer.code == 0, answer.err
    assert (tmp_path / "out" / "n0" / "report.html").is_file()
    assert (tmp_path / "out" / "n0" / "probabilities.ome.zarr").is_dir()
    answer = malpighi("evaluate", tmp_path / "out", gray, "--report", tmp_path / "scores.html")
    assert answer.code == 0, answer.err
    assert "AP50" in answer.out
    assert "mean precision" in (tmp_path / "scores.html").read_text()
    refused(
        malpighi("segment", gray / "images", "-m", tmp_path / "run", "-o", tmp_path / "x", "--set", "instances.kind=none"), 2
    )


@pytest.mark.slow
def test_two_classes_cannot_be_told_apart(tmp_path):
    data = _write(tmp_path / "data")
    for path in (data / "labels").iterdir():
        tifffile.imwrite(path, (tifffile.imread(path) % 3).astype(np.uint8))
    words = ("train", data, "-r", "nuclei", "-o", tmp_path / "run", *SMALLEST, "--set", 'data.classes=["a","b"]')
    refused(malpighi(*words), 2, "one class")


@pytest.mark.real_data
def test_the_layouts_in_which_nuclei_come_tell_objects_apart(real):
    for root, layout in ((real / "nuclei", 506), (real / "nuclei" / "original_layout", 23)):
        if not root.is_dir():
            pytest.skip(f"{root} is absent")
        table = find_cases(root).require_labels()
        assert len(table) == layout
        with open_case(table.cases[0], table.classes) as opened:
            assert len(opened.source.channels) == 3
            assert opened.annotation is not None
            assert opened.annotation.has_objects
            whole = Box.of_shape(opened.source.shape)
            numbers = opened.annotation.instances(whole)
            assert len(np.unique(numbers)) > 2
            np.testing.assert_array_equal(opened.annotation.rasterise(whole)[0] == 1, numbers > 0)
