"""`segment`, whole: image → streamed prediction → objects → GeoJSON, table, report. Goes on where it was stopped."""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from rich.markup import escape

from malpighi.annotations.geojson import write_geojson
from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Box, Shape, Spacing
from malpighi.images import Source
from malpighi.images.cache import tiles
from malpighi.images.open import open_image
from malpighi.inference.options import PredictOptions
from malpighi.inference.predict import Forward
from malpighi.inference.progress import Progress
from malpighi.inference.store import PredictionStore, file_fingerprint, finished_manifest, identity
from malpighi.objects.instances import InstanceOptions
from malpighi.objects.label import BLOCK, find_components
from malpighi.objects.measure import ObjectOptions, find_numbered_objects, find_objects, min_voxels
from malpighi.objects.table import ObjectTable
from malpighi.reports.colors import class_colors
from malpighi.tasks.asked import find_images, stem
from malpighi.tasks.image import forward_of, predict_image, prepare_source, require_stride, tile_stride, with_channels
from malpighi.tasks.instances import BLOCK as INSTANCE_BLOCK
from malpighi.tasks.instances import find_instances, require_instances
from malpighi.tasks.run import TrainedRun, is_starter, open_run
from malpighi.tasks.talk import Talk, peak_memory_mb
from malpighi.tasks.within import Within, hull_of

_AFTER = ("predict", "objects", "instances")  # sections of a recipe that can change after training
OBJECTS, OUTLINES, REPORT = "objects.parquet", "objects.geojson.gz", "report.html"
STARTER_UM = 0.5
"""What a starter model takes for one of its pixels where an image says its size: nuclei are then 15 to 40 pixels wide, as most were in
training."""
TILE_CACHE_BYTES = 64 * 2**20
"""Decoded file tiles that are kept while segmenting: each is needed by neighbouring tiles only, unlike in training."""


@dataclass(frozen=True)
class Model:
    """A trained network, ready to predict on this machine."""

    run: TrainedRun
    forward: Forward
    predict: PredictOptions
    objects: ObjectOptions
    instances: InstanceOptions
    device: str
    digest: str
    stride: tuple[int, ...]


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
        run: folder of a training run, or the name of a starter model.
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
    model = open_model(run, overrides, probabilities)
    in_pixels = is_starter(model.run.path) and not model.run.inputs.spacing.physical
    paths = find_images(images, model.run.inputs.spacing.rank)
    for path in paths if len(paths) > 1 else ():
        with open_image(path, spacing=starter_spacing(path, spacing) if in_pixels else spacing) as source:
            inputs = model.run.inputs
            inputs.check(with_channels(source, model.run.recipe, inputs.channels))
    results, failed = [], []
    for path in paths:
        folder = Path(out) / stem(path)
        try:
            at = starter_spacing(path, spacing) if in_pixels else spacing
            with open_image(path, spacing=at, on_damage="raise" if strict else "fill") as source:
                bounds = None if within is None else hull_of(within, stem(path), source, margin)
                results.append(segment_image(model, source, path, folder, within=bounds, overwrite=overwrite, talk=talk))
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


def open_model(run: Path, overrides: Sequence[str] = (), probabilities: bool = False) -> Model:
    """A run's network on the best device of this machine, with the recipe's inference options as overridden."""
    from malpighi.recipes.load import build, read_raw
    from malpighi.tasks.prepare import machine_facts
    from malpighi.training.allocator import keep_freed_pages

    keep_freed_pages(megabytes=64)
    tiles.limit = TILE_CACHE_BYTES
    opened = open_run(run)
    recipe = opened.recipe
    if overrides:
        for override in overrides:
            if override.partition(".")[0] not in _AFTER or override.startswith("instances.kind"):
                raise RecipeError(
                    f"--set {override}: only {', '.join(f'{name}.*' for name in _AFTER)} can change after training, but not what "
                    "the network gives; train again for the rest"
                )
        recipe = build(read_raw(str(opened.path / "recipe.toml"), overrides), "--set")
    device = machine_facts().device
    predict = replace(recipe.predict, probabilities=True) if probabilities else recipe.predict
    train = recipe.train
    network = opened.network()
    stride = tile_stride(network)
    require_stride(predict, stride)
    predict.limits(len(opened.inputs.classes))
    require_instances(recipe, opened.inputs.classes)
    axes = recipe.data.axes
    forward = forward_of(network, opened.inputs, predict, device, train.precision, train.channels_last, axes)
    digest = hashlib.sha256((opened.path / "weights.safetensors").read_bytes()).hexdigest()[:16]
    return Model(opened, forward, predict, recipe.objects, recipe.instances, device, digest, stride)


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
    talk = talk or Talk()
    inputs, options = model.run.inputs, model.predict
    source = prepare_source(source, model.run.recipe, talk, inputs.channels)
    inputs.check(source)
    began = time.monotonic()
    fingerprint = _fingerprint(model, source, path, within)
    shape = source.space.shape_at(inputs.spacing)
    thresholds = (model.instances.foreground,) if inputs.layers else options.limits(len(inputs.classes))
    asked = identity(shape, inputs.spacing, inputs.classes, thresholds, options.probabilities, fingerprint)
    progress = Progress()
    finished = None if overwrite else finished_manifest(folder, asked)
    if finished:
        talk.say(f"{escape(str(folder))}: is finished; --overwrite predicts it again")
        if report and not (folder / REPORT).is_file():  # stopped between the two
            _report(folder, source, finished["objects"], talk)
        return {**finished, "output": str(folder)}
    with PredictionStore(
        folder,
        shape,
        inputs.spacing,
        inputs.classes,
        thresholds,
        probabilities=options.probabilities,
        top=options.top,
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
        limits = store.decide()
        if inputs.layers:
            number_objects(store, model, talk)
        else:
            drop_specks(store, inputs.spacing, model.objects)
        store.finish_masks()
        with talk.bar("outlining objects", total=len(inputs.classes)) as advance:
            objects = write_objects(store, source, model, advance)
        facts: dict[str, Any] = {
            "run": str(model.run.path),
            "tiles": progress.tiles,
            "skipped_tiles": progress.skipped,
            "seconds": round(time.monotonic() - began, 2),
            "stage_seconds": {name: round(value, 2) for name, value in progress.seconds.items()},
            "peak_memory_mb": peak_memory_mb(),
            "device": model.device,
            "thresholds": dict(zip(inputs.classes, limits.tolist(), strict=True)),
            "objects": objects,
            **({"instances": True} if inputs.layers else {}),
            "outlines": OUTLINES if source.space.rank == 2 else None,
            "damage": [str(damage) for damage in store.damage],
        }
        store.finish(facts)
    for line in facts["damage"]:
        talk.say(f"[red]unreadable:[/red] {escape(f'{path} {line}')}")
    if report:
        _report(folder, source, objects, talk)
    return {**facts, "output": str(folder)}


def _fingerprint(model: Model, source: Source, path: Path, within: Within | None) -> dict[str, Any]:
    """What a prediction depends on besides its grid and thresholds: the same again, and it can go on or stand."""
    options = ("tile", "overlap", "window", "batch", "flips", "average", "top", "skip_blank")
    return {
        "within": within.told if within else None,
        "image": {**file_fingerprint(path), "shape": list(source.shape), "spacing": _spacing(source.space.spacing)},
        "weights": model.digest,
        "options": {
            **{f"predict.{k}": getattr(model.predict, k) for k in options},
            **{f"objects.{k}": value for k, value in asdict(model.objects).items()},
            **({f"instances.{k}": value for k, value in asdict(model.instances).items()} if model.run.inputs.layers else {}),
        },
    }


def number_objects(store: PredictionStore, model: Model, talk: Talk) -> None:
    """Make the label image of the layers that were stored; what is below the smallest area does not get into it.

    Done again from the start where a run was stopped in it: it takes far less than the layers did.
    """
    blocks = len(list(Box.of_shape(store.shape).split((INSTANCE_BLOCK, INSTANCE_BLOCK))))
    smallest = min_voxels(model.objects, model.run.inputs.spacing)
    with talk.bar("telling objects apart", total=blocks) as advance:
        write = partial(store.write_mask, 0)
        find_instances(store.read_layers(), store.shape, write, model.instances, smallest, advance)


def drop_specks(store: PredictionStore, spacing: Spacing, options: ObjectOptions) -> None:
    """Take objects below the smallest area out of the masks, so that masks, outlines and tables show the same objects."""
    voxel = math.prod(spacing.values)
    if not options.min_area > voxel:
        return
    block = tuple(max(side, BLOCK[len(store.shape)] // side * side) for side in store.align)
    for k in range(len(store.classes)):
        components = find_components(store.read_mask(k), store.shape, block, options.faces_only)
        dropped = np.concatenate([[False], components.count * voxel < options.min_area])
        if not dropped.any():
            continue
        for whole in Box.of_shape(store.shape).split(block):
            # a block is numbered before any of it is rewritten: numbers hold only as long as their block is as it was
            labels = components.labels(whole)
            small = dropped[labels]
            if small.any():
                kept = (labels > 0) & ~small
                for box in whole.split(store.align):
                    store.write_mask(k, box, kept[box.relative_to(whole.start).slices])


def write_objects(store: PredictionStore, source: Source, model: Model, advance: Callable[..., None]) -> dict[str, int]:
    """Measure every class's objects: objects.parquet; of images outline them too, objects.geojson.gz. Counts by class.

    GeoJSON knows no third axis: objects of a volume are rows of the table, and voxels of labels.ome.zarr.
    """
    inputs = model.run.inputs
    counts = dict.fromkeys(inputs.classes, 0)

    def shapes(table: ObjectTable) -> Iterator[Shape]:
        for k, name in enumerate(inputs.classes):
            mask, probability = store.read_mask(k), store.read_probability(k)
            before = table.rows
            find = find_numbered_objects if inputs.layers else find_objects
            yield from table.record(find(mask, source.space, inputs.spacing, name, model.objects, probability))
            counts[name] = table.rows - before
            advance()

    with ObjectTable(store.path / OBJECTS, inputs.spacing) as table:
        if source.space.rank == 2:
            write_geojson(store.path / OUTLINES, shapes(table), class_colors(inputs.classes))
        else:
            deque(shapes(table), maxlen=0)
    return counts


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


def _report(folder: Path, source: Source, objects: Mapping[str, int], talk: Talk) -> None:
    from malpighi.reports.prediction import write_prediction_report

    page = write_prediction_report(folder, _pictures(folder, source, list(objects)))
    found = ", ".join(f"{n} {name}" for name, n in objects.items())
    talk.say(escape(f"{folder}: {found}; report: {page}"))


def _pictures(folder: Path, source: Source, classes: Sequence[str]) -> dict[str, bytes | Markup]:
    """Caption → picture for the report: an image's outlines, a volume's slices and surfaces."""
    from malpighi.reports.embed import png
    from malpighi.tasks.pictures import prediction_overview, prediction_volume

    if source.space.rank == 2:
        return {"The image with the outlines of what was found.": png(prediction_overview(folder, source, classes))}
    return prediction_volume(folder, source)
