"""`malpighi segment`: images and a run in, masks, outlines, tables and a report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from malpighi.cli.terminal import JSON_OPTION, SET_OPTION, SPACING_OPTION, print_json, talk
from malpighi.geometry import Spacing


def segment(
    images: Annotated[list[str], typer.Argument(help="Slides or images, folders of them, or patterns.")],
    model: Annotated[
        Path, typer.Option("--model", "-m", help="Run of `malpighi train`, an ensemble, or a starter model: nuclei.")
    ],
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder to make; each image gets one of its own in it.")],
    overrides: Annotated[list[str] | None, SET_OPTION] = None,
    spacing: Annotated[Spacing | None, SPACING_OPTION] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Keep the probabilities too, 8 bits each.")] = False,
    within: Annotated[
        Path | None,
        typer.Option(help="Earlier prediction (or a folder of them): look only inside the convex hull of what it found."),
    ] = None,
    margin: Annotated[float, typer.Option(help="Make that hull larger by so many µm (px, where the size is unknown).")] = 0.0,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unreadable tile or image.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict again what is finished.")] = False,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Segment images of any size in constant memory; the same command goes on where it was stopped.

    Each image's folder holds labels.ome.zarr, objects.geojson.gz (drag it into QuPath; not of volumes), objects.parquet and
    report.html. A network that tells objects apart gives a label image of object numbers. To a run on volumes a folder of
    slices is one volume. Of a run of `malpighi cycle --task cells` it holds cells.parquet instead (a row a cell, its scores
    by class), and submission.csv beside it holds all images.
    Unreadable tiles are left out and listed (of several images, unreadable images too), and the command ends with exit
    code 5. An output made with other options or by another network is never replaced without --overwrite.

    [bold]Examples[/bold]

        malpighi segment slide.svs -m run -o out

        malpighi segment image.tif -m nuclei -o out

        malpighi segment slides/*.tiff -m run -o out --set predict.flips=d4 --set predict.thresholds=[0.4]

        malpighi segment slide.svs -m ensemble -o out --set ensemble.organ=kidney

        malpighi segment kidney/ -m run3d -o out --within out2d --margin 500 --set predict.top=0.2

        malpighi segment "hpa/A1_{red,green,blue,yellow}.png" -m run-cells -o out
    """
    from malpighi.errors import DamagedOutput, RecipeError
    from malpighi.tasks.cells.run import is_cell_run

    given: dict[str, Any] = {"overrides": overrides or (), "spacing": spacing, "strict": strict, "overwrite": overwrite}
    if is_cell_run(model):
        from malpighi.tasks.cells.predict import segment_cells

        if probabilities or within:
            raise RecipeError(
                "--probabilities and --within are for masks; a run of cells gives each cell its scores, leave them out"
            )
        result = segment_cells(images, model, out, **given, talk=talk())
    else:
        from malpighi.tasks.segment import segment as run_segment

        result = run_segment(
            images, model, out, **given, probabilities=probabilities, within=within, margin=margin, talk=talk()
        )
    if json:
        print_json(result)
    left_out = [
        f"{n} {kind}{'s' * (n > 1)}" for kind, n in (("image", len(result["failed"])), ("tile", len(result["damage"]))) if n
    ]
    if left_out:
        raise DamagedOutput(f"unreadable and left out, see above: {' and '.join(left_out)}; the rest is done: {out}")
