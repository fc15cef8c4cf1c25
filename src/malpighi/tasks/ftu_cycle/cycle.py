"""`cycle --task ftu`, whole: train, label what nobody labelled, train again with it, while held-out images gain.

Each step leaves a file in the run's folder and is skipped where that is there, so that the same command goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from malpighi.annotations.files import replacing
from malpighi.errors import OutputError, RecipeError
from malpighi.geometry import Spacing
from malpighi.recipes.load import kind_of, load_recipe, read_raw, write_recipe
from malpighi.recipes.recipe import Recipe
from malpighi.reports.runfolder import read_json
from malpighi.sampling.cases import CaseTable
from malpighi.sampling.layouts import find_cases
from malpighi.tasks.asked import find_images
from malpighi.tasks.claim import asked_for, claim
from malpighi.tasks.ftu_cycle.labels import LABELS, pseudo_cases
from malpighi.tasks.ftu_cycle.networks import FILLED, score_of, train_network
from malpighi.tasks.ftu_cycle.work import PSEUDO, Network, Work, find_unlabelled, require_cycle
from malpighi.tasks.prepare import environment, write_json
from malpighi.tasks.run import RECIPE
from malpighi.tasks.talk import Talk, peak_memory_mb

MARK, SUMMARY, REPORT, LEFT = "cycle.json", "summary.json", "report.html", "unlabelled.json"


def cycle(
    data: Path,
    recipe: str,
    out: Path,
    *,
    unlabelled: Sequence[str | Path] = (),
    overrides: Sequence[str] = (),
    spacing: float | Spacing | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
    overwrite: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Train on what people labelled, and again on what the network then says of other images, while held-out images gain.

    The same call on a run that was interrupted goes on with it, between steps and within them.

    Args:
        data: folder, manifest or image; see `find_cases`. Its images without labels are labelled.
        recipe: name of a shipped recipe of class masks of images, or path of a .toml file; its section `[cycle]` says how.
        out: folder to make: a run folder for each cycle, and the best network, which `segment` takes.
        unlabelled: more images without labels: files, folders, patterns.
        overrides: "section.key=value" of the recipe.
        spacing: level-0 µm per pixel of every image, where the files do not say.
        only: attribute → values: which cases of `data` are used.
        overwrite: begin again whatever `out` holds.
        talk: where to report.

    Returns:
        "run", "score" and "best_cycle", "cycles" (a mapping each: "cycle", "score", "pseudo_images", "labelled_share",
        "agreement", …), "stopped" (why), "seconds", …, as in `summary.json`.

    Raises:
        MalpighiError: of the kind that says what is wrong: recipe, data, spacing or output.
    """
    talk, out = talk or Talk(), Path(out)
    raw = read_raw(recipe, overrides)
    _require_task(raw, recipe)
    if unlabelled:
        find_images(unlabelled)  # what is not there is said before anything is measured
    asked = {**asked_for(raw, data, spacing, only), "unlabelled": [str(item) for item in unlabelled]}
    begun = claim(out, MARK, asked, overwrite=overwrite, unmarked=(FILLED, LEFT))
    if begun and (out / SUMMARY).is_file():
        talk.say(f"{out} is finished; cycle into another -o, or begin again with --overwrite")
        return read_json(out / SUMMARY)
    table = _found(Path(data), tuple(raw.get("data", {}).get("classes", ())), spacing, only or {})
    work = _begin(table, unlabelled, raw, out, asked, spacing, begun, talk)
    summary = _run(work)
    write_json(out / SUMMARY, summary)
    return summary


def _found(
    data: Path, classes: tuple[str, ...], spacing: float | Spacing | None, only: Mapping[str, Sequence[str]]
) -> CaseTable:
    """The cases asked for. Those without labels have no class to be chosen by, and are chosen by the rest alone."""
    table = find_cases(data, spacing=spacing, classes=classes, where=only)
    if "class" not in only:
        return table
    rest = {key: values for key, values in only.items() if key != "class"}
    every = find_cases(data, spacing=spacing, classes=classes, where=rest)
    return replace(table, cases=(*table.cases, *(case for case in every.cases if not case.labels)))


def _require_task(raw: Mapping[str, Any], recipe: str) -> None:
    """Refuse what is known to be of another task before anything is opened."""
    if kind_of(raw) is not Recipe:
        raise RecipeError(f"{recipe}: is of single cells; cycle it with --task cells")
    if raw.get("task", "ftu") not in ("ftu", "auto"):
        raise RecipeError(f'{recipe}: task "{raw["task"]}": a cycle of pseudo-labels is of images and class masks, task "ftu"')


def _begin(
    table: CaseTable,
    unlabelled: Sequence[str | Path],
    raw: Mapping[str, Any],
    out: Path,
    asked: Mapping[str, Any],
    spacing: float | Spacing | None,
    begun: bool,
    talk: Talk,
) -> Work:
    """Fill the recipe, find what is to be labelled, write both down; or read them where the run was begun."""
    from malpighi.sampling.survey import survey
    from malpighi.tasks.material import fold_of
    from malpighi.tasks.prepare import prepare

    people = table.require_labels()
    for note in table.notes:
        talk.say(note)
    people = replace(people, notes=())  # said once, not by each run
    if begun:
        talk.say(f"going on with the cycles in {out}")
        recipe = load_recipe(out / FILLED)
    else:
        with talk.bar("looking at the data", total=len(people)) as advance:
            recipe = prepare(raw, survey(people, advance)).recipe
    fold = fold_of(people.cases, recipe)
    require_cycle(recipe, people, fold)
    cases, left = find_unlabelled(table, unlabelled, fold, people, spacing)
    told = {"images": {case.id: str(case.image) for case in cases}, "left_out": left}
    if begun and read_json(out / LEFT) != told:
        raise OutputError(
            f"{out}: the images to be labelled are others than when this run began; choose another -o, or begin again with --overwrite"
        )
    for name, why in left.items():
        talk.say(f"[yellow]left out:[/yellow] {name}: {why}")
    talk.say(f"{len(people)} labelled images ({len(fold.validation)} held out), {len(cases)} to be labelled")
    if not begun:
        write_recipe(recipe, out / FILLED)
        write_json(out / LEFT, told)
        write_json(out / MARK, {"asked": asked, "environment": environment(recipe.train.seed)})  # last: it can be gone on with
    return Work(people, fold, cases, recipe, out, asked, talk)


def _run(work: Work) -> dict[str, Any]:
    """From the recipe to the best network and the page; returns the summary."""
    from malpighi.tasks.ftu_cycle.page import write_page

    rows, stopped = _cycles(work)
    best = max(rows, key=lambda row: row["score"])  # the first of those that are alike
    _copy_up(work.out / best["run"], work.out)
    summary = {
        "run": str(work.out),
        "score": best["score"],
        "baseline": rows[0]["score"],
        "best_cycle": best["cycle"],
        "best_run": best["run"],
        "cycles": rows,
        "stopped": stopped,
        "classes": list(work.classes),
        "labelled_images": len(work.table),
        "held_out_images": len(work.fold.validation),
        "unlabelled_images": len(work.unlabelled),
        "seconds": _seconds(work.out),
        "peak_memory_mb": peak_memory_mb(),
        "report": str(work.out / REPORT),
    }
    write_page(work, summary, work.out / REPORT)
    gain = best["score"] - rows[0]["score"]
    work.talk.say(f"[bold]held-out Dice {best['score']:.4f}[/bold] in cycle {best['cycle']} ({gain:+.4f} by pseudo-labels)")
    work.talk.say(f"report: {work.out / REPORT}")
    return summary


def _cycles(work: Work) -> tuple[list[dict[str, Any]], str]:
    """A row a cycle, and why there are no more."""
    rows: list[dict[str, Any]] = []
    for number in range(work.options.cycles + 1):
        row = _cycle(work, number)
        if row is None:
            return rows, f"cycle {number}: no image was kept"
        rows.append(row)
        gained = f" ({row['score'] - rows[0]['score']:+.4f})" if number else ""
        work.talk.say(
            f"cycle {number}: held-out Dice {row['score']:.4f}{gained}, {row['pseudo_images']} images with pseudo-labels"
        )
        if not goes_on([each["score"] for each in rows], work.options.gain):
            return rows, f"cycle {number} gained less than cycle.gain {work.options.gain:g}"
    return rows, f"all {work.options.cycles} of cycle.cycles are done"


def goes_on(scores: Sequence[float], gain: float) -> bool:
    """Whether another cycle is worth it: the last one is better by `gain` than the best before; the first always is."""
    return len(scores) < 2 or scores[-1] >= max(scores[:-1]) + gain


def _cycle(work: Work, number: int) -> dict[str, Any] | None:
    """One cycle: labels, training, score. None: no label is kept, so there is nothing to learn."""
    networks, kept = [], []
    for network in work.scored(number):
        cases = pseudo_cases(work, network)
        if number and not cases:
            return None
        train_network(work, network, cases)
        kept.append(read_json(work.out / PSEUDO / network.labels / LABELS) if number else {})
        networks.append(_network_row(work, network, kept[-1]))
    best = max(networks, key=lambda row: row["score"])
    row = {"cycle": number, **best}
    if len(networks) > 1:
        row["networks"] = networks
    return row


def _network_row(work: Work, network: Network, labels: Mapping[str, Any]) -> dict[str, Any]:
    """What one network is worth, and what it was taught with."""
    row = {
        "run": network.name,
        "score": score_of(work.out / network.name),
        "pseudo_images": labels.get("kept", 0),
        "labelled_share": labels.get("labelled_share", 0.0),
        "confidence": labels.get("confidence"),
        "agreement": labels.get("agreement"),
    }
    if network.group is not None:
        row["reduction"] = work.options.reductions[network.group]
    return row


def _copy_up(run: Path, out: Path) -> None:
    """Make `out` a run that `segment` takes: the recipe comes last, without which it is none."""
    for path in (*sorted(run.rglob("*.safetensors")), run / RECIPE):  # a detector's weights lie in a folder of their own
        with replacing(out / path.relative_to(run)) as part:
            shutil.copyfile(path, part)


def _seconds(out: Path) -> float:
    """What all steps took, of all sittings."""
    runs = [read_json(path) for path in sorted(out.glob(f"cycle-*/{SUMMARY}"))]
    labels = [read_json(path) for path in sorted((out / PSEUDO).glob(f"*/{LABELS}"))]
    return round(sum(float(found.get("seconds") or 0.0) for found in (*runs, *labels)), 1)
