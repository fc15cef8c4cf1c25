"""One open image segmented into a folder: prediction, masks, objects, report. Goes on where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape

from malpighi.geometry import Spacing
from malpighi.images import Source
from malpighi.inference.manifest import file_fingerprint, finished_manifest, identity
from malpighi.inference.progress import Progress
from malpighi.inference.store import PredictionStore
from malpighi.tasks.after import clean_masks, needs_everywhere, number_objects
from malpighi.tasks.boxes.mend import boxes_identity, mend_masks
from malpighi.tasks.image import predict_image, prepare_source
from malpighi.tasks.model import Model
from malpighi.tasks.object_files import OUTLINES, REPORT, write_objects, write_report
from malpighi.tasks.run import Inputs
from malpighi.tasks.talk import Talk, peak_memory_mb
from malpighi.tasks.within import Within

_LATER = {
    "predict.gate": 0.0,
    "predict.across": 0,
    "predict.one_class": False,
    "objects.otsu": 0.0,
    "objects.energy": 0.0,
    "objects.temperature": 1.0,
}
"""Options that came later, as they were before: they are not said, so that predictions from before them stand."""


def segment_image(
    model: Model,
    source: Source,
    path: Path,
    folder: Path,
    *,
    within: Within | None = None,
    overwrite: bool = False,
    report: bool = True,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Segment one open image into `folder`; see `segment`."""
    talk, options = talk or Talk(), model.predict
    source = prepare_source(source, model.run.recipe, talk, model.run.inputs.channels)
    inputs = model.run.inputs.at(source, options)
    inputs.check(source)
    began = time.monotonic()
    fingerprint = _fingerprint(model, source, path, within)
    shape = source.space.shape_at(inputs.spacing)
    limits = _limits(model)
    asked = identity(shape, inputs.spacing, inputs.classes, limits, options.probabilities, fingerprint)
    progress = Progress()
    finished = None if overwrite else finished_manifest(folder, asked)
    if finished:
        talk.say(f"{escape(str(folder))}: is finished; --overwrite predicts it again")
        if report and not (folder / REPORT).is_file():  # stopped between the two
            write_report(folder, source, finished["objects"], talk)
        return {**finished, "output": str(folder)}
    with PredictionStore(
        folder,
        shape,
        inputs.spacing,
        inputs.classes,
        limits,
        probabilities=options.probabilities,
        top=options.top,
        everywhere=needs_everywhere(model.objects) or model.boxes.kind != "none",
        layers=inputs.layers,
        fingerprint=fingerprint,
        overwrite=overwrite,
    ) as store:
        if store.done:
            talk.say(f"{escape(str(folder))}: going on, {len(store.done)} parts are done")
        with talk.bar(f"segmenting {escape(path.name)}") as advance:
            shown = _Tiles(advance)
            boxes = predict_image(
                model.forward,
                source,
                inputs,
                options,
                stride=model.stride,
                within=within.hull if within else None,
                align=store.align,
                done=store.done,
                progress=progress,
                on_progress=shown,
            )
            for box, probabilities in boxes:
                store.add(box, probabilities, source.damage)
        decided = store.decide()
        mend_masks(store, model, source, inputs, talk, within.hull if within else None)
        objects = make_objects(store, source, model, inputs, talk)
        facts: dict[str, Any] = {
            "run": str(model.run.path),
            "tiles": progress.tiles,
            "skipped_tiles": progress.skipped,
            "seconds": round(time.monotonic() - began, 2),
            "stage_seconds": {name: round(value, 2) for name, value in progress.seconds.items()},
            "peak_memory_mb": peak_memory_mb(),
            "device": model.device,
            "thresholds": dict(zip(inputs.classes, decided.tolist(), strict=True)),
            "objects": objects,
            **({"instances": True} if inputs.layers else {}),
            "outlines": OUTLINES if source.space.rank == 2 else None,
            "damage": [str(damage) for damage in store.damage],
        }
        store.finish(facts)
    for line in facts["damage"]:
        talk.say(f"[red]unreadable:[/red] {escape(f'{path} {line}')}")
    if report:
        write_report(folder, source, objects, talk)
    return {**facts, "output": str(folder)}


def make_objects(store: PredictionStore, source: Source, model: Model, inputs: Inputs, talk: Talk) -> dict[str, int]:
    """From thresholded masks (or layers) to tidy ones, finished, and the files of their objects. Counts by class.

    Args:
        inputs: of this image, see `Inputs.at`.
    """
    if inputs.layers:
        number_objects(store, model, inputs.spacing, talk)
    else:
        clean_masks(store, inputs.spacing, model.objects, talk, one_class=model.predict.one_class)
    store.finish_masks()
    with talk.bar("outlining objects", total=len(inputs.classes)) as advance:
        return write_objects(store, source, inputs, model.objects, advance)


def _limits(model: Model) -> tuple[float, ...]:
    """The threshold of each class."""
    if model.run.inputs.layers:
        return (model.instances.foreground,)
    return model.predict.limits(len(model.run.inputs.classes))


def _fingerprint(model: Model, source: Source, path: Path, within: Within | None) -> dict[str, Any]:
    """What a prediction depends on besides its grid and thresholds: the same again, and it can go on or stand."""
    predict = ("tile", "overlap", "window", "batch", "flips", "average", "top", "skip_blank", "gate", "across", "one_class")
    options = {
        **{f"predict.{k}": getattr(model.predict, k) for k in predict},
        **{f"objects.{k}": value for k, value in asdict(model.objects).items()},
        **({f"instances.{k}": value for k, value in asdict(model.instances).items()} if model.run.inputs.layers else {}),
        **boxes_identity(model),
    }
    return {
        "within": within.told if within else None,
        "image": {**file_fingerprint(path), "shape": list(source.shape), "spacing": _spacing(source.space.spacing)},
        "weights": model.digest,
        "options": {key: value for key, value in options.items() if _LATER.get(key) != value},
    }


def _spacing(spacing: Spacing) -> dict[str, Any]:
    return {"values": list(spacing.values), "unit": spacing.unit}


class _Tiles:
    """Moves a bar by tiles, done or skipped."""

    def __init__(self, advance: Callable[..., None]) -> None:
        self.advance, self.shown = advance, 0

    def __call__(self, progress: Progress) -> None:
        done = progress.tiles + progress.skipped
        self.advance(done - self.shown, total=progress.total)
        self.shown = done
