"""`malpighi cycle`: what is labelled teaches labels for the rest, again while it helps."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from malpighi.cli.terminal import (
    CLASSES_OPTION,
    JSON_OPTION,
    ONLY_OPTION,
    SET_OPTION,
    SPACING_OPTION,
    only_of,
    print_json,
    talk,
    with_classes,
)
from malpighi.errors import RecipeError
from malpighi.geometry import Spacing


class CycleTask(StrEnum):
    """What is cycled."""

    cells = "cells"
    ftu = "ftu"


RECIPES = {CycleTask.cells: "cells", CycleTask.ftu: "auto"}
"""The recipe of a task where none is given."""


def cycle(
    data: Annotated[Path, typer.Argument(help="Folder in a known layout, table or manifest.csv of images, some with labels.")],
    task: Annotated[
        CycleTask | None,
        typer.Option("--task", help="cells: single cells from labels of whole images. ftu: masks for images that have none."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", "-r", help="Name of a recipe, or a .toml file; it says the task where --task does not."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder to make; run-cells or run-cycle where not given.")
    ] = None,
    unlabelled: Annotated[
        list[str] | None,
        typer.Option("--unlabelled", help="ftu: more images without labels: file, folder or pattern; repeatable."),
    ] = None,
    overrides: Annotated[list[str] | None, SET_OPTION] = None,
    spacing: Annotated[Spacing | None, SPACING_OPTION] = None,
    only: Annotated[list[str] | None, ONLY_OPTION] = None,
    classes: Annotated[str, CLASSES_OPTION] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin again, whatever the run folder holds.")] = False,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Labels that are made by what was learnt, and teach along, again while held-out images gain.

    [bold]ftu[/bold]: a network learns from the images that people labelled, and labels the others: those of DATA without masks and
    --unlabelled. The next one learns from both. No held-out image teaches a label; the section "cycle" of the recipe says how.

    [bold]cells[/bold]: from labels of whole images to labels of single cells. Every cell is outlined first. A classifier of images then
    shows where it sees each label; cells in which it does get the label, and teach a classifier of cells; that one labels the
    cells of the next cycle.

    The same command goes on where it was stopped. The run folder is a model for `malpighi segment`.

    [bold]Examples[/bold]

        malpighi cycle slides/ --task ftu -o run --unlabelled "more/*.svs"   # slides/ with outlines for some of them

        malpighi cycle manifest.csv -r kidney-17th -o run --set cycle.cycles=2

        malpighi cycle hpa/ --task cells -o run                   # hpa/train.csv (ID,Label), hpa/train/ID_red.png, …

        malpighi cycle manifest.csv -r cells-1st -o run --set image.model.encoder=convnext_tiny
    """
    settings = with_classes(overrides, classes)
    chosen = task or (task_of(recipe, settings) if recipe else CycleTask.cells)
    name = recipe or RECIPES[chosen]
    given: dict[str, Any] = {
        "overrides": settings,
        "spacing": spacing,
        "only": only_of(only),
        "overwrite": overwrite,
        "talk": talk(),
    }
    if chosen is CycleTask.cells:
        from malpighi.tasks.cells.cycle import cycle as cycle_cells

        if unlabelled:
            raise RecipeError(
                "--unlabelled is for masks of images, a cycle of cells labels the cells of its own images; give --task ftu (or -r with a "
                "recipe of such), or leave it out"
            )
        result = cycle_cells(data, name, out or Path("run-cells"), **given)
    else:
        from malpighi.tasks.ftu_cycle.cycle import cycle as cycle_masks

        result = cycle_masks(data, name, out or Path("run-cycle"), unlabelled=unlabelled or (), **given)
    if json:
        print_json(result)


def task_of(recipe: str, overrides: list[str] | tuple[str, ...] = ()) -> CycleTask:
    """The task that a recipe is of."""
    from malpighi.recipes.cells import CellsRecipe
    from malpighi.recipes.load import kind_of, read_raw

    return CycleTask.cells if kind_of(read_raw(recipe, overrides)) is CellsRecipe else CycleTask.ftu
