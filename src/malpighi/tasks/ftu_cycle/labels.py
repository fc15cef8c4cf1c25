"""Pseudo-labels of one cycle: predicted, measured, chosen, each with where it came from."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.markup import escape

from malpighi.errors import DataError, SpacingError
from malpighi.inference.folder import PROBABILITIES
from malpighi.reports.runfolder import read_json
from malpighi.sampling.cases import Case, Labels
from malpighi.tasks.ftu_cycle.facts import agreement, measure
from malpighi.tasks.ftu_cycle.mean import mean_prediction
from malpighi.tasks.ftu_cycle.networks import train_network
from malpighi.tasks.ftu_cycle.work import PSEUDO, Network, Work
from malpighi.tasks.manifest_rows import spacing_text, write_rows
from malpighi.tasks.prepare import write_json

LABELS, PROVENANCE, MEMBERS = "labels.json", "provenance.json", "members"
COLUMNS = ("id", "image", "labels", "classes", "group", "spacing", "pseudo", "soft", "sure")


def pseudo_cases(work: Work, network: Network) -> tuple[Case, ...]:
    """The cases that a network learns from beside those that people labelled; none in cycle 0. Made where they are not there.

    Raises:
        DataError: no image could be labelled.
    """
    if network.cycle == 0:
        return ()
    folder = work.out / PSEUDO / network.labels
    if not (folder / LABELS).is_file():
        _make(work, network, folder)
    found = read_json(folder / LABELS)
    runs = "+".join(found["runs"])
    kept = {image["case"] for image in found["images"] if image["kept"]}
    labels = Labels(folder, work.classes, soft=work.options.soft, sure=work.options.sure)
    return tuple(
        replace(case, labels=(replace(labels, path=folder / case.id / PROBABILITIES),), pseudo=runs, split="")
        for case in work.unlabelled
        if case.id in kept
    )


def _make(work: Work, network: Network, folder: Path) -> None:
    """Label every image, then decide which labels are kept; `labels.json` comes last."""
    teachers = work.teachers(network)
    taught = pseudo_cases(work, replace(teachers[0], fold=None))
    summaries = [train_network(work, teacher, taught) for teacher in teachers]
    runs = [_told(work, teacher, summary) for teacher, summary in zip(teachers, summaries, strict=True)]
    failed = _predict(work, teachers, folder, f"cycle {network.cycle}: labelling {len(work.unlabelled)} images")
    images: list[dict[str, Any]] = []
    for case in work.unlabelled:
        if case.id in failed:
            images.append({"case": case.id, "image": str(case.image), "kept": False, "why": failed[case.id]})
        else:
            images.append(_measured(work, network, case, folder / case.id, runs))
    if len(failed) == len(images):
        raise DataError(f"none of {len(images)} images could be labelled; the first: {next(iter(failed.values()))}")
    choose(images, work.options.keep, work.options.positive)
    for image in images:
        if image["case"] not in failed:
            write_json(folder / image["case"] / PROVENANCE, image)
    _write_manifest(work, folder, images, "+".join(run["run"] for run in runs))
    shutil.rmtree(folder.with_name(f"{folder.name}-{MEMBERS}"), ignore_errors=True)  # nobody comes back after the end
    write_json(
        folder / LABELS, {"runs": [run["run"] for run in runs], **_summary(work, network, folder, images), "images": images}
    )


def _told(work: Work, teacher: Network, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What a label remembers of a network that made it."""
    from malpighi.tasks.model import open_model

    nested = teacher.fold is not None
    return {
        "run": teacher.name,
        "weights": open_model(work.out / teacher.name).digest,
        "folds": work.options.folds if nested else work.recipe.data.folds,
        "fold": teacher.fold if nested else work.recipe.data.fold,
        "train_cases": summary["train_cases"],
        "validation_cases": summary["validation_cases"],
        "spacing": summary["spacing"],
    }


def _predict(work: Work, teachers: Sequence[Network], folder: Path, text: str) -> dict[str, str]:
    """Predict every image with every teacher, one network in memory at a time; id → why for images that cannot be read."""
    from malpighi.tasks.segment import open_model

    members = folder.with_name(f"{folder.name}-{MEMBERS}")
    failed: dict[str, str] = {}
    with work.talk.bar(text, total=len(teachers) * len(work.unlabelled)) as advance:
        for teacher in teachers:
            model = open_model(work.out / teacher.name, probabilities=True)
            for case in work.unlabelled:
                alone = len(teachers) == 1
                into = folder / case.id if alone else members / teacher.name / case.id
                if case.id not in failed and not (folder / case.id / PROVENANCE).is_file():
                    _predict_image(work, model, case, into, failed)
                advance()
    if len(teachers) > 1:
        for case in work.unlabelled:
            if case.id not in failed and not (folder / case.id / PROVENANCE).is_file():
                mean_prediction([members / teacher.name / case.id for teacher in teachers], folder / case.id)
    return failed


def _predict_image(work: Work, model: Any, case: Case, into: Path, failed: dict[str, str]) -> None:
    from malpighi.images.open import open_image
    from malpighi.tasks.segment import segment_image

    try:
        with open_image(case.image, spacing=case.spacing) as source:
            segment_image(model, source, case.image, into, report=False)
    except (DataError, SpacingError) as error:
        failed[case.id] = str(error)
        shutil.rmtree(into, ignore_errors=True)
        work.talk.say(f"[red]left out:[/red] {escape(str(error))}")


def _measured(work: Work, network: Network, case: Case, folder: Path, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where the labels of an image come from and what they are like; kept in `provenance.json` from here on."""
    if (folder / PROVENANCE).is_file():
        return read_json(folder / PROVENANCE)
    began = time.monotonic()
    found = measure(folder, work.options.sure)
    told = {
        "case": case.id,
        "image": str(case.image),
        "cycle": network.cycle,
        "runs": list(runs),
        "soft": work.options.soft,
        "sure": work.options.sure,
        **found,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began + _seconds(folder), 2),
    }
    write_json(folder / PROVENANCE, told)
    return told


def _seconds(folder: Path) -> float:
    """What the prediction took; of a mean of several this is not known."""
    return float(read_json(folder / "manifest.json").get("seconds") or 0.0)


def choose(images: Sequence[dict[str, Any]], keep: float, positive: bool) -> None:
    """Decide which images teach: adds "kept", and "why" where not.

    Args:
        images: as `_measured` tells of them; those with "kept" already are left as they are.
        keep: share of the images that teach, the surest; at least one.
        positive: an image without any object does not.
    """
    open_ = [image for image in images if "kept" not in image or "confidence" in image]
    usable = []
    for image in open_:
        image["kept"], image["why"] = False, ""
        if not image["labelled"]:
            image["why"] = "no voxel is sure enough"
        elif positive and not any(image["objects"].values()):
            image["why"] = "no object was found"
        else:
            usable.append(image)
    ranked = sorted(usable, key=lambda image: (-image["confidence"], image["case"]))
    most = math.ceil(keep * len(ranked) - 1e-9)
    for rank, image in enumerate(ranked):
        image["kept"] = rank < most
        if rank >= most:
            image["why"] = f"not among the surest {keep:.0%}"


def _write_manifest(work: Work, folder: Path, images: Sequence[Mapping[str, Any]], runs: str) -> None:
    """`manifest.csv` of the labels that are kept: rows for anybody's own table."""
    kept = {image["case"] for image in images if image["kept"]}
    rows: list[dict[str, Any]] = [
        {
            "id": case.id,
            "image": case.image.resolve(),
            "labels": f"{case.id}/{PROBABILITIES}",
            "classes": ";".join(work.classes),
            "group": case.group,
            "spacing": spacing_text(case.spacing),
            "pseudo": runs,
            "soft": str(work.options.soft).lower(),
            "sure": work.options.sure,
        }
        for case in work.unlabelled
        if case.id in kept
    ]
    write_rows(folder / "manifest.csv", COLUMNS, rows)


def _summary(work: Work, network: Network, folder: Path, images: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of the cycle's labels as a whole, with how they changed since the cycle before."""
    kept = [image for image in images if image["kept"]]
    voxels = sum(image["voxels"] for image in kept)
    before = work.out / PSEUDO / replace(network, cycle=network.cycle - 1).labels
    there = {image["case"] for image in read_json(before / LABELS).get("images", ()) if "confidence" in image}
    both = [image["case"] for image in images if "confidence" in image and image["case"] in there]
    return {
        "kept": len(kept),
        "labelled_share": sum(image["labelled"] * image["voxels"] for image in kept) / voxels if voxels else 0.0,
        "confidence": sum(image["confidence"] * image["voxels"] for image in kept) / voxels if voxels else None,
        "agreement": agreement((folder / case, before / case) for case in both),
        "seconds": round(sum(image.get("seconds", 0.0) for image in images), 2),
    }
