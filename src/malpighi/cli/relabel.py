"""`malpighi relabel`: outlines that a person edited over predictions in, labels to train on out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from malpighi.cli.terminal import JSON_OPTION, print_json, say, talk


def relabel(
    predictions: Annotated[Path, typer.Argument(help="What `segment -o` wrote, of one image or several.")],
    edited: Annotated[Path, typer.Argument(help="Edited GeoJSON named as its image, or a folder of such.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")],
    by: Annotated[str, typer.Option("--by", help="Who annotated.")],
    at: Annotated[
        str | None, typer.Option("--at", metavar="DATE", help="When, as 2024-05-31 or 2024-05-31T14:30; now where not given.")
    ] = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="A file may hold none of the objects predicted: no object, or new ones alone.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier call left there.")] = False,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Labels from predictions that a person went over: who drew what, when, and what was wrong.

    Open OUT/IMAGE/objects.geojson.gz in QuPath, correct it, export all objects as GeoJSON under the image's name. The whole image
    counts as looked at: what nobody outlined is background. manifest.csv in the new folder is a data set for `malpighi train`.

    [bold]Examples[/bold]

        malpighi segment slides/*.svs -m run -o out

        malpighi relabel out edited/ -o round1 --by "A. Smith" --at 2024-05-31

        malpighi train round1/manifest.csv -o run2
    """
    from rich.markup import escape

    from malpighi.tasks.edit_tables import spoken
    from malpighi.tasks.relabel import relabel as run

    told = run(predictions, edited, out, by=by, at=at, allow_empty=allow_empty, overwrite=overwrite, talk=talk())
    say(f"[bold]{spoken(told)}[/bold]; train on {escape(told['output'])}/manifest.csv")
    if json:
        print_json(told)
