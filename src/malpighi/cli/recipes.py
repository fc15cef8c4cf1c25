"""`malpighi recipes`: list the recipes, or print one to copy and edit."""

from __future__ import annotations

from typing import Annotated

import typer

from malpighi.cli.terminal import JSON_OPTION, console, print_json


def recipes(
    name: Annotated[str | None, typer.Argument(help="Recipe to print; without it all are listed.")] = None,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List the recipes, or print one to copy and edit.

    [bold]Examples[/bold]

        malpighi recipes

        malpighi recipes auto > mine.toml; malpighi train DATA -r mine.toml -o RUN
    """
    from malpighi.recipes.load import list_recipes, recipe_text

    if name is not None:
        text = recipe_text(name)
        if json:
            print_json({"name": name, "toml": text})
        else:
            print(text, end="")  # noqa: T201 (the answer itself)
        return
    known = list_recipes()
    if json:
        print_json({"recipes": known})
        return
    from rich.table import Table

    table = Table("recipe", "what it is", box=None)
    for recipe, about in known.items():
        table.add_row(f"[bold]{recipe}[/bold]", about)
    console().print(table)
