"""What a detector's boxes do to the masks of a prediction: objects of which the mask has only a part are filled."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.errors import OutputError
from malpighi.geometry import Box, Spacing
from malpighi.images import Source
from malpighi.inference.masks import ReadMask
from malpighi.inference.store import PredictionStore
from malpighi.objects.boxes import broken, fill, shares
from malpighi.objects.hull import Hull
from malpighi.tasks.boxes.detect import Detections, detect
from malpighi.tasks.boxes.run import detector_digest, open_detector
from malpighi.tasks.image import kept_tiles
from malpighi.tasks.run import Inputs
from malpighi.tasks.talk import Talk

if TYPE_CHECKING:
    from malpighi.tasks.model import Model

TABLE = "boxes.parquet"
TILE = 1024
"""Side of the tiles that a detector is given at most: it needs no more to see an object whole."""


def boxes_identity(model: Model) -> dict[str, Any]:
    """What of a detector a prediction depends on: {} without one; else the same again, and it can go on or stand."""
    options = model.boxes
    if options.kind == "none":
        return {}
    return {
        "boxes": detector_digest(model.run.path),
        **{f"boxes.{k}": getattr(options, k) for k in ("score", "agree", "least")},
    }


def mend_masks(
    store: PredictionStore,
    model: Model,
    source: Source,
    inputs: Inputs,
    talk: Talk,
    within: Hull | None = None,
    spacing: Spacing | None = None,
) -> None:
    """Slide the run's detector over the image and fill what the masks have a part of; writes `TABLE`. Nothing without a detector.

    A step of the store: a run that was stopped in it begins it again from the masks as they were.

    Args:
        store: all boxes were added.
        source: as the network takes it.
        inputs: of this image, which the detector sees at its spacing.
        within: outside of it nothing is looked at, nor filled.
        spacing: of the masks; None: that of `inputs`.
    """
    if model.boxes.kind == "none":
        (store.path / TABLE).unlink(missing_ok=True)  # of an earlier prediction
        return
    store.change("boxes", partial(_mend, store, model, source, inputs, talk, within, spacing or inputs.spacing), copy=True)


def _mend(
    store: PredictionStore,
    model: Model,
    source: Source,
    inputs: Inputs,
    talk: Talk,
    within: Hull | None,
    spacing: Spacing,
    read: ReadMask,
) -> None:
    options = model.boxes
    detector = open_detector(model.run, model.device)
    tile = tuple(min(side, TILE) for side in model.predict.sides(2))
    with talk.bar("finding whole objects") as advance:
        found = detect(
            detector,
            source,
            inputs.spacing,
            inputs.intensity,
            tile,
            device=model.device,
            batch=model.predict.batch,
            least=options.score,
            keep=kept_tiles(source, inputs, model.predict, within),
            readers=model.predict.readers,
            advance=advance,
        )
    found = found.scaled(inputs.spacing.over(spacing))
    share = np.zeros(len(found))
    chosen = np.zeros(len(found), bool)
    for k in range(len(store.classes)):
        own = np.flatnonzero(found.labels == k)
        share[own] = shares(read(k), store.shape, found.bounds[own])
        chosen[own] = broken(share[own], options.agree, options.least)
        write = partial(_write_mask, store, k, within, spacing)
        fill(read(k), write, store.shape, store.align, found.bounds[own[chosen[own]]])
    ratio = spacing.over(source.space.spacing)
    _write(store.path / TABLE, found, share, chosen, store.classes, ratio, {k: str(v) for k, v in asdict(options).items()})


def _write_mask(store: PredictionStore, k: int, within: Hull | None, spacing: Spacing, box: Box, mask: np.ndarray) -> None:
    store.write_mask(k, box, mask if within is None else mask & within.inside(box, spacing))


def _write(
    path: Path,
    found: Detections,
    share: np.ndarray,
    filled: np.ndarray,
    classes: tuple[str, ...],
    ratio: tuple[float, ...],
    about: dict[str, str],
) -> None:
    """A row a box: class, score, level-0 pixels (half-open), share of it that was mask, whether it was filled."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {
        "class": pa.array([classes[k] for k in found.labels], pa.string()),
        "score": pa.array(found.scores, pa.float32()),
    }
    for place, name in enumerate(("y_min", "x_min", "y_max", "x_max")):
        columns[name] = pa.array(found.bounds[:, place].astype(np.float64) * ratio[place % 2], pa.float64())
    columns |= {"mask_share": pa.array(share, pa.float64()), "filled": pa.array(filled, pa.bool_())}
    part = path.with_name(f".{path.name}.part")
    try:
        pq.write_table(pa.table(columns).replace_schema_metadata(about), part, compression="zstd")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error}); free space or choose another folder with -o") from error
