"""`malpighi evaluate`: predictions and truth in, score tables out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from malpighi.cli.terminal import JSON_OPTION, ONLY_OPTION, SPACING_OPTION, only_of, print_json, talk
from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Spacing


def evaluate(
    prediction: Annotated[
        Path, typer.Argument(help="Output of `segment`, masks or outlines named as the images, or a table of labelled cells.")
    ],
    truth: Annotated[
        Path, typer.Argument(help="Annotated data set, one annotation file, or a table of cells: HPA's CSV, COCO JSON.")
    ],
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
    iou: Annotated[
        float | None,
        typer.Option(min=0.01, max=1.0, help="Of labelled cells: from which IoU on a mask is found. Default: 0.6."),
    ] = None,
    sizes: Annotated[
        Path | None, typer.Option("--sizes", help="Of a submission: CSV with the images' width and height, and attributes.")
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option("--by", help="Of a submission: column of TRUTH or --sizes to score by; repeatable.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="HTML page to write.")] = None,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Score predictions: Dice, IoU, precision, recall and object F1 by class, organ, stain and donor, with intervals.

    Scores are at the image's full resolution; Dice is the mean over images, intervals are over donors.
    Where both sides tell objects apart, AP50, mean precision and PQ are given too.
    Volumes get surface Dice (at tolerance 0), NSD, clDice and the error in the number of pieces too.
    Where the truth is a table of labelled cells (HPA's ID,ImageWidth,ImageHeight,PredictionString, or COCO JSON) cells get
    mAP at --iou as HPA 2021 and Open Images count it, by class, and there are scores of images and of masks.
    Two tables of run lengths (id,predicted or id,rle) are scored as HuBMAP's competitions do: the mean Dice of all ids.

    [bold]Examples[/bold]

        malpighi evaluate out/ slides/ --report scores.html

        malpighi evaluate out/slide7 slide7.geojson --json

        malpighi evaluate out/ volumes/ --tolerance 2um

        malpighi evaluate out/ cells.csv --json

        malpighi evaluate submission.csv coco.json --iou 0.5

        malpighi evaluate submission.csv train.csv --sizes sizes.csv --by organ
    """
    from malpighi.tasks.evaluate_submission import evaluate_submission, is_submission

    if is_submission(prediction, truth):
        given = classes or only or not objects or any(each is not None for each in (spacing, tolerance, iou, report))
        if given:
            raise RecipeError(
                "--class, --only, --spacing, --no-objects, --tolerance, --iou and --report are not for tables of run lengths: every "
                "id counts, in pixels; leave them out"
            )
        from malpighi.metrics.official import official_text

        summary = evaluate_submission(prediction, truth, sizes=sizes, by=by or ())
        if json:
            print_json(summary)
        else:
            print(official_text(summary))  # noqa: T201 (the answer itself)
        return
    if sizes is not None or by:
        for path in (prediction, truth):
            if not path.exists():
                raise DataError(f"{path}: does not exist; check the path")
        raise RecipeError(
            f"--sizes and --by are for two tables of run lengths (id,predicted or id,rle); {prediction} and {truth} are not both such"
        )
    from malpighi.tasks.cells.labelled_tables import is_cell_table

    if is_cell_table(truth) and (truth.suffix.lower() != ".json" or is_cell_table(prediction)):
        if spacing is not None or only or tolerance is not None or not objects:
            raise RecipeError(
                "--spacing, --only, --tolerance and --no-objects are not for tables of labelled cells: they name pixels, images and "
                "objects themselves"
            )
        from malpighi.tasks.cells.score import IOU, evaluate_cells
        from malpighi.tasks.cells.score import text_table as cell_table

        least = IOU if iou is None else iou
        scores = evaluate_cells(prediction, truth, classes=classes or (), iou=least, report=report, talk=talk())
        if json:
            print_json(scores)
        else:
            print(cell_table(scores))  # noqa: T201 (the answer itself)
        return
    if iou is not None:
        raise RecipeError(f"--iou is for tables of labelled cells; {truth} is none, its objects are found from an IoU of .5 on")
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
