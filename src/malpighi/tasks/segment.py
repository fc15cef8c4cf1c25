"""`segment`, whole: images → streamed prediction → objects → GeoJSON, table, report. Goes on where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.markup import escape

from malpighi.errors import DataError
from malpighi.geometry import Spacing
from malpighi.images.open import open_image
from malpighi.tasks.asked import find_images, stem
from malpighi.tasks.ensemble.folder import is_ensemble
from malpighi.tasks.ensemble.predict import open_ensemble
from malpighi.tasks.image import with_channels
from malpighi.tasks.model import Model, open_model
from malpighi.tasks.run import is_starter
from malpighi.tasks.segment_image import segment_image
from malpighi.tasks.talk import Talk, peak_memory_mb
from malpighi.tasks.within import hull_of

__all__ = ["STARTER_UM", "Model", "open_model", "segment", "segment_image", "starter_spacing"]

STARTER_UM = 0.5
"""What a starter model takes for one of its pixels where an image says its size: nuclei are then 15 to 40 pixels wide, as most were in
training."""


def segment(
    images: Sequence[str | Path],
    run: Path,
    out: Path,
    *,
    overrides: Sequence[str] = (),
    spacing: float | Spacing | None = None,
    probabilities: bool = False,
    within: Path | None = None,
    margin: float = 0.0,
    strict: bool = False,
    overwrite: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Segment images, each into a folder of its own below `out`, named after the image.

    A call that was stopped goes on where it was: finished images are left alone, an unfinished one continues. What is
    finished with other options, another network or of another image is an error, and `overwrite` replaces it.

    All images are opened before the first is segmented, so that a wrong path or a missing pixel size stops at once. Of
    several images, one that cannot be read on the way is left out and the others are done.

    Args:
        images: files, OME-Zarr folders, folders of images, glob patterns. To a run on volumes a folder of slices is one
            volume.
        run: folder of a training run or of an ensemble, or the name of a starter model.
        out: folder to make.
        overrides: "predict.key=value", "objects.key=value" or "instances.key=value" against the run's recipe.
        spacing: level-0 µm per pixel of every image, where the files do not say; `Spacing.pixels(2)` for "in pixels".
        probabilities: keep the probabilities too.
        within: an earlier prediction of the image (or a folder of such, one an image): outside the convex hull of its masks
            nothing is looked at, and nothing found.
        margin: by which that hull is made larger, in µm (pixels, where the image's size is unknown).
        strict: stop at the first tile or image that cannot be decoded, instead of leaving it out and saying so.
        overwrite: predict again whatever is there.
        talk: where to report.

    Returns:
        "outputs" (folders), "tiles", "skipped_tiles", "seconds", "peak_memory_mb", "objects" by class, "damage", and "failed":
        what was left out, tiles and images.

    Raises:
        MalpighiError: of the kind that says what is wrong: options, data, spacing or output.
    """
    talk = talk or Talk()
    began = time.monotonic()
    together = open_ensemble(run, overrides, probabilities) if is_ensemble(run) else None
    model = together.models[0] if together else open_model(run, overrides, probabilities)
    segment_one = together.segment if together else partial(segment_image, model)
    in_pixels = is_starter(model.run.path) and not model.run.inputs.spacing.physical
    paths = find_images(images, model.run.inputs.spacing.rank)
    for path in paths if len(paths) > 1 else ():
        with open_image(path, spacing=starter_spacing(path, spacing) if in_pixels else spacing) as source:
            inputs = model.run.inputs.at(source, model.predict)
            inputs.check(with_channels(source, model.run.recipe, inputs.channels))
    results, failed = [], []
    for path in paths:
        folder = Path(out) / stem(path)
        try:
            at = starter_spacing(path, spacing) if in_pixels else spacing
            with open_image(path, spacing=at, on_damage="raise" if strict else "fill") as source:
                bounds = None if within is None else hull_of(within, stem(path), source, margin)
                results.append(segment_one(source, path, folder, within=bounds, overwrite=overwrite, talk=talk))
        except DataError as error:
            if strict or len(paths) == 1:
                raise
            failed.append(str(error))
            talk.say(f"[red]left out:[/red] {escape(str(error))}")
    if not results:
        raise DataError(f"none of {len(paths)} images could be segmented; the first: {failed[0]}")
    objects: dict[str, int] = {}
    for result in results:
        for name, n in result["objects"].items():
            objects[name] = objects.get(name, 0) + n
    return {
        "outputs": [result["output"] for result in results],
        "tiles": sum(result["tiles"] for result in results),
        "skipped_tiles": sum(result["skipped_tiles"] for result in results),
        "seconds": round(time.monotonic() - began, 2),
        "peak_memory_mb": peak_memory_mb(),
        "objects": objects,
        "damage": [line for result in results for line in result["damage"]],
        "failed": failed,
    }


def starter_spacing(path: Path, spacing: float | Spacing | None) -> Spacing:
    """An image's level-0 pixels as a starter model that works in pixels counts them: those of known size in `STARTER_UM`."""
    with open_image(path, spacing=spacing) as source:
        have = source.space.spacing
    return Spacing(tuple(v / STARTER_UM for v in have.values), "px") if have.physical else have
