"""The README's first command, whole."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_demo_segments_an_unseen_phantom(tmp_path):
    command = [sys.executable, "-c", "from malpighi.cli.main import run; run()", "demo", "-o", str(tmp_path / "demo"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert {"task", "dice", "seconds", "peak_memory_mb", "report"} <= set(result)
    assert result["task"] == "ftu"
    assert result["dice"] >= 0.90
    assert result["object_f1"] >= 0.9
    for page in (tmp_path / "demo" / "report.html", tmp_path / "demo" / "run" / "report.html"):
        assert "https://" not in page.read_text().replace("https://www.w3.org", "")
