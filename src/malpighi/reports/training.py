"""The page of one training run: what was reached, how it went, what was chosen and why, how to go on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from malpighi.errors import DataError
from malpighi.reports.colors import class_colors
from malpighi.reports.html import Report
from malpighi.reports.plots import learning_curves
from malpighi.reports.runfolder import read_json
from malpighi.reports.scores import add_scores
from malpighi.reports.words import duration_text, memory_text, share_text
from malpighi.training.metrics_file import read_metrics

_CASES = {"best": "Best", "median": "Median", "worst": "Worst"}
IN_PIXELS = (
    "The images of this set carry no pixel size. All sizes and areas in this page and in this run are in pixels, and the network "
    "can only be used on images whose pixel size is equally unknown, or left aside with `--spacing px`. If you know the size, train "
    "again with `--spacing`."
)


def write_training_report(run: Path) -> Path:
    """Write `run/report.html` from the files of the run folder; what is missing there is left out of the page.

    Raises:
        DataError: `run` is no folder, or one of its files is damaged.
        OutputError: the page cannot be written.
    """
    run = Path(run)
    if not run.is_dir():
        raise DataError(f"{run}: no such run folder; give the folder that `malpighi train -o` made")
    summary, plan, scores = (read_json(run / f"{name}.json") for name in ("summary", "plan", "scores"))
    rows = read_metrics(run / "metrics.jsonl")
    classes = list(summary.get("classes") or (scores.get("by") or {}).get("class") or ())

    report = Report(run.resolve().name, _subtitle(summary, classes), kind="training report")
    _headline(report, summary, scores)
    _curves(report, rows, summary)
    _detector(report, read_metrics(run / "boxes" / "metrics.jsonl"), summary.get("boxes") or {})
    _cases(report, run / "pictures")
    if scores:
        report.section(
            "Scores", "The kept weights on whole held-out images, through the same path that `malpighi segment` takes."
        )
        add_scores(report, scores, class_colors(classes))
    _augmented(report, run / "pictures")
    _plan(report, plan)
    _timings(report, rows, summary)
    _environment(report, read_json(run / "environment.json"), run / "recipe.toml")
    _use(report, run, summary)
    return report.write(run / "report.html")


def _subtitle(summary: Mapping[str, Any], classes: Sequence[str]) -> str:
    parts = [f"Segmentation of {', '.join(classes)}" if classes else "Segmentation"]
    if summary.get("train_cases") is not None:
        parts.append(f"trained on {summary['train_cases']} images, judged on {summary.get('validation_cases', 0)} held out")
    if summary.get("spacing"):
        parts.append(f"at {summary['spacing']} a pixel" if summary.get("unit") != "px" else "pixel size unknown")
    return ", ".join(parts) + "."


def _headline(report: Report, summary: Mapping[str, Any], scores: Mapping[str, Any]) -> None:
    dice = scores.get("dice", summary.get("best_dice"))
    facts = {
        "validation Dice": dice,
        "best step": summary.get("best_step"),
        "training time": duration_text(summary.get("seconds")),
        "peak memory": memory_text(summary.get("peak_memory_mb")),
        "device": summary.get("device"),
        "precision": summary.get("precision"),
    }
    report.facts({name: value for name, value in facts.items() if value not in (None, "–")})
    if summary.get("unit") == "px":
        report.warning(IN_PIXELS)
    if not summary:
        report.warning("This run has not finished; the page shows what is there so far.")


def _curves(report: Report, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> None:
    curves = learning_curves(rows, summary.get("best_step"))
    if curves:
        stopped = summary.get("stopped")
        report.section("Learning", f"Training ended: {stopped}." if stopped else "").figures(curves)


def _detector(report: Report, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> None:
    """The detector whose boxes fill broken objects, where the recipe has one."""
    checks = {row["step"]: row["validation"] for row in rows if row.get("validation")}
    if not rows:
        return
    best = summary.get("best_step")
    told = checks.get(best) or (checks[max(checks)] if checks else {})
    report.section("Detector", "Trained after the network; where its boxes and the masks disagree, `segment` fills the object.")
    facts = {"F1 of boxes at IoU .5": told.get("score"), "precision": told.get("precision"), "recall": told.get("recall")}
    facts |= {
        "held-out tiles": told.get("tiles"),
        "best step": best,
        "training time": duration_text(summary.get("train_seconds")),
    }
    report.facts({name: value for name, value in facts.items() if value not in (None, "–")})
    scored = [{**row, "validation": {"dice": row["validation"]["score"]}} if "validation" in row else row for row in rows]
    report.figures(learning_curves(scored, best, "F1 of boxes at IoU .5 on held-out tiles."))


def _cases(report: Report, folder: Path) -> None:
    found = [(kind, path) for kind in _CASES for path in sorted(folder.glob(f"{kind}_*.png"))]
    if not found:
        return
    report.section("Cases", "Held-out images, from the best to the worst score: truth, prediction, and where they disagree.")
    for kind, path in found:
        report.figure(path.read_bytes(), f"{_CASES[kind]}: {path.stem.removeprefix(kind + '_')}")


def _augmented(report: Report, folder: Path) -> None:
    path = folder / "augmented.png"
    if path.is_file():
        report.section("Augmented samples", "What the network saw in training, with the targets outlined.").figure(
            path.read_bytes()
        )


def _plan(report: Report, plan: Mapping[str, Any]) -> None:
    choices = plan.get("choices") or []
    if choices:
        report.section("Plan", "Every value that was chosen for this run, and why. The whole recipe is in recipe.toml.")
        report.table([{"choice": c.get("key"), "value": c.get("value"), "reason": c.get("reason")} for c in choices])


def _timings(report: Report, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> None:
    from statistics import median

    steps = [row["step_seconds"] for row in rows if row.get("step_seconds") is not None]
    data = [row["data_seconds"] for row in rows if row.get("data_seconds") is not None]
    checks = [seconds for row in rows if (seconds := (row.get("validation") or {}).get("seconds")) is not None]
    facts = {
        "whole run": duration_text(summary.get("seconds")),
        "training steps": duration_text(summary.get("train_seconds")),
        "validation": duration_text(summary.get("validation_seconds")),
        "steps": summary.get("steps"),
        "median step": f"{1000 * median(steps):.0f} ms" if steps else None,
        "median wait for data": f"{1000 * median(data):.1f} ms" if data else None,
        "share of time spent waiting for data": share_text(summary.get("data_share")),
        "median validation": duration_text(median(checks)) if checks else None,
        "peak memory": memory_text(summary.get("peak_memory_mb")),
    }
    facts = {name: value for name, value in facts.items() if value not in (None, "–")}
    if facts:
        report.section("Time and memory").facts(facts)


def _environment(report: Report, environment: Mapping[str, Any], recipe: Path) -> None:
    if not environment and not recipe.is_file():
        return
    report.section("Environment", "What is needed to repeat this run.")
    plain = {_words(key): value for key, value in environment.items() if not isinstance(value, Mapping)}
    if plain:
        report.facts(plain)
    for key, value in environment.items():
        if isinstance(value, Mapping):
            report.facts(value, fold=f"{_words(key).capitalize()} ({len(value)})")
    if recipe.is_file():
        report.code(recipe.read_text(encoding="utf-8").strip(), fold="The resolved recipe")


def _use(report: Report, run: Path, summary: Mapping[str, Any]) -> None:
    name = shlex.quote(str(run))
    spacing = "" if summary.get("unit", "µm") == "px" else "   # --spacing 0.5 where the file does not say"
    report.section(
        "How to use it", "Images, slides, folders and globs are all taken; an interrupted command goes on where it was."
    )
    report.code(f"malpighi segment IMAGE -m {name} -o OUT{spacing}\nmalpighi evaluate OUT TRUTH")
    recipe, pixels = shlex.quote(str(run / "recipe.toml")), " --spacing px" if summary.get("unit") == "px" else ""
    report.text("To train longer, or with other options, train the recipe as it ran into another folder:")
    report.code(f"malpighi train DATA -r {recipe}{pixels} -o LONGER --set train.steps=STEPS")


def _words(key: str) -> str:
    return re.sub(r"[_.]", " ", key)
