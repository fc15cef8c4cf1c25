"""`malpighi inspect`: what is in a data folder, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malpighi.cli.terminal import (
    CLASSES_OPTION,
    JSON_OPTION,
    ONLY_OPTION,
    SET_OPTION,
    SPACING_OPTION,
    console,
    names_of,
    only_of,
    print_json,
    progress,
    talk,
)
from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Spacing

if TYPE_CHECKING:
    from malpighi.sampling.survey import Survey


def inspect(
    data: Annotated[Path, typer.Argument(help="Folder in a known layout, a manifest (.csv), or one image.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the report; default inspect-NAME in this folder.")
    ] = None,
    spacing: Annotated[Spacing | None, SPACING_OPTION] = None,
    only: Annotated[list[str] | None, ONLY_OPTION] = None,
    classes: Annotated[str, CLASSES_OPTION] = "",
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write the page with plots and pictures.")] = True,
    augmentations: Annotated[
        Path | None,
        typer.Option(
            "--augmentations", help="Instead: write what augmentation does to tiles, as a page (.html) or picture (.png)."
        ),
    ] = None,
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", help="Whose augmentation; without one every transform that there is.")
    ] = "",
    overrides: Annotated[list[str] | None, SET_OPTION] = None,
    json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Count, measure and check a data set before training on it.

    Prints counts by class, organ, stain and donor, sizes, pixel sizes and
    intensity, and what is broken: files that cannot be read, masks that do not
    match their image, the same image under two donors. The report folder holds
    report.html, survey.json and cases.csv (a line a case).
    Exit code 3: something is broken.

    Known layouts: manifest.csv (columns image, labels, image_labels, class,
    donor, organ, stain, spacing, split, weight, regions, …: see README.md);
    images/ and masks/ with the same names; slides with GeoJSON or ImageJ zips; the HuBMAP 2021 and 2022 folders;
    STRUCTURE/STAIN/{images,masks}; one PNG an object; HPA Single Cell 2021;
    NAME.csv (Id, Target) beside NAME/; images alone.

    ID_red.png, ID_green.png, … of one folder are one image of several channels.

    Volumes: TIFF stacks, NIfTI and OME-Zarr as any image; folders of slices as
    images/NAME/ and masks/NAME/, as NAME/{images,masks}, or as SenNet 2023 has
    them; one folder of slices where --spacing is given as z,y,x.

    [bold]Examples[/bold]

        malpighi inspect slides/ --spacing 0.5

        malpighi inspect tiles/ --only class=tuft,capsule --only stain=PAS

        malpighi inspect kidney_5/ --spacing 50,50,50

        malpighi inspect tiles/ --recipe kidney-4th --augmentations page.html
    """
    from rich.markup import escape

    from malpighi.sampling.layouts import find_cases
    from malpighi.sampling.survey import survey

    names = names_of(classes)
    if augmentations is not None:
        from malpighi.tasks.augmentations import show_augmentations

        shown = show_augmentations(
            data,
            augmentations,
            recipe=recipe,
            overrides=overrides or (),
            spacing=spacing,
            only=only_of(only),
            classes=names,
            talk=talk(),
        )
        console().print(f"augmentations: {escape(str(shown['page']))}", style="bold", soft_wrap=True)
        if json:
            print_json(shown)
        return
    if recipe or overrides:
        raise RecipeError("--recipe and --set say whose augmentation is shown; give --augmentations page.html with them")
    table = find_cases(data, spacing=spacing, classes=names, where=only_of(only))
    with progress("measuring", total=len(table)) as advance:
        found = survey(table, advance)
    result = found.as_dict()
    _print(found)
    if report:
        from malpighi.reports.survey import case_table, survey_report

        folder = output or Path(f"inspect-{data.resolve().name}")
        result["report"] = str(survey_report(found).write(folder / "report.html"))
        _write(folder, found, result, case_table(found))
        console().print(f"report: {escape(str(result['report']))}", style="bold", soft_wrap=True)
    if json:
        print_json(result)
    if found.problems:
        raise DataError(f"{data}: {len(found.problems)} of {len(table)} cases are broken, see above; repair or remove them")


def _print(found: Survey) -> None:
    from rich.markup import escape
    from rich.table import Table

    from malpighi.reports.survey import headline
    from malpighi.reports.words import value_text

    facts = Table(box=None, show_header=False)
    for name, value in headline(found).items():
        facts.add_row(name, f"[bold]{escape(value_text(value))}[/bold]")
    console().print(facts)
    for key in ("organ", "stain", "donor", "split"):
        if found.tells(key):
            counts = list(found.table.counts(key).items())
            shown = ", ".join(f"{value} {count}" for value, count in counts[:20])
            console().print(escape(f"{key}: {shown}" + (f", … ({len(counts)})" if len(counts) > 20 else "")))
    for title, rows in _tables(found):
        if rows:
            told = [name for name in rows[0] if any(row[name] is not None for row in rows)]
            if any(name.endswith("µm") for name in told):  # 80 columns do not hold both
                told = [name for name in told if not name.endswith("px")]
            table = Table(*told, box=None, title=title, title_justify="left")
            for row in rows:
                table.add_row(*(escape(value_text(row[name])) for name in told))
            console().print(table)
    for line in (*found.table.notes, *found.warnings):
        console().print(f"[yellow]note:[/yellow] {escape(line)}", soft_wrap=True)
    for line in found.problems:
        console().print(f"[red]broken:[/red] {escape(line)}", soft_wrap=True)


def _tables(found: Survey) -> list[tuple[str, list[dict[str, Any]]]]:
    """Titles and rows; classes that only whole images are labelled with have no row among those that are drawn."""
    from malpighi.reports.survey import class_rows, label_rows

    drawn = class_rows(found) if found.table.labelled or not found.image_labels else []
    spread = ", ".join(f"{images} with {n}" for n, images in found.labels_an_image.items())
    return [
        ("classes", drawn),
        (f"image labels (images by their number of labels: {spread})", label_rows(found)),
        ("intensity", found.intensity),
    ]


def _write(folder: Path, found: Survey, result: dict[str, object], cases: str) -> None:
    """survey.json and cases.csv beside the page."""
    import json

    from malpighi.annotations.files import replacing

    for name, text in (("survey.json", json.dumps(result, indent=1, ensure_ascii=False)), ("cases.csv", cases)):
        with replacing(folder / name) as part:
            part.write_text(text + ("" if text.endswith("\n") else "\n"), encoding="utf-8")
