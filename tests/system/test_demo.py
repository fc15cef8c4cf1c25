"""The README's first commands, whole."""

import json
import os
import subprocess
import sys

import pytest


def _demo(folder, task):
    command = [sys.executable, "-c", "from malpighi.cli.main import run; run()", "demo", task, "-o", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert {"task", "dice", "seconds", "peak_memory_mb", "report"} <= set(result)
    assert result["task"] == task
    for page in (folder / "report.html", folder / "run" / "report.html"):
        assert "https://" not in page.read_text().replace("https://www.w3.org", "")
    return result


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_demo_segments_an_unseen_slide(tmp_path):
    result = _demo(tmp_path / "demo", "ftu")
    assert result["dice"] >= 0.90
    assert result["object_f1"] >= 0.9


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_demo_segments_an_unseen_volume_and_measures_its_vessels(tmp_path):
    result = _demo(tmp_path / "demo", "vessels")
    assert result["dice"] >= 0.85
    assert 0.9 <= result["length_ratio"] <= 1.1
    assert 0 < result["surface_dice"] <= 1
    assert result["cldice"] >= 0.8


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_demo_labels_cells_from_labels_of_images(tmp_path):
    result = _demo(tmp_path / "demo", "cells")
    assert result["map"] >= 0.6
    assert result["map"] >= result["map_stage1"] + 0.15  # the image classifier given to every cell
    assert result["image_map"] >= 0.8
    assert result["cycles"] >= 1
    assert result["dice"] >= 0.85
    assert result["ap50"] >= 0.75
