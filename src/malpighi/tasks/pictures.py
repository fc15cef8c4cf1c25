"""Pictures of whole commands: which cases are shown, at which size, and how they are read for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.annotations.base import UNLABELLED
from malpighi.geometry import Box, Spacing
from malpighi.images import Source
from malpighi.reports.colors import class_colors
from malpighi.reports.embed import png
from malpighi.reports.pictures import augmented_samples, comparison, overview
from malpighi.sampling.measure import pieces

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

    from malpighi.annotations.base import Annotation
    from malpighi.sampling.dataset import TileBatches

MEGABYTES, TRIANGLES = 6.0, 400_000
"""What slice browsers, and all surfaces of 3-D views, may add to a page."""
Layer = tuple[str, int, int]
"""A class, its layer in the prediction and in the truth."""
LONGEST = 900
"""Longest side of a picture's panel, pixels."""
SHOWN = 6
"""Augmented samples in a training report."""


@dataclass(frozen=True)
class Scored:
    """A case with its mean Dice and whatever is needed to draw it."""

    case: str
    dice: float
    pair: Any


def choose(scored: Sequence[Scored]) -> dict[str, Scored]:
    """The best, the median and the worst case; fewer where there are fewer."""
    ranked = sorted((s for s in scored if not math.isnan(s.dice)), key=lambda s: -s.dice)
    places = {"best": 0, "median": (len(ranked) - 1) // 2, "worst": len(ranked) - 1}
    out: dict[str, Scored] = {}
    for which, place in places.items():
        if ranked and ranked[place] not in out.values():
            out[which] = ranked[place]
    return out


def shown_spacing(source: Source) -> Spacing:
    """The spacing at which the whole image is at most `LONGEST` pixels wide and high."""
    return source.space.spacing.times(max(1.0, max(source.shape[-2:]) / LONGEST))


def comparison_picture(
    source: Source, truth: Annotation, prediction: Annotation, layers: Mapping[str, tuple[int, int]]
) -> bytes:
    """The whole image with truth and prediction, small, as PNG; of a volume, slices of its first class."""
    if source.space.rank == 3:
        return _compared_slices(source, truth, prediction, layers)
    spacing = shown_spacing(source)
    box = Box.of_shape(source.space.shape_at(spacing))
    predicted, true = prediction.rasterise(box, spacing), truth.rasterise(box, spacing)
    figure = comparison(
        thumbnail(source, spacing),
        np.stack([true[t] for _, t in layers.values()]),
        np.stack([predicted[p] for p, _ in layers.values()]),
        list(layers),
        spacing=spacing if spacing.physical else None,
    )
    return png(figure)


def _compared_slices(source: Source, truth: Annotation, prediction: Annotation, layers: Mapping[str, tuple[int, int]]) -> bytes:
    from malpighi.reports.slices import slice_sheet
    from malpighi.reports.volume import read_view

    p, t = next(iter(layers.values()))
    masks = {"truth": mask_of(truth, t), "prediction": mask_of(prediction, p)}
    return png(slice_sheet(source, masks, read_view(source, masks)), 120)


def volume_pictures(
    source: Source,
    truth: Annotation | None = None,
    prediction: Annotation | None = None,
    layers: Sequence[Layer] = (),
    sheet: bool = True,
) -> dict[str, bytes | Markup]:
    """Views of a volume for a page: a sheet of slices, the slice browser and the 3-D view; memory does not depend on its size.

    Args:
        source: the volume.
        truth, prediction: its masks; one or both.
        layers: class, layer in prediction and in truth; default: the first class of what is given, in both.
        sheet: with the sheet of slices.

    Returns:
        Caption → picture, for `Report.figure` and so for the `pictures` of every report; {} for an image of two axes.
    """
    from malpighi.reports.mesh import mesh_view, scene
    from malpighi.reports.slices import slice_browser, slice_sheet
    from malpighi.reports.volume import read_view

    if source.space.rank != 3:
        return {}
    shown: dict[str, bytes | Markup] = {}
    given = truth or prediction
    for name, p, t in layers or ([(given.classes[0], 0, 0)] if given else [("", 0, 0)]):
        masks = {}
        if truth is not None:
            masks["truth"] = mask_of(truth, t)
        if prediction is not None:
            masks["prediction"] = mask_of(prediction, p)
        view = read_view(source, masks)
        label = f"{name.capitalize()}: " if name else ""
        coarser = f" Reduced to {view.spacing} a voxel." if view.reduced else ""
        if sheet:
            shown[f"{label}slices across z, of equal spans the one that holds most."] = png(
                slice_sheet(source, masks, view), 120
            )
        shown[f"{label}slice browser. Arrow keys move, z, y and x choose the axis, m switches the mask.{coarser}"] = (
            slice_browser(view, source.name, MEGABYTES / max(1, len(layers)))
        )
        if masks:
            held = scene(masks, source.space, TRIANGLES // max(1, len(layers)))
            shown[f"{label}in three dimensions: drag to turn, click a name to hide it. {held.caption()}"] = mesh_view(
                held, source.name
            )
    return shown


def mask_of(annotation: Annotation, layer: int) -> Callable[[Box, Spacing], np.ndarray]:
    """One class of an annotation as `reports.volume` reads it."""
    return lambda box, spacing: annotation.rasterise(box, spacing)[layer]


def prediction_volume(folder: Path, source: Source) -> dict[str, bytes | Markup]:
    """`volume_pictures` of what `segment` wrote, every class; {} for an image of two axes."""
    from malpighi.tasks.prediction import Prediction

    if source.space.rank != 3:
        return {}
    prediction = Prediction(folder)
    try:
        return volume_pictures(source, None, prediction, [(name, k, k) for k, name in enumerate(prediction.classes)])
    finally:
        prediction.close()


def prediction_overview(folder: Path, source: Source, classes: Sequence[str]) -> Figure:
    """The whole image, small, with outlines of the masks as they look at that size: memory knows neither slide nor objects."""
    from shapely import get_parts

    from malpighi.objects.trace import outline
    from malpighi.tasks.prediction import Prediction

    spacing = shown_spacing(source)
    prediction = Prediction(folder)
    whole = Box.of_shape(source.space.shape_at(spacing))
    masks = prediction.rasterise(whole, spacing)
    if prediction.has_objects:
        masks = masks * ~_touching(prediction.instances(whole, spacing))
    prediction.close()
    outlines: dict[str, list[np.ndarray]] = {name: [] for name in classes}
    for name, mask in zip(prediction.classes, masks, strict=True):
        for part in get_parts(outline(mask == 1)) if mask.any() else ():
            outlines[name].extend(np.asarray(ring.coords) for ring in (part.exterior, *part.interiors))
    return overview(thumbnail(source, spacing), outlines, class_colors(classes), spacing=spacing if spacing.physical else None)


def _touching(numbers: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbour is of another object: without them each object has its own outline."""
    found = np.zeros(numbers.shape, bool)
    for here, next_ in (((slice(None, -1),), (slice(1, None),)), ((..., slice(None, -1)), (..., slice(1, None)))):
        found[here] |= (numbers[here] != numbers[next_]) & (numbers[here] > 0) & (numbers[next_] > 0)
    return found


def thumbnail(source: Source, spacing: Spacing) -> np.ndarray:
    """The whole image at `spacing`, (channel, y, x), read in pieces: a slide of one level is never held whole."""
    shape = source.space.shape_at(spacing)
    level = source.space.shapes[source.space.level_for(spacing)]
    out = np.empty((len(source.channels), *shape), source.dtype)
    for box in pieces(shape, math.prod(level) / math.prod(shape)):
        out[(slice(None), *box.slices)] = source.read_at(box, spacing)
    return out


def save_augmented(run: Path, batches: TileBatches) -> None:
    """A figure of the first training tiles before and after augmentation: run/pictures/augmented.png."""
    from malpighi.sampling.augment import PRESETS, augment

    images, targets = batches.gathered(range(SHOWN))
    before, _ = augment(images, targets, PRESETS["none"], batches.tile, [0] * SHOWN, batches.spacing.values)
    chosen = [batches.make(n) for n in range(-(-SHOWN // batches.batch))]
    after = np.concatenate([batch.images for batch in chosen])[:SHOWN]
    wanted = np.concatenate([batch.targets for batch in chosen])[:SHOWN]
    if batches.instances != "none":
        wanted = wanted[:, :1]  # the layer that is 1 in objects
    if wanted.dtype == np.float32:  # shares: what is at least half a class is drawn as it
        wanted = np.where(np.isnan(wanted), UNLABELLED, wanted >= 0.5).astype(np.uint8)
    folder = run / "pictures"
    folder.mkdir(exist_ok=True)
    (folder / "augmented.png").write_bytes(png(augmented_samples(after, wanted, before)))
