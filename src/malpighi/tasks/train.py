"""`train`, whole: cases → survey → plan → folds → loop → scores, pictures, report. Goes on where a run was stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from malpighi.errors import MalpighiError
from malpighi.geometry import Spacing
from malpighi.objects.measure import min_voxels
from malpighi.recipes.load import load_recipe, read_raw, write_recipe
from malpighi.recipes.recipe import Recipe
from malpighi.sampling.cases import Case, CaseTable, open_case
from malpighi.sampling.folds import Fold
from malpighi.sampling.layouts import find_cases
from malpighi.sampling.survey import digest, survey
from malpighi.tasks.boxes.train import train_boxes
from malpighi.tasks.claim import asked_for, claim
from malpighi.tasks.material import Material, fold_of, gather
from malpighi.tasks.mining import miner
from malpighi.tasks.prepare import Prepared, environment, machine_facts, prepare, write_json
from malpighi.tasks.run import RECIPE, Inputs
from malpighi.tasks.talk import Talk, peak_memory_mb
from malpighi.training.metrics_file import read_metrics

if TYPE_CHECKING:
    from malpighi.models.losses import Loss
    from malpighi.training.loop import FitResult

PLAN, SUMMARY, SCORES, ENVIRONMENT = "plan.json", "summary.json", "scores.json", "environment.json"


def train(
    data: Path,
    recipe: str,
    run: Path,
    *,
    overrides: Sequence[str] = (),
    spacing: float | Spacing | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
    overwrite: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Train a recipe on a data set into a run folder.

    The same call on a run that was interrupted goes on with it; on a finished one it returns the summary.

    Args:
        data: folder, manifest or image; see `find_cases`.
        recipe: name of a shipped recipe, or path of a .toml file.
        run: folder to make.
        overrides: "section.key=value" of the recipe.
        spacing: level-0 µm per pixel of every image, where the files do not say.
        only: attribute → values: which cases are used.
        overwrite: begin again whatever `run` holds.
        talk: where to report.

    Returns:
        The run's summary: "run", "best_dice", "seconds", "stopped", …, as in `summary.json`.

    Raises:
        MalpighiError: of the kind that says what is wrong: recipe, data, spacing or output.
    """
    raw = read_raw(recipe, overrides)
    asked = asked_for(raw, data, spacing, only)
    classes = tuple(raw.get("data", {}).get("classes", ()))
    find = partial(find_cases, Path(data), spacing=spacing, classes=classes, where=only)
    return train_cases(lambda: find().require_labels(), raw, run, asked, overwrite=overwrite, talk=talk)


def train_cases(
    find: Callable[[], CaseTable],
    raw: Mapping[str, Any],
    run: Path,
    asked: Mapping[str, Any],
    *,
    pseudo: Sequence[Case] = (),
    overwrite: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """`train` on cases that are found already, and beside them on some that a network labelled.

    Args:
        find: gives the cases that people labelled; not called where the run is finished.
        raw: the recipe, as `read_raw` gives it.
        run: folder to make.
        asked: what this run is, as JSON would hold it: a run that was interrupted goes on where it is the same.
        pseudo: cases that are trained on only: they neither change the folds nor are they surveyed.
        overwrite: begin again whatever `run` holds.
        talk: where to report.
    """
    talk = talk or Talk()
    run = Path(run)
    begun = claim(run, PLAN, asked, overwrite=overwrite, unmarked=(RECIPE, ENVIRONMENT))
    if begun and (run / SUMMARY).is_file():
        talk.say(f"{escape(str(run))} is finished; train into another -o, or begin again with --overwrite")
        return json.loads((run / SUMMARY).read_text(encoding="utf-8"))

    table = find()
    for note in table.notes:
        talk.say(escape(note))
    if begun:
        talk.say(f"going on with the run in {escape(str(run))}")
    else:
        _begin(table, raw, asked, run, talk, pseudo)
    return _train(table, load_recipe(run / RECIPE), run, talk, pseudo, begun=begun)


@contextmanager
def _unless_refused(run: Path, begun: bool) -> Iterator[None]:
    """A new run that is refused before its first step is none: the corrected command may have its folder."""
    try:
        yield
    except MalpighiError:
        if not begun:
            (run / PLAN).unlink()
        raise


def _begin(
    table: CaseTable, raw: Mapping[str, Any], asked: Mapping[str, Any], run: Path, talk: Talk, pseudo: Sequence[Case] = ()
) -> None:
    """Survey the data, fill the recipe, write both down."""
    with talk.bar("looking at the data", total=len(table)) as advance:
        found = survey(table, advance)
    for warning in found.warnings:
        talk.say(f"[yellow]note:[/yellow] {escape(warning)}")
    talk.say("planning: measuring training steps where the recipe says auto")
    prepared: Prepared = prepare(raw, found)
    write_recipe(prepared.recipe, run / RECIPE)
    write_json(run / ENVIRONMENT, environment(prepared.recipe.train.seed))
    for choice in prepared.choices:
        talk.say(f"  [bold]{choice.key}[/bold] = {escape(str(choice.value))}  [dim]{escape(choice.reason)}[/dim]")
    plan = {
        "choices": [choice.as_dict() for choice in prepared.choices],
        "device": prepared.machine.name,
        "data": found.as_dict(),
        "files": {
            case.id: [_file(case.image), *(_file(labels.path) for labels in case.labels)] for case in (*table.cases, *pseudo)
        },
        "asked": asked,
    }
    write_json(run / PLAN, plan)  # last: a folder with a plan can be gone on with


def _file(path: Path) -> dict[str, str]:
    """What a run remembers of a file it was trained on."""
    return {"path": str(path), "sha256_of_ends": digest(path)}


def _train(
    table: CaseTable, recipe: Recipe, run: Path, talk: Talk, pseudo: Sequence[Case] = (), *, begun: bool
) -> dict[str, Any]:
    """From a filled recipe to a finished run; returns its summary."""
    from malpighi.reports.training import write_training_report
    from malpighi.tasks.pictures import save_augmented
    from malpighi.training.allocator import keep_freed_pages

    began = time.monotonic()
    keep_freed_pages()
    table = replace(table, cases=(*table.cases, *pseudo))  # which change no fold: see `make_folds`
    with ExitStack() as stack:
        with _unless_refused(run, begun):
            fold = fold_of(table.cases, recipe)
            material = gather(table, fold, recipe, stack, talk)
        save_augmented(run, material.batches)
        before = time.monotonic() - began
        result = _fit(material, recipe, run, talk)
        boxes = None if result.stopped == "interrupted" else train_boxes(material, recipe, run, talk)
    scoring = time.monotonic()
    if result.stopped == "interrupted":
        raise KeyboardInterrupt
    talk.say(f"best validation {said(recipe)} {result.best_score:.4f} at step {result.best_step}; scoring the kept weights")
    score_held_out(run, [table.cases[i] for i in fold.validation], material.inputs.classes, talk)
    # of all sittings: a run that was interrupted has trained before this process began
    seconds = before + result.train_seconds + result.validation_seconds + time.monotonic() - scoring
    seconds += boxes["train_seconds"] + boxes["validation_seconds"] if boxes else 0
    best = _best(run, result)
    summary = {"run": str(run), **_summary(result, material.inputs, recipe, fold), **best, "seconds": round(seconds, 1)}
    summary |= {"boxes": boxes} if boxes else {}
    write_json(run / SUMMARY, summary)
    talk.say(f"report: {escape(str(write_training_report(run)))}")
    return summary


def _fit(material: Material, recipe: Recipe, run: Path, talk: Talk) -> FitResult:
    """Build the network and train it."""
    import torch
    from lightning_fabric import Fabric

    from malpighi.models.build import build_network
    from malpighi.training.loop import PRECISIONS, Fit, fit

    inputs, options = material.inputs, recipe.train
    torch.manual_seed(options.seed)
    network = build_network(recipe.model, inputs.channels, len(inputs.outputs), inputs.told)
    device = machine_facts().device
    fabric = Fabric(accelerator=device, devices=1, precision=PRECISIONS[options.precision])  # type: ignore[arg-type]
    loss, validate = _judged(material, recipe, device)
    mine = miner(material, recipe, run, device)
    batches = material.batches if mine is None else mine.batches
    work = Fit(network, batches, inputs.intensity.apply, loss, validate, inputs.as_facts(), mine)
    with talk.bar("training", total=options.steps) as advance:
        return fit(work, options, recipe.optim, run, fabric, _Steps(advance, said(recipe)))


def _judged(material: Material, recipe: Recipe, device: str) -> tuple[Loss, Callable[[Any], dict[str, Any]]]:
    """What a step is judged by, and a network: its loss and its score on held-out images."""
    inputs, options = material.inputs, recipe.train
    if recipe.task == "instances":
        from malpighi.models.instance_losses import InstanceLoss
        from malpighi.tasks.instances import InstanceValidator

        smallest = min_voxels(recipe.objects, inputs.spacing)
        judge = InstanceValidator(material.held, inputs, recipe.predict, recipe.instances, smallest, device, options)
        return InstanceLoss(recipe.instances.kind), judge.quick
    from malpighi.tasks.ftu import ftu_task
    from malpighi.tasks.validation import Validator

    task = ftu_task(recipe, len(inputs.classes))
    validator = Validator(material.held, inputs, task, recipe.predict, device, options, recipe.data.axes, recipe.objects)
    return task.loss, validator.quick


def said(recipe: Recipe) -> str:
    """What the score of a run is called."""
    return "AP50" if recipe.task == "instances" else "Dice"


def _best(run: Path, result: FitResult) -> dict[str, Any]:
    """Dice at the kept step, and what else was scored there: the score itself need not be Dice."""
    rows = [row for row in read_metrics(run / "metrics.jsonl") if row.get("step") == result.best_step]
    kept: dict[str, Any] = next((row["validation"] for row in reversed(rows) if row.get("validation")), {})
    more: dict[str, Any] = {name: kept[name] for name in ("dice", "ap50", "mean_precision") if name in kept}
    return {"best_dice": more.pop("dice", result.best_score), **more}


def score_held_out(run: Path, cases: Sequence[Case], classes: tuple[str, ...], talk: Talk) -> None:
    """Segment the held-out images as `segment` would, score them as `evaluate` would: RUN/validation, scores.json, pictures."""
    from malpighi.metrics.report import summarise
    from malpighi.tasks.evaluate import case_picture, score_pairs
    from malpighi.tasks.pairs import Pair
    from malpighi.tasks.pictures import choose
    from malpighi.tasks.segment import open_model, segment_image

    model = open_model(run)
    pairs = []
    with talk.bar("segmenting held-out images", total=len(cases)) as advance:
        for case in cases:
            pairs.append(Pair(case, run / "validation" / case.id))
            with open_case(case, classes) as opened:
                segment_image(model, opened.source, case.image, pairs[-1].prediction, overwrite=True, report=False)
            advance()
    rows, scored = score_pairs(pairs, classes, talk=talk)
    write_json(run / SCORES, summarise(rows))
    for which, one in choose(scored).items():
        (run / "pictures" / f"{which}_{one.case.replace('/', '_')}.png").write_bytes(case_picture(one, classes))


class _Steps:
    """Shows the loop's state on the bar: how far, loss, best score."""

    def __init__(self, advance: Callable[..., None], said: str = "Dice") -> None:
        self.advance, self.said, self.shown = advance, said, 0

    def __call__(self, step: int, loss: float, score: float) -> None:
        text = f"training  loss {loss:.3f}" + (f"  best {self.said} {score:.3f}" if score >= 0 else "")
        self.advance(step - self.shown, text=text)
        self.shown = step


def _summary(result: FitResult, inputs: Inputs, recipe: Recipe, fold: Fold) -> dict[str, Any]:
    """What summary.json says besides the run's name and time."""
    return {
        **result.as_dict(),
        "data_share": result.data_seconds / max(result.train_seconds, 1e-9),
        "peak_memory_mb": peak_memory_mb(),
        "device": machine_facts().name,
        "precision": recipe.train.precision,
        "classes": list(inputs.classes),
        "unit": inputs.spacing.unit,
        "spacing": str(inputs.spacing),
        "train_cases": len(fold.train),
        "validation_cases": len(fold.validation),
    }
