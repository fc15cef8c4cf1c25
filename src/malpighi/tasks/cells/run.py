"""What a cell run's folder holds, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from malpighi.errors import DataError
from malpighi.inference.fuse import Rule
from malpighi.recipes.cells import CellsRecipe
from malpighi.recipes.load import build_cells, read_raw
from malpighi.reports.runfolder import read_json

RECIPE, PREPARED, IMAGE_RUN, BEST, CYCLES = "recipe.toml", "prepared", "image", "best.json", "cycles.json"


def cycle_folder(run: Path, number: int) -> Path:
    """Where a cycle leaves its pseudo-labels, its cell classifier and its scores."""
    return run / f"cycle-{number}"


@dataclass(frozen=True)
class CellRun:
    """A finished run of `cycle --task cells`.

    Attributes:
        image_run, cell_run: folders of the two classifiers.
        rule: how their scores are joined.
    """

    path: Path
    recipe: CellsRecipe
    classes: tuple[str, ...]
    image_run: Path
    cell_run: Path
    rule: Rule


def is_cell_run(path: Path) -> bool:
    """Whether a folder holds a run of cells, finished or not."""
    return (path / "cycle.json").is_file()


def open_cell_run(path: Path, cycle: int | None = None) -> CellRun:
    """Read a run folder of `malpighi cycle --task cells`.

    Args:
        path: the folder.
        cycle: whose cell classifier and rule are taken; None: the best one's.

    Raises:
        DataError: it is none, or it is not finished.
    """
    path = Path(path)
    if not is_cell_run(path):
        raise DataError(f"{path}: no run of cells; give the folder that `malpighi cycle --task cells -o` wrote")
    if not (path / BEST).is_file():
        raise DataError(f"{path}: the run is not finished; go on with `malpighi cycle DATA --task cells -o {path}`")
    best = read_json(path / BEST)
    recipe = build_cells(read_raw(str(path / RECIPE)), str(path / RECIPE))
    done = {row["cycle"]: row for row in read_json(path / CYCLES)["cycles"]}
    chosen = done.get(best["cycle"] if cycle is None else cycle)
    if chosen is None:
        raise DataError(f"{path}: has no cycle {cycle}; it has {', '.join(map(str, done))}")
    cell_run = cycle_folder(path, chosen["cycle"]) / "cell"
    return CellRun(path, recipe, tuple(best["classes"]), path / IMAGE_RUN, cell_run, Rule(**chosen["rule"]))
