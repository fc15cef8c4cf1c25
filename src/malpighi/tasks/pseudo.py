"""`pseudo`, whole: a prediction's probabilities and a sparse annotation → a dense mask to train on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.annotations.base import Annotation
from malpighi.annotations.open import open_annotation
from malpighi.errors import DataError, OutputError
from malpighi.geometry import Box, Space
from malpighi.images.base import Source
from malpighi.images.open import open_image
from malpighi.images.write import ZarrWriter, remove_zarr
from malpighi.inference.folder import PROBABILITIES
from malpighi.sampling.pseudo import RateMatch, match_rate
from malpighi.tasks.prediction import Prediction
from malpighi.tasks.talk import Talk

SHARD = {2: 2048, 3: 128}  # side of the boxes worked on


@dataclass(frozen=True)
class _Pair:
    """Probabilities and labels of one class on the labels' grid."""

    probabilities: Source
    channel: int
    labels: Annotation
    layer: int
    space: Space
    name: str

    def read(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """(*spatial) stored probability and bool annotation of `box`."""
        found = self.probabilities.read_at(box, self.space.spacing, pad="edge")[self.channel]
        return found, self.labels.rasterise(box)[self.layer] == 1


def pseudo(
    prediction: Path,
    labels: Path,
    rate: float,
    out: Path,
    *,
    label: str | None = None,
    overwrite: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Write the dense mask of which the annotation is the share `rate`: all that is annotated, and what is likeliest beside it.

    Read twice, box by box; memory does not depend on the image.

    Args:
        prediction: folder that `segment --probabilities` wrote for the image.
        labels: sparse annotation of the same image. Where it says "unlabelled" the prediction alone speaks.
        rate: share of the true voxels that the annotation holds.
        out: .zarr to write: an OME-Zarr label image that a manifest can name as labels. What it was made from is in its
            attributes under "malpighi".
        label: which class; needed where the prediction has several.

    Returns:
        "output", "class", "rate" (reached), "asked", "threshold", "annotated", "added", "dense" (voxels), "prediction",
        "labels", "run".

    Raises:
        DataError: the prediction has no probabilities, the labels are of another image, the rate cannot be met.
        OutputError: `out` exists or cannot be written; nothing is left behind.
    """
    talk, out = talk or Talk(), Path(out)
    if out.suffix.lower() != ".zarr":
        raise OutputError(f"{out}: pseudo-labels are written as OME-Zarr; give a name that ends in .ome.zarr")
    if out.exists() and not overwrite:
        raise OutputError(f"{out}: exists; choose another name or pass --overwrite")
    made = Prediction(prediction)
    made.close()
    pair = _open(made, Path(prediction), Path(labels), label)
    try:
        boxes = list(Box.of_shape(pair.space.shape).split((SHARD[pair.space.rank],) * pair.space.rank))
        with talk.bar("matching the rate", total=len(boxes)) as advance:
            found = match_rate(_each(pair, boxes, advance), rate, str(prediction))
        facts = _facts(found, pair, made, Path(labels))
        with talk.bar("writing the mask", total=len(boxes)) as advance:
            _write(pair, found, facts, out, overwrite, advance)
    finally:
        pair.probabilities.close()
        pair.labels.close()
    return {"output": str(out), **facts}


def _open(made: Prediction, prediction: Path, labels: Path, label: str | None) -> _Pair:
    if label is None and len(made.classes) > 1:
        raise DataError(f"{prediction}: predicts {', '.join(made.classes)}; say which with --class")
    name = label or made.classes[0]
    if name not in made.classes:
        raise DataError(f"{prediction}: does not predict {name!r}; classes are {', '.join(made.classes)}")
    path = prediction / PROBABILITIES
    if not path.exists():
        raise DataError(f"{prediction}: holds no probabilities; segment again with --probabilities")
    probabilities = open_image(path, spacing=made.spacing)
    annotation = open_annotation(labels, made.space)
    if name in annotation.classes:
        layer = annotation.classes.index(name)
    elif len(annotation.classes) == 1:
        layer = 0
    else:
        raise DataError(f"{labels}: speaks of {', '.join(annotation.classes)}, not of {name}; name the class with --class")
    return _Pair(probabilities, made.classes.index(name), annotation, layer, made.space, name)


def _each(pair: _Pair, boxes: list[Box], advance: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for box in boxes:
        yield pair.read(box)
        advance()


def _write(pair: _Pair, found: RateMatch, facts: dict[str, Any], out: Path, overwrite: bool, advance: Any) -> None:
    writer = ZarrWriter(
        out,
        pair.space.shape,
        pair.space.spacing,
        np.uint8,
        kind="labels",
        classes={1: pair.name},
        shard=SHARD[pair.space.rank],
        overwrite=overwrite,
    )
    try:
        for box in Box.of_shape(pair.space.shape).split(writer.shard):
            probability, annotated = pair.read(box)
            writer.write(box, (annotated | (probability >= found.level)).astype(np.uint8))
            advance()
        writer.finish()
        _remember(out, facts)
    except BaseException:
        remove_zarr(out)
        raise


def _remember(out: Path, facts: dict[str, Any]) -> None:
    import zarr

    group = zarr.open_group(out, mode="r+")
    group.attrs["malpighi"] = {"pseudo": json.loads(json.dumps(facts))}


def _facts(found: RateMatch, pair: _Pair, made: Prediction, labels: Path) -> dict[str, Any]:
    return {
        "class": pair.name,
        "rate": round(found.rate, 6),
        "asked": found.asked,
        "threshold": round(found.threshold, 6),
        "annotated": found.annotated,
        "added": found.added,
        "dense": found.dense,
        "prediction": str(Path(made.name).resolve()),
        "labels": str(labels.resolve()),
        "run": made.manifest.get("run") or made.manifest.get("model"),
    }
