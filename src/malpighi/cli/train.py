"""`malpighi train`: a data set and a recipe in, a run folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
from malpighi.geometry import Spacing


def train(
    data: Annotated[Path, typer.Argument(help="Folder in a known layout, a manifest.csv, or one image.")],
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Name of a recipe, or a .toml file.")] = "auto",
    out: Annotated[Path, typer.Option("--output", "-o", help="Run folder to make.")] = Path("run"),
    overrides: Annotated[list[str] | None, SET_OPTION] = None,
    spacing: Annotated[Spacing | None, SPACING_OPTION] = None,
    only: Annotated[list[str] | None, ONLY_OPTION] = None,
    classes: Annotated[str, CLASSES_OPTION] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin again, whatever the run folder holds.")] = False,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Train a recipe on a data set; the same command goes on with an interrupted run.

    Ctrl-C saves after the current step. A run folder holds recipe.toml, plan.json (each automatic value with its reason),
    weights.safetensors, metrics.jsonl, TensorBoard files and report.html.

    [bold]Examples[/bold]

        malpighi train slides/ -o run

        malpighi train slides/ -r auto -o run --set train.minutes=60 --set model.encoder=resnet34

        malpighi train kidneys/ -o run --only class=tuft,capsule --only stain=pas --spacing 0.5
    """
    from malpighi.tasks.train import train as run_train

    result = run_train(
        data,
        recipe,
        out,
        overrides=with_classes(overrides, classes),
        spacing=spacing,
        only=only_of(only),
        overwrite=overwrite,
        talk=talk(),
    )
    if json:
        print_json(result)
