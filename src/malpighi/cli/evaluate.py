"""`malpighi evaluate`: predictions and truth in, score tables out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from malpighi.cli.terminal import JSON_OPTION, ONLY_OPTION, SPACING_OPTION, only_of, print_json, talk
from malpighi.geometry import Spacing


def evaluate(
    prediction: Annotated[Path, typer.Argument(help="Output of `segment`, or masks or outlines named as the images.")],
    truth: Annotated[Path, typer.Argument(help="Annotated data set, or one annotation file.")],
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="What unnamed labels of the truth mean; repeatable.")
    ] = None,
    spacing: Annotated[Spacing | None, SPACING_OPTION] = None,
    only: Annotated[list[str] | None, ONLY_OPTION] = None,
    objects: Annotated[bool, typer.Option(help="Score objects (F1 at IoU .5) too.")] = True,
    tolerance: Annotated[
        str | None,
        typer.Option(metavar="2um|1voxel", help="How far apart surfaces of volumes may lie for NSD. Default: 1 voxel."),
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="HTML page to write.")] = None,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Score predictions: Dice, IoU, precision, recall and object F1 by class, organ, stain and donor, with intervals.

    Scores are at the image's full resolution; Dice is the mean over images, intervals are over donors.
    Volumes get surface Dice (at tolerance 0), NSD, clDice and the error in the number of pieces too.

    [bold]Examples[/bold]

        malpighi evaluate out/ slides/ --report scores.html

        malpighi evaluate out/slide7 slide7.geojson --json

        malpighi evaluate out/ volumes/ --tolerance 2um
    """
    from malpighi.metrics.report import text_table
    from malpighi.tasks.evaluate import evaluate as run_evaluate

    result = run_evaluate(
        prediction,
        truth,
        classes=classes or (),
        spacing=spacing,
        only=only_of(only),
        objects=objects,
        tolerance=tolerance,
        report=report,
        talk=talk(),
    )
    if json:
        print_json(result)
    else:
        print(text_table(result))  # noqa: T201 (the answer itself)
