"""`demo`, whole: phantom slides → train → segment an unseen one → score → report. Every step is the command users type."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from malpighi.annotations.geojson import write_geojson
from malpighi.errors import OutputError
from malpighi.phantoms.slide import SlidePhantom
from malpighi.tasks.evaluate import evaluate
from malpighi.tasks.segment import segment
from malpighi.tasks.talk import Talk, peak_memory_mb
from malpighi.tasks.train import train

SLIDES = 5
"""Training slides; the fifth is held out for validation."""
SHAPE = (2560, 2560)
SPACING = 1.0
LABEL = "glomerulus"
REPORT = "report.html"


def demo(out: Path, *, seed: int = 0, overwrite: bool = False, talk: Talk | None = None) -> dict[str, Any]:
    """Make phantoms in `out`, train on them, segment one more, score it. An interrupted demo goes on.

    Returns:
        "task", "dice" (of the unseen slide), "object_f1", "seconds", "peak_memory_mb", "report" and the folders made.
    """
    talk = talk or Talk()
    began = time.monotonic()
    out = Path(out)
    _claim(out, overwrite)
    slides, unseen = out / "slides", out / "unseen"
    with talk.bar("making phantom slides", total=SLIDES + 1) as advance:
        for number in range(SLIDES):
            _write(slides / f"slide{number + 1}.tiff", 100 * seed + number)
            advance()
        _write(unseen / "unseen.tiff", 100 * seed + 99)
        advance()
    trained = train(slides, "demo", out / "run", overrides=[f"train.seed={seed}"], only={"class": [LABEL]}, talk=talk)
    segmented = segment([unseen / "unseen.tiff"], out / "run", out / "prediction", talk=talk)
    page = out / REPORT
    scores = evaluate(out / "prediction", unseen, only={"class": [LABEL]}, report=page, talk=talk)
    seconds = round(time.monotonic() - began, 1)
    talk.say(f"[bold]Dice on the unseen slide: {scores['dice']:.4f}[/bold] after {seconds:.0f} s")
    talk.say(f"look at {page} and {out / 'run' / 'report.html'}")
    return {
        "task": "ftu",
        "dice": scores["dice"],
        "object_f1": scores["objects"]["f1"],
        "validation_dice": trained["best_dice"],
        "seconds": seconds,
        "peak_memory_mb": peak_memory_mb(),
        "report": str(page),
        "run": trained["run"],
        "outputs": segmented["outputs"],
    }


def _claim(out: Path, overwrite: bool) -> None:
    """A fresh folder; one of ours that was interrupted, to go on in; or, if asked, a finished one to begin again in."""
    if out.is_dir() and any(out.iterdir()):
        ours = (out / "slides").is_dir() and (out / "unseen").is_dir()
        if not ours:
            raise OutputError(f"{out}: is not empty and no demo; choose another -o")
        if not overwrite and not (out / REPORT).exists():
            return
        if not overwrite:
            raise OutputError(f"{out}: holds a finished demo; look at {out / REPORT}, or begin again with --overwrite")
        shutil.rmtree(out)
    try:
        for folder in ("slides", "unseen"):
            (out / folder).mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made ({error.strerror}); choose another -o") from error


def _write(path: Path, seed: int) -> None:
    """A phantom slide and, beside it, its exact outlines; nothing where both are there."""
    if path.exists() and path.with_suffix(".geojson").exists():
        return
    phantom = SlidePhantom(SHAPE, seed=seed, stain="pas", spacing=SPACING, density=0.9)
    phantom.write(path)
    write_geojson(path.with_suffix(".geojson"), phantom.truth(LABEL))
