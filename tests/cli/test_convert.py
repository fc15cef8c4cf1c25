import json
import subprocess
import sys

import shapely
from typer.testing import CliRunner

from malpighi.annotations.geojson import write_geojson
from malpighi.cli.convert import convert
from malpighi.cli.terminal import guarded
from malpighi.geometry import Shape


def run(*words):
    import typer

    app = typer.Typer()
    app.command()(guarded(convert))
    return CliRunner().invoke(app, [str(word) for word in words])


def test_labels_are_converted_and_told(tmp_path):
    write_geojson(tmp_path / "a.geojson", [Shape(shapely.box(1, 1, 3, 3), "vessel")])
    done = run(tmp_path / "a.geojson", tmp_path / "b.csv", "--width", 80, "--height", 60, "--order", "C", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "output": str(tmp_path / "b.csv"), "kind": "labels", "classes": ["vessel"], "objects": 1
    }  # fmt: skip
    assert (tmp_path / "b.csv").read_text() == "id,rle\na,82 2 162 2\n"


def test_errors_are_one_line_and_an_exit_code(tmp_path):
    write_geojson(tmp_path / "a.geojson", [])
    (tmp_path / "b.csv").write_text("mine")
    assert run(tmp_path / "a.geojson", tmp_path / "b.csv").exit_code == 4
    assert run(tmp_path / "none.geojson", tmp_path / "c.csv").exit_code == 3
    assert run(tmp_path / "a.geojson", tmp_path / "c.csv", "--width", 3).exit_code == 2
    assert (tmp_path / "b.csv").read_text() == "mine"


def test_converting_never_loads_torch(tmp_path):
    write_geojson(tmp_path / "a.geojson", [Shape(shapely.box(1, 1, 3, 3), "vessel")])
    code = (
        "import sys; from pathlib import Path; from malpighi.tasks.convert import convert;"
        "from malpighi.tasks.convert_asked import Conversion;"
        "convert(Conversion(Path(sys.argv[1]), Path(sys.argv[2]), size=(60, 80))); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "a.geojson", tmp_path / "b.png"], check=True)
