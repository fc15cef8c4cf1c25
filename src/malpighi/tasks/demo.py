"""`demo`, whole: phantoms → train → segment an unseen one → score → report. Every step is the command users type."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from malpighi.annotations.geojson import write_geojson
from malpighi.errors import OutputError
from malpighi.phantoms.slide import SlidePhantom
from malpighi.phantoms.vessels import VesselPhantom
from malpighi.tasks.evaluate import evaluate
from malpighi.tasks.segment import segment
from malpighi.tasks.talk import Talk, peak_memory_mb
from malpighi.tasks.train import train

REPORT = "report.html"
TRAINING, UNSEEN = "training", "unseen"


Demo = Callable[[Path, int, Talk], dict[str, Any]]
"""The whole path of a task in a folder, for a seed: scores and folders for the result. It goes on where it was stopped."""


@dataclass(frozen=True)
class Show:
    """What a demo of segmentation is made of; the path through it is the same.

    Attributes:
        recipe: that is trained.
        phantoms: so many to train on (the last fold of them is held out), and one more that is not seen.
        write: phantom with a seed into a folder, under a name, with its truth as `find_cases` expects it; returns the image.
        facts: seed, folder of the prediction, scores → what the result says besides Dice.
        options: of `train` and `evaluate`: which classes.
    """

    recipe: str
    phantoms: int
    write: Callable[[Path, str, int], Path]
    facts: Callable[[int, Path, Mapping[str, Any], Talk], dict[str, Any]]
    train: Mapping[str, Any] = field(default_factory=dict)
    evaluate: Mapping[str, Any] = field(default_factory=dict)


def demo(out: Path, task: str = "ftu", *, seed: int = 0, overwrite: bool = False, talk: Talk | None = None) -> dict[str, Any]:
    """Make phantoms in `out`, train on them, segment one more, score it. An interrupted demo goes on.

    Args:
        out: folder to make.
        task: one of `DEMOS`.
        seed: other phantoms, other weights.

    Returns:
        "task", "seconds", "peak_memory_mb", "report", the folders made, and the scores on phantoms that were not seen: of "ftu"
        "dice" and "object_f1"; of "vessels" "dice", "surface_dice", "cldice" and "length_ratio"; of "cells" "dice",
        "map", "image_map" and "cycles".
    """
    talk = talk or Talk()
    began = time.monotonic()
    out = Path(out)
    _claim(out, overwrite)
    facts = DEMOS[task](out, seed, talk)
    seconds = round(time.monotonic() - began, 1)
    talk.say(f"look at {out / REPORT} and {Path(facts['run']) / 'report.html'} ({seconds:.0f} s)")
    return {"task": task, **facts, "seconds": seconds, "peak_memory_mb": peak_memory_mb(), "report": str(out / REPORT)}


def _segmentation(show: Show, out: Path, seed: int, talk: Talk) -> dict[str, Any]:
    """Train → segment → evaluate."""
    with talk.bar("making phantoms", total=show.phantoms + 1) as advance:
        for number in range(show.phantoms):
            show.write(out / TRAINING, f"kidney{number + 1}", 100 * seed + number)
            advance()
        image = show.write(out / UNSEEN, "unseen", 100 * seed + 99)
        advance()
    only = show.train.get("only")
    sets = [f"train.seed={seed}", *show.train.get("overrides", ())]
    trained = train(out / TRAINING, show.recipe, out / "run", overrides=sets, only=only, talk=talk)
    segmented = segment([image], out / "run", out / "prediction", talk=talk)
    page = out / REPORT
    scores = evaluate(out / "prediction", out / UNSEEN, report=page, talk=talk, **show.evaluate)
    facts = show.facts(100 * seed + 99, Path(segmented["outputs"][0]), scores, talk)
    talk.say(f"[bold]Dice on what was not seen: {scores['dice']:.4f}[/bold]")
    return {
        "dice": scores["dice"],
        **facts,
        "validation_dice": trained["best_dice"],
        "run": trained["run"],
        "outputs": segmented["outputs"],
    }


def _claim(out: Path, overwrite: bool) -> None:
    """A fresh folder; one of ours that was interrupted, to go on in; or, if asked, a finished one to begin again in."""
    if out.is_dir() and any(out.iterdir()):
        ours = (out / TRAINING).is_dir() and (out / UNSEEN).is_dir()
        if not ours:
            raise OutputError(f"{out}: is not empty and no demo; choose another -o")
        if not overwrite and not (out / REPORT).exists():
            return
        if not overwrite:
            raise OutputError(f"{out}: holds a finished demo; look at {out / REPORT}, or begin again with --overwrite")
        shutil.rmtree(out)
    try:
        for folder in (TRAINING, UNSEEN):
            (out / folder).mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made ({error.strerror}); choose another -o") from error


# -- glomeruli in slides ------------------------------------------------------------------------------------------
GLOMERULUS = "glomerulus"


def _write_slide(folder: Path, name: str, seed: int) -> Path:
    """A phantom slide and, beside it, its exact outlines; nothing where both are there."""
    path = folder / f"{name}.tiff"
    if not (path.exists() and path.with_suffix(".geojson").exists()):
        phantom = SlidePhantom((2560, 2560), seed=seed, stain="pas", spacing=1.0, density=0.9)
        phantom.write(path)
        write_geojson(path.with_suffix(".geojson"), phantom.truth(GLOMERULUS))
    return path


def _slide_facts(seed: int, prediction: Path, scores: Mapping[str, Any], talk: Talk) -> dict[str, Any]:
    return {"object_f1": scores["objects"]["f1"]}


# -- vessels in volumes -------------------------------------------------------------------------------------------
VESSEL = "vessel"


def _kidney(seed: int) -> VesselPhantom:
    return VesselPhantom((96, 160, 160), seed=seed, spacing=20.0, contrast=1.4)


def _write_volume(folder: Path, name: str, seed: int) -> Path:
    """A phantom volume and its exact mask, each one TIFF stack; nothing where they are there."""
    image, mask = folder / "images" / f"{name}.tif", folder / "masks" / f"{name}.tif"
    phantom = _kidney(seed)
    if not image.exists():
        phantom.write(image)
    if not mask.exists():
        phantom.write_truth(mask)
    return image


def _volume_facts(seed: int, prediction: Path, scores: Mapping[str, Any], talk: Talk) -> dict[str, Any]:
    """Surface and centre-line scores, and the length of all vessels over that of the tree that was drawn."""
    from malpighi.tasks.measure import measure_vessels

    folder = prediction.parent.parent / "vessels"
    measured = measure_vessels(prediction, folder, overwrite=True, talk=talk)
    return {
        "surface_dice": scores["surface_dice"],
        "cldice": scores["cldice"],
        "length_ratio": measured["total_length_um"] / _kidney(seed).tree.total_length,
        "vessels": str(folder),
    }


# -- cells of which only the image's labels are known -------------------------------------------------------------
def _cells(out: Path, seed: int, talk: Talk) -> dict[str, Any]:
    from malpighi.tasks.cells.demo import demo_cells

    return demo_cells(out / TRAINING, out / UNSEEN, out, seed, talk)


_SLIDES = Show("demo", 5, _write_slide, _slide_facts, {"only": {"class": [GLOMERULUS]}}, {"only": {"class": [GLOMERULUS]}})
_VOLUMES = Show(
    "demo-vessels", 4, _write_volume, _volume_facts, {"overrides": [f'data.classes=["{VESSEL}"]']}, {"classes": [VESSEL]}
)
DEMOS: dict[str, Demo] = {"ftu": partial(_segmentation, _SLIDES), "vessels": partial(_segmentation, _VOLUMES), "cells": _cells}
"""Task → its demo."""
