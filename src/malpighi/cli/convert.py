"""`malpighi convert`: images to OME-Zarr, volumes and labels of any format to any other."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from malpighi.cli.terminal import JSON_OPTION, SPACING_OPTION, print_json, progress, say
from malpighi.errors import RecipeError
from malpighi.geometry import Spacing


class Style(StrEnum):
    """Formats of single objects, where the suffix does not say which."""

    COCO = "coco"
    HPA = "hpa"
    SARTORIUS = "sartorius"


class Order(StrEnum):
    """Which way run lengths run."""

    F = "F"
    C = "C"


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Image, volume or folder of slices, label file, or prediction.")
    ],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT", help="The suffix says the format; without one, a folder: a PNG an object, or a TIFF a slice."
        ),
    ],
    image: Annotated[Path | None, typer.Option("--image", help="The image that the labels belong to.")] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Class of the values 1, 2, … or of unnamed objects; or one to keep.")
    ] = None,
    spacing: Annotated[Spacing | None, SPACING_OPTION] = None,
    order: Annotated[
        Order | None, typer.Option("--order", help="Run lengths down the columns (F) or along the rows (C); of volumes C.")
    ] = None,
    row: Annotated[str, typer.Option("--row", help="Id of the image's row in a run-length table.")] = "",
    width: Annotated[int | None, typer.Option("--width", min=1, help="Of the image, where there is none to ask.")] = None,
    height: Annotated[int | None, typer.Option("--height", min=1, help="Of the image, where there is none to ask.")] = None,
    objects: Annotated[
        bool, typer.Option("--objects", help="Number the objects in label images; one CSV row an object.")
    ] = False,
    style: Annotated[
        Style | None,
        typer.Option(
            "--format", help="Of single objects: coco (.json), hpa or sartorius (.csv); else polygons or run lengths."
        ),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option("--like", help="Sample submission: the ids, their order and the column of a .csv of predictions."),
    ] = None,
    organs: Annotated[
        Path | None,
        typer.Option("--organs", help="CSV of id and organ: of several classes, the one called so is an image's row."),
    ] = None,
    column: Annotated[str, typer.Option("--column", help="Name of a submission's run-length column.", show_default="rle")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Convert an image to OME-Zarr, or labels from any format to any other.

    Labels: .geojson[.gz] (QuPath), .json (polygons), .zip and .roi (ImageJ), .csv (run lengths), .png and .tif (label
    images), .zarr (OME-Zarr labels), a folder of one PNG an object, COCO JSON, the HPA table of cells. Pixels are outlined
    exactly, along their edges. A COCO file or HPA table is converted into another with all its images, or with --row one.

    A folder of predictions becomes one .csv, a row an image: HuBMAP's submissions. An empty mask is an empty row.

    Tables of cells: .h5ad (AnnData, for scanpy and squidpy).

    Volumes: .zarr, .nii[.gz] (NIfTI), .tif (a page a slice), a folder of TIFF slices; images voxel by voxel, masks too
    unless --class names what they show. Masks of volumes also as .csv: a row of run lengths a slice.

    [bold]Examples[/bold]

        malpighi convert slide.svs slide.ome.zarr

        malpighi convert train.csv masks.geojson --row 2f6ecfcdf --image 2f6ecfcdf.tiff --class glomerulus

        malpighi convert annotated.geojson mask.png --image slide.svs --class tuft --class capsule

        malpighi convert prediction/ submission.csv --class glomerulus --row 2f6ecfcdf

        malpighi convert out/ submission.csv --like sample_submission.csv

        malpighi convert out/ submission.csv --organs test.csv

        malpighi convert nuclei.png nuclei.coco.json --class nucleus

        malpighi convert submission.csv cells.geojson --row ID

        malpighi convert instances.json submission.csv --format hpa

        malpighi convert out/ cells.h5ad

        malpighi convert kidney_1_dense/images kidney_1.ome.zarr --spacing 50,50,50

        malpighi convert submission.csv mask.nii.gz --image kidney_5.nii.gz --row kidney_5 --class vessel
    """
    from rich.markup import escape

    from malpighi.tasks.convert import convert as run
    from malpighi.tasks.convert_asked import Conversion

    if (width is None) != (height is None):
        raise RecipeError("--width and --height go together; give both, or name the image with --image")
    asked = Conversion(
        source=source,
        target=output,
        image=image,
        classes=tuple(classes or ()),
        spacing=spacing,
        order=None if order is None else "F" if order is Order.F else "C",
        row=row,
        size=None if width is None or height is None else (height, width),
        objects=objects,
        overwrite=overwrite,
        style="" if style is None else style.value,
        like=like,
        organs=organs,
        column=column,
    )
    with progress("converting") as advance:
        told = run(asked, lambda done, total: advance(1, total=total))
    count = f", {told['objects']} objects or rows" if "objects" in told else ""
    if "empty" in told:
        count = f", {told['objects']} rows, {len(told['empty'])} of them empty"
    if told.get("left_out"):
        left = f"{len(told['left_out'])} of the predictions not in {like} and left out, such as {told['left_out'][0]}"
        say(f"[yellow]note:[/yellow] {escape(left)}")
    say(f"{told['kind']}{count}: [bold]{escape(told['output'])}[/bold]")
    if json:
        print_json(told)
