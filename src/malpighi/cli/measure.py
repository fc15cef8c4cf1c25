"""`malpighi measure`: a finished mask in, what an atlas needs of it out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from malpighi.cli.terminal import JSON_OPTION, SPACING_OPTION, print_json, talk
from malpighi.errors import RecipeError
from malpighi.geometry import Spacing


def measure(
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")],
    vessels: Annotated[
        Path | None, typer.Option("--vessels", help="Vessel mask, 2-D or 3-D: output of `segment`, NIfTI, TIFF, Zarr, slices.")
    ] = None,
    spacing: Annotated[Spacing | None, SPACING_OPTION] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Which class is the vessels; the classes of the values 1, 2, … if many.")
    ] = None,
    tissue: Annotated[
        Path | None, typer.Option("--tissue", help="Mask of the same size; densities and distances count inside it.")
    ] = None,
    objects: Annotated[
        Path | None,
        typer.Option("--objects", help="Objects whose distance is wanted: Parquet (z_um, y_um, x_um), outlines, label image."),
    ] = None,
    prune: Annotated[
        float, typer.Option("--prune", help="Twigs shorter than so many radii of the vessel they stand on go; 0 keeps all.")
    ] = 1.5,
    grid: Annotated[
        float | None,
        typer.Option("--grid", help="Side of a box of the density map, µm (or voxels). Default 200 µm, 64 voxels."),
    ] = None,
    distance_map: Annotated[
        bool, typer.Option("--distance-map", help="Write the distance of every voxel as an OME-Zarr too.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")] = False,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Measure a mask. For now there is one kind: --vessels, the graph of a vessel tree or network, its density, and distances.

    The folder holds nodes.parquet, branches.parquet (length, radius, tortuosity, generation), points.parquet (centre lines),
    graph.graphml (networkx, Gephi), density.parquet, summary.json, report.html, and objects.parquet if asked for. A volume of
    any size is worked block by block; lengths are in µm, or in voxels where nobody gives their size.

    [bold]Examples[/bold]

        malpighi measure --vessels out/kidney -o graph

        malpighi measure --vessels vessels.nii.gz --tissue cortex.nii.gz --objects glomeruli.parquet -o graph --json

        malpighi measure --vessels slices/ --spacing 5,1.2,1.2 --prune 2 -o graph
    """
    if vessels is None:
        raise RecipeError("nothing to measure: give --vessels MASK (the only kind there is so far)")
    from malpighi.tasks.measure import VesselOptions, measure_vessels

    told = measure_vessels(
        vessels,
        out,
        spacing=spacing,
        classes=classes or (),
        tissue=tissue,
        objects=objects,
        options=VesselOptions(prune=prune, grid=grid, keep_map=distance_map),
        overwrite=overwrite,
        talk=talk(),
    )
    if json:
        print_json(told)
