"""`malpighi`: the table of commands. Each command is one short file; nothing heavy is imported before it is needed."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from malpighi.cli.terminal import guarded

app = typer.Typer(
    name="malpighi",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, run, score and review segmentation of human tissue, from organ to cell.\n\n"
    "Start with `malpighi demo`; then `malpighi inspect` your own folder.",
    epilog="Exit codes: 0 done, 2 wrong usage or recipe, 3 bad input data, 4 output cannot be written, "
    "5 done but parts of the input were unreadable, 130 interrupted.",
)


def register() -> None:
    """Every command, in the order that help lists them."""
    from malpighi.cli import (
        convert,
        cycle,
        demo,
        doctor,
        ensemble,
        evaluate,
        inspect,
        measure,
        pseudo,
        recipes,
        relabel,
        segment,
        train,
    )

    commands: list[tuple[str, Callable[..., None], str]] = [
        ("demo", demo.demo, "The whole main job on phantoms, in minutes."),
        ("inspect", inspect.inspect, "Count, measure and check a data set."),
        ("train", train.train, "Train a recipe; goes on where it was stopped."),
        ("cycle", cycle.cycle, "Make labels, learn from them, again."),
        ("ensemble", ensemble.ensemble, "Runs as one model, on held-out images."),
        ("segment", segment.segment, "Segment images of any size; goes on, too."),
        ("evaluate", evaluate.evaluate, "Score predictions against truth."),
        ("pseudo", pseudo.pseudo, "Make sparse labels dense with a prediction."),
        ("relabel", relabel.relabel, "Outlines that a person edited → labels."),
        ("measure", measure.measure, "Vessel graphs, densities and distances."),
        ("convert", convert.convert, "Images and labels from format to format."),
        ("recipes", recipes.recipes, "List the recipes, or print one."),
        ("doctor", doctor.doctor, "Check this machine and the installation."),
    ]
    for name, function, about in commands:
        app.command(name, short_help=about)(guarded(function))


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"malpighi {version('malpighi')}")  # noqa: T201 (the answer itself)
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Options that hold for every command."""


def run() -> None:
    """Entry point of the `malpighi` script."""
    register()
    if sys.argv[1:] in ([], ["--help"], ["-h"]):
        app.rich_markup_mode = (
            None  # the list of commands has no markup, and loading what renders it takes longer than the rest
        )
    app()
