"""`malpighi segment`: images and a run in, masks, outlines, tables and a report out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malpighi.cli.terminal import JSON_OPTION, SET_OPTION, print_json, talk

if TYPE_CHECKING:
    pass


def segment(
    images: Annotated[list[str], typer.Argument(help="Slides or images, folders of them, or patterns.")],
    model: Annotated[Path, typer.Option("--model", "-m", help="Run folder of `malpighi train`.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder to make; each image gets one of its own in it.")],
    overrides: Annotated[list[str] | None, SET_OPTION] = None,
    spacing: Annotated[
        str | None,
        typer.Option("--spacing", help='Level-0 pixel size in µm where the file does not say, or "px": work in pixels.'),
    ] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Keep the probabilities too, 8 bits each.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unreadable tile or image.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict again what is finished.")] = False,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Segment images of any size in constant memory; the same command goes on where it was stopped.

    Each image's folder holds labels.ome.zarr, objects.geojson.gz (drag it into QuPath), objects.parquet and report.html.
    Unreadable tiles are left out and listed (of several images, unreadable images too), and the command ends with exit
    code 5. An output made with other options or by another network is never replaced without --overwrite.

    [bold]Examples[/bold]

        malpighi segment slide.svs -m run -o out

        malpighi segment slides/*.tiff -m run -o out --set predict.flips=d4 --set predict.thresholds=[0.4]
    """
    from malpighi.errors import DamagedOutput
    from malpighi.tasks.segment import segment as run_segment

    result = run_segment(
        images,
        model,
        out,
        overrides=overrides or (),
        spacing=_spacing(spacing),
        probabilities=probabilities,
        strict=strict,
        overwrite=overwrite,
        talk=talk(),
    )
    if json:
        print_json(result)
    left_out = [
        f"{n} {kind}{'s' * (n > 1)}" for kind, n in (("image", len(result["failed"])), ("tile", len(result["damage"]))) if n
    ]
    if left_out:
        raise DamagedOutput(f"unreadable and left out, see above: {' and '.join(left_out)}; the rest is done: {out}")


def _spacing(text: str | None):  # type: ignore[no-untyped-def]
    from malpighi.errors import RecipeError, SpacingError
    from malpighi.geometry import Spacing

    if text is None:
        return None
    if text == "px":
        return Spacing.pixels(2)
    try:
        return Spacing.um(float(text), 2)
    except (ValueError, SpacingError) as error:
        raise RecipeError(f'--spacing {text}: give µm per pixel as a number, or "px" to work in pixels') from error
