"""The doctor: real round trips, and what it answers when something is broken."""

import json

import pytest
import typer

from malpighi.cli import checks
from malpighi.cli.checks import Check
from malpighi.cli.doctor import doctor


@pytest.mark.parametrize("check", [checks.jpeg_tiff, checks.openslide, checks.zarr, checks.packages, checks.python])
def test_this_machine_passes(check):
    answer = check()
    assert answer.state == "ok", answer
    assert answer.found
    assert not answer.cure


@pytest.mark.parametrize(
    "check", [checks.cpu, checks.memory, checks.disk, checks.open_files, checks.model_hub, checks.allocator]
)
def test_every_answer_says_something_and_a_warning_has_a_cure(check):
    answer = check()
    assert answer.found
    assert bool(answer.cure) == (answer.state != "ok")


def test_codecs_that_decode_wrongly_fail(monkeypatch):
    import tifffile

    monkeypatch.setattr(tifffile, "imread", lambda path: 255 - checks._ramp())
    assert checks.jpeg_tiff().state == "fail"


def test_a_missing_package_names_the_command(monkeypatch):
    monkeypatch.setattr(checks, "ESSENTIAL", ("numpy", "no-such-package-here"))
    answer = checks.packages()
    assert (answer.state, answer.cure) == ("fail", "pip install no-such-package-here")


def test_a_check_that_breaks_is_a_failure_with_a_name(monkeypatch):
    def broken() -> Check:
        raise RuntimeError("symbol not found\nlong story")

    for name in ("packages", "device", "gpu", "openslide", "jpeg_tiff", "zarr"):
        monkeypatch.setattr(checks, name, lambda: Check("x", "ok", "y"))
    monkeypatch.setattr(checks, "python", broken)
    first = checks.all_checks()[0]
    assert (first.name, first.state, first.found) == ("Python", "fail", "RuntimeError: symbol not found")


def test_low_memory_and_container_limits_are_seen(monkeypatch):
    monkeypatch.setattr(checks, "_container_limit", lambda: 2 * checks.GB)
    answer = checks.memory()
    assert answer.state == "warn"
    assert "of 2.0 GB (container limit)" in answer.found


def test_offline_mode_and_cache_are_told(monkeypatch, tmp_path):
    (tmp_path / "models--timm--resnet18").mkdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert checks.model_hub().found.startswith(f"1 models in {tmp_path}, offline mode")


ANSWERS = {
    "fine": [Check("Python", "ok", "3.11"), Check("disk", "warn", "1 GB [free]", "free space")],
    "broken": [Check("Zarr", "fail", "differs", "reinstall")],
}


def test_warnings_are_no_failure(monkeypatch, capsys):
    monkeypatch.setattr(checks, "all_checks", lambda: ANSWERS["fine"])
    doctor(json=True)
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (answer["ok"], answer["warned"], answer["failed"]) == (True, ["disk"], [])
    assert answer["checks"][1] == {"name": "disk", "state": "warn", "found": "1 GB [free]", "cure": "free space"}


def test_a_failure_ends_in_code_2_and_still_prints_the_object(monkeypatch, capsys):
    monkeypatch.setattr(checks, "all_checks", lambda: ANSWERS["broken"])
    with pytest.raises(typer.Exit) as left:
        doctor(json=True)
    assert left.value.exit_code == 2
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["failed"] == ["Zarr"]
