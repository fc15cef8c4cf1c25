"""`malpighi ensemble` from the command line: what it refuses, in one line."""

from system.tiny import malpighi, refused


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    refused(malpighi("ensemble", tmp_path / "folder", "-o", tmp_path / "ens"), 3, "not a training run")
    assert not (tmp_path / "ens").exists()


def test_ways_to_combine_are_named(tmp_path):
    answer = malpighi("ensemble", tmp_path, "-o", tmp_path / "ens", "--how", "best")
    refused(answer, 2, "--how best", "weighted, mean, union, vote")
