"""The command line as scripts see it: light to start, one JSON object, exit codes."""

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from malpighi.cli import terminal
from malpighi.cli.main import app, register
from malpighi.cli.recipes import TASKS
from malpighi.errors import DataError
from malpighi.recipes.load import read_raw, recipes_by_task

COMMANDS = ("demo", "inspect", "train", "segment", "evaluate", "pseudo", "convert", "recipes", "doctor")


@pytest.fixture(scope="module")
def run():
    register()
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(a) for a in arguments])


def test_help_lists_every_command_and_loads_nothing_heavy():
    code = (
        "import sys; from malpighi.cli import main; main.register()\n"
        "from typer.testing import CliRunner\n"
        "print(CliRunner().invoke(main.app, ['--help']).output)\n"
        "heavy = {'torch', 'cv2', 'zarr', 'tifffile', 'matplotlib', 'shapely', 'scipy', 'numpy', 'pyarrow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples(run, command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Examples" in result.output
    assert f"malpighi {command}" in result.output


def test_wrong_usage_is_exit_code_two(run):
    assert run("train").exit_code == 2
    assert run("nonsense").exit_code == 2


def test_recipes_list_and_print(run):
    listed = json.loads(run("recipes", "--json").stdout.splitlines()[-1])
    assert "auto" in listed["recipes"]
    assert run("recipes", "auto").stdout.startswith("# The default")
    assert run("recipes", "atuo").exit_code == 2
    table = " ".join(run("recipes").stdout.split())  # the answer itself: `malpighi recipes | grep kidney`
    assert all(title in table for title in TASKS.values())
    assert set(TASKS) == set(recipes_by_task())
    assert list(listed["recipes"]).index("kidney-2nd") < list(listed["recipes"]).index("kidney-10th")


@pytest.mark.parametrize("command", ["inspect", "train", "cycle"])
def test_masks_without_a_class_can_be_named_where_a_note_says_so(run, command):
    assert "--classes" in run(command, "--help").output


def test_names_of_classes_are_a_value_of_the_recipe():
    settings = terminal.with_classes(["train.steps=4"], 'tuft, "Bowman\'s" capsule,')
    raw = read_raw("auto", settings)
    assert raw["data"]["classes"] == ["tuft", '"Bowman\'s" capsule']
    assert raw["train"]["steps"] == 4
    assert terminal.with_classes(None, "") == []


def test_json_is_one_line_of_plain_values(capsys):
    import numpy as np

    terminal.print_json({"dice": np.float64(0.5), "none": float("nan"), "list": (1, np.int64(2)), "by": {1: "µ"}})
    assert json.loads(capsys.readouterr().out) == {"dice": 0.5, "none": None, "list": [1, 2], "by": {"1": "µ"}}


@pytest.mark.parametrize(
    ("raised", "code"), [(DataError("x.png: broken"), 3), (KeyboardInterrupt(), 130), (OSError(28, "full", "out"), 4)]
)
def test_errors_become_one_line_and_their_exit_code(raised, code, capsys):
    def command() -> None:
        raise raised

    with pytest.raises(typer.Exit) as left:
        terminal.guarded(command)()
    assert left.value.exit_code == code
    captured = capsys.readouterr()
    assert captured.out == ""


def test_a_bug_is_not_hidden():
    def command() -> None:
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError, match="bug"):
        terminal.guarded(command)()
