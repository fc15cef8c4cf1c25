"""`malpighi recipes`: list the recipes, or print one to copy and edit."""

from __future__ import annotations

from typing import Annotated

import typer

from malpighi.cli.terminal import JSON_OPTION, print_json

TASKS = {
    "auto": "any data",
    "ftu": "units of tissue in slides and images (malpighi train)",
    "vessels": "vessels in volumes (malpighi train)",
    "instances": "objects that touch (malpighi train)",
    "cells": "single cells from labels of images (malpighi cycle)",
}


def recipes(
    name: Annotated[str | None, typer.Argument(help="Recipe to print; without it all are listed.")] = None,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List the recipes, or print one to copy and edit.

    [bold]Examples[/bold]

        malpighi recipes

        malpighi recipes auto > mine.toml; malpighi train DATA -r mine.toml -o RUN
    """
    from malpighi.recipes.load import recipe_text, recipes_by_task

    if name is not None:
        text = recipe_text(name)
        if json:
            print_json({"name": name, "toml": text})
        else:
            print(text, end="")  # noqa: T201 (the answer itself)
        return
    groups = recipes_by_task()
    if json:
        print_json({"recipes": {recipe: about for group in groups.values() for recipe, about in group.items()}})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("recipe", "what it is", box=None)
    for task, title in TASKS.items():
        table.add_row("", f"\n[italic]{title}[/italic]")
        for recipe, about in groups[task].items():
            table.add_row(f"[bold]{recipe}[/bold]", about)
    Console(highlight=False).print(table)  # the answer itself: to be piped and searched
