"""`malpighi cycle`: what is labelled teaches labels for the rest, again while it helps."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from malpighi.cli.terminal import JSON_OPTION, ONLY_OPTION, SET_OPTION, SPACING_OPTION, only_of, print_json, talk
from malpighi.geometry import Spacing


class CycleTask(StrEnum):
    """What is cycled."""

    cells = "cells"


def cycle(
    data: Annotated[Path, typer.Argument(help="Folder in a known layout, table or manifest.csv of images with image labels.")],
    task: Annotated[
        CycleTask, typer.Option("--task", help="cells: single cells from labels of whole images.")
    ] = CycleTask.cells,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Name of a recipe of cells, or a .toml file.")] = "cells",
    out: Annotated[Path, typer.Option("--output", "-o", help="Run folder to make.")] = Path("run-cells"),
    overrides: Annotated[list[str] | None, SET_OPTION] = None,
    spacing: Annotated[Spacing | None, SPACING_OPTION] = None,
    only: Annotated[list[str] | None, ONLY_OPTION] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin again, whatever the run folder holds.")] = False,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """From labels of whole images to labels of single cells: classifier, class maps, pseudo-labels, cell classifier, again.

    Every cell is outlined first. A classifier of images then shows where it sees each label; cells in which it does get the
    label, and teach a classifier of cells; that one labels the cells of the next cycle, until held-out images gain no more.
    The same command goes on where it was stopped. The run folder is a model for `malpighi segment`.

    [bold]Examples[/bold]

        malpighi cycle hpa/ --task cells -o run                   # hpa/train.csv (ID,Label), hpa/train/ID_red.png, …

        malpighi cycle manifest.csv -r cells-1st -o run --set image.model.encoder=convnext_tiny

        malpighi segment "new/A1_{red,green,blue,yellow}.png" -m run -o out
    """
    from malpighi.tasks.cells.cycle import cycle as run_cycle

    result = run_cycle(
        data, recipe, out, overrides=overrides or (), spacing=spacing, only=only_of(only), overwrite=overwrite, talk=talk()
    )
    if json:
        print_json(result)
