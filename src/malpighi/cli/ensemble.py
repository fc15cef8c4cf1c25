"""`malpighi ensemble`: finished runs in, one model out, fitted on what they held out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from malpighi.cli.terminal import JSON_OPTION, print_json, say, talk


def ensemble(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of `malpighi train`: folds, seeds, scales, networks.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder to make; `segment -m` takes it.")],
    by: Annotated[str | None, typer.Option(help="Attribute by which thresholds may differ: organ, stain, …")] = None,
    how: Annotated[str, typer.Option(help="weighted, mean, union or vote.")] = "weighted",
    search: Annotated[str, typer.Option(help="Which weights are searched: convex, evolution or both.")] = "both",
    nested: Annotated[bool, typer.Option(help="Score what was fitted on groups left out, and decide by that.")] = True,
    data: Annotated[Path | None, typer.Option(help="Where the data set lies now, if it was moved.")] = None,
    seed: Annotated[int, typer.Option(help="Of sample and search.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Fit again, whatever the folder holds.")] = False,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Join runs that were trained on the same data; of one run alone, fit its thresholds.

    Each image is predicted by the runs that were not trained on it. On these predictions weights and thresholds are fitted,
    and judged on groups (donors) left out of the fit: searched weights are used only where they beat the plain mean there.
    The same command goes on where it was stopped. The folder holds ensemble.json and report.html.

    [bold]Examples[/bold]

        malpighi ensemble run-fold* -o ensemble

        malpighi ensemble run -o fitted --by organ

        malpighi ensemble unet-f* fpn-f* -o vote --how vote

        malpighi segment slide.svs -m fitted -o out --set ensemble.organ=kidney
    """
    from rich.markup import escape

    from malpighi.tasks.ensemble.make import ensemble as run

    options: dict[str, Any] = {"by": by, "how": how, "search": search, "nested": nested, "data": data, "seed": seed}
    told = run(runs, out, **options, overwrite=overwrite, talk=talk())
    chosen = next(each for each in told["candidates"] if each["name"] == told["chosen"])
    believed = chosen["nested"] if chosen["by"] is None else chosen["by"]
    score = f"in sample {chosen['fooled']:.4f}" if believed is None else f"{believed:.4f} on images left out"
    say(f"{told['how']} of {len(told['members'])}, Dice {score}: [bold]{escape(str(out))}[/bold]")
    if json:
        print_json({key: value for key, value in told.items() if key != "curves"})
