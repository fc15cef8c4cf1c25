"""The objects of a prediction in files: a table, outlines, a report."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from markupsafe import Markup
from rich.markup import escape

from malpighi.annotations.geojson import write_geojson
from malpighi.geometry import Shape
from malpighi.images import Source
from malpighi.inference.store import PredictionStore
from malpighi.objects.measure import ObjectOptions, find_numbered_objects, find_objects
from malpighi.objects.table import ObjectTable
from malpighi.reports.colors import class_colors
from malpighi.tasks.run import Inputs
from malpighi.tasks.talk import Talk

OBJECTS, OUTLINES, REPORT = "objects.parquet", "objects.geojson.gz", "report.html"


def write_objects(
    store: PredictionStore, source: Source, inputs: Inputs, options: ObjectOptions, advance: Callable[..., None]
) -> dict[str, int]:
    """Measure every class's objects: objects.parquet; of images outline them too, objects.geojson.gz. Counts by class.

    Masks are taken as they are: what `clean_masks` left out of them, or filled, is so in table and outlines. GeoJSON knows no third axis: objects of a volume are rows of the table, and voxels of labels.ome.zarr.
    """
    options = options if inputs.layers else replace(options, min_area=0.0, fill_holes=0.0)
    counts = dict.fromkeys(inputs.classes, 0)

    def shapes(table: ObjectTable) -> Iterator[Shape]:
        for k, name in enumerate(inputs.classes):
            mask, probability = store.read_mask(k), store.read_probability(k)
            before = table.rows
            find = find_numbered_objects if inputs.layers else find_objects
            yield from table.record(find(mask, source.space, inputs.spacing, name, options, probability))
            counts[name] = table.rows - before
            advance()

    with ObjectTable(store.path / OBJECTS, inputs.spacing) as table:
        if source.space.rank == 2:
            write_geojson(store.path / OUTLINES, shapes(table), class_colors(inputs.classes))
        else:
            deque(shapes(table), maxlen=0)
    return counts


def write_report(folder: Path, source: Source, objects: Mapping[str, int], talk: Talk) -> None:
    """Write the page with pictures of what was found, and say where it is."""
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
