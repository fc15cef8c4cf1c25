"""`malpighi pseudo`: a sparse annotation and a prediction in, dense labels to train on out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from malpighi.cli.terminal import JSON_OPTION, print_json, say, talk


def pseudo(
    prediction: Annotated[Path, typer.Argument(help="What `segment --probabilities` wrote for the image.")],
    labels: Annotated[Path, typer.Argument(help="Sparse annotation of the same image.")],
    rate: Annotated[float, typer.Option("--rate", help="Share of the true voxels that is annotated, such as 0.65.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Mask to write, NAME.ome.zarr.")],
    label: Annotated[str | None, typer.Option("--class", help="Which class, where several are predicted.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Make a sparse annotation dense: keep all of it and add what the prediction is surest of, up to the stated rate.

    The threshold is the one at which annotated voxels are the share RATE of the mask. The mask may stand as labels in a
    manifest; what it was made from is in its attributes.

    [bold]Examples[/bold]

        malpighi segment kidney_2/ -m run -o out --probabilities

        malpighi pseudo out/kidney_2 kidney_2/labels --rate 0.65 -o kidney_2_dense.ome.zarr
    """
    from rich.markup import escape

    from malpighi.tasks.pseudo import pseudo as run

    told = run(prediction, labels, rate, out, label=label, overwrite=overwrite, talk=talk())
    say(
        f"threshold {told['threshold']:.4f}: {told['annotated']:,} voxels annotated, {told['added']:,} added, "
        f"rate {told['rate']:.1%}: [bold]{escape(told['output'])}[/bold]"
    )
    if json:
        print_json(told)
