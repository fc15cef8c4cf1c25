"""`malpighi demo`: the whole main job on phantoms, in minutes on a laptop CPU."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from malpighi.cli.terminal import JSON_OPTION, print_json, talk


class DemoTask(StrEnum):
    """Which machine configuration is shown."""

    ftu = "ftu"
    vessels = "vessels"
    cells = "cells"


def demo(
    task: Annotated[
        DemoTask,
        typer.Argument(
            help="ftu: glomeruli in kidney slides; vessels: blood vessels in volumes; cells: labels of cells from labels of images."
        ),
    ] = DemoTask.ftu,
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")] = Path("malpighi-demo"),
    seed: Annotated[int, typer.Option(help="Other phantoms, other weights.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin again, whatever the folder holds.")] = False,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Make phantoms, train on them, segment what was not seen, score it, and name the report.

    Needs no data, no network and no GPU. About three minutes on two cores, "vessels" and "cells" four.

    [bold]Examples[/bold]

        malpighi demo

        malpighi demo vessels -o kidney-vessels

        malpighi demo cells

        malpighi demo ftu -o /tmp/demo --seed 7 --json
    """
    from malpighi.tasks.demo import demo as run_demo

    result = run_demo(out, task.value, seed=seed, overwrite=overwrite, talk=talk())
    if json:
        print_json(result)
