"""The page that `inspect` writes: a survey in tables and plots, with pictures of some cases."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from malpighi.annotations.base import Annotation
from malpighi.errors import MalpighiError
from malpighi.geometry import Box, Spacing
from malpighi.images import Source
from malpighi.reports.colors import class_colors
from malpighi.reports.html import Report
from malpighi.reports.plots import histogram
from malpighi.reports.survey_figures import (
    count_bars,
    intensity_lines,
    labelled_picture,
    orthogonal_picture,
    share_dots,
    size_scatter,
    slice_drift,
)
from malpighi.reports.volume import pieces, read_view
from malpighi.reports.words import share_text
from malpighi.sampling.cases import Case, open_case
from malpighi.sampling.classfacts import median
from malpighi.sampling.measure import thumbnail
from malpighi.sampling.survey import Survey

VOLUME = 1 << 23
"""Voxels of a volume that pictures are made from."""
ATTRIBUTES = ("organ", "stain", "donor", "split")


def survey_report(found: Survey, pictures: int = 12) -> Report:
    """The page of a survey. `pictures` cases are opened again and shown with their labels."""
    table = found.table
    report = Report(table.root.name or str(table.root), f"{len(table)} images, layout “{table.layout}”", kind="inspect")
    report.facts(headline(found))
    for line in (*table.notes, *found.warnings):
        report.text(line)
    if found.problems:
        report.section("Broken", "These cases cannot be used as they are; every line names the file and what to do.")
        for line in found.problems:
            report.warning(line)
    _examples(report, found, pictures)
    _counts(report, found)
    _images(report, found)
    if table.labelled:
        _objects(report, found)
    return report


def headline(found: Survey) -> dict[str, Any]:
    """The few figures that stand on top of the page and of the terminal's tables."""
    table = found.table
    return {
        "images": len(table),
        "annotated": len(table.labelled),
        **({"with image labels": sum(found.labels_an_image.values())} if found.image_labels else {}),
        "groups (donors)": len(table.counts("group")),
        "classes": (", ".join(table.classes) or None) if len(table.classes) < 4 else len(table.classes),
        "image size": _sizes(found),
        "pixel size": _pixel_sizes(found),
        "values": ", ".join(dict.fromkeys(f"{len(fact.channels)} × {fact.dtype}" for fact in found.readable)),
        "broken": len(found.problems),
    }


def class_rows(found: Survey) -> list[dict[str, Any]]:
    """Rows of the table of classes."""
    return [
        {
            "class": name,
            "labelled": facts.cases,
            "present": facts.present,
            "objects": facts.objects,
            "area": share_text(facts.share),
            "median ⌀ px": median(facts.diameters_px),
            "typical ⌀ px": facts.typical_px,
            "median ⌀ µm": median(facts.diameters_um),
            "typical ⌀ µm": facts.typical_um,
        }
        for name, facts in found.classes.items()
    ]


def label_rows(found: Survey) -> list[dict[str, Any]]:
    """Rows of the table of what images as a whole show."""
    of = sum(found.labels_an_image.values())
    return [
        {"image label": name, "images": count, "share": share_text(count / of)} for name, count in found.image_labels.items()
    ]


def case_table(found: Survey) -> str:
    """One line a case as CSV: what it is, what was measured, what is wrong."""
    attributes = sorted({name for case in found.table.cases for name in case.attributes})
    shown = ["image labels"] if found.image_labels else []
    classes = found.table.classes if found.table.labelled else ()
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    counts = [f"objects {name}" for name in classes]
    shares = [f"share {name}" for name in classes]
    writer.writerow(
        [
            "id",
            "image",
            "group",
            "split",
            *attributes,
            *shown,
            "shape",
            "channels",
            "dtype",
            "spacing µm",
            *counts,
            *shares,
            "problem",
        ]
    )
    for case, fact in zip(found.table.cases, found.facts, strict=True):
        told = [fact.objects.get(name) for name in classes]
        writer.writerow([
            *(case.id, case.image, case.value("group"), case.split),
            *(case.attributes.get(name, "") for name in attributes),
            *(";".join(case.image_labels or ()) for _ in shown),
            *("×".join(map(str, fact.shape)), len(fact.channels), fact.dtype, "×".join(f"{v:g}" for v in fact.spacing)),
            *("" if objects is None else objects.count for objects in told),
            *("" if objects is None else f"{objects.share:.6g}" for objects in told),
            " | ".join(fact.problems),
        ])  # fmt: skip
    return out.getvalue()


def _counts(report: Report, found: Survey) -> None:
    bars = {}
    if len(found.table.counts("class")) > 1:
        bars["Images labelled for each class."] = count_bars(found.table.counts("class"), class_colors(found.table.classes))
    if found.image_labels:
        bars["Images by label; an image may have several."] = count_bars(found.image_labels)
    if len(found.labels_an_image) > 1:
        bars["Images by their number of labels."] = count_bars({str(n): count for n, count in found.labels_an_image.items()})
    for key in ATTRIBUTES:
        if len(counts := found.table.counts(key)) > 1:
            bars[f"Images by {key}."] = count_bars(counts)
    groups = Counter(found.table.counts("group").values())
    if sum(groups.values()) < len(found.table):
        sizes = {f"{n} image{'s' * (n > 1)}": groups[n] for n in sorted(groups)}
        bars["Groups (donors) by their number of images; a group is never on both sides of a fold."] = count_bars(sizes)
    alone = {key: next(iter(found.table.counts(key))) for key in ATTRIBUTES if found.tells(key)}
    alone = {key: value for key, value in alone.items() if len(found.table.counts(key)) == 1}
    if bars or alone:
        report.section("Cases")
    if alone:
        report.text(f"All of one kind: {', '.join(f'{key} {value}' for key, value in alone.items())}.")
    if bars:
        report.figures(bars)


def _images(report: Report, found: Survey) -> None:
    if not found.readable:
        return
    report.section("Images")
    shapes = [fact.shape for fact in found.readable]
    figures = {"Image sizes.": size_scatter(shapes)} if len(set(shapes)) > 1 else {}
    if len(found.spacings) > 1:
        figures["Images by pixel size."] = count_bars(found.spacings)
    alike = found.like_most()
    kinds = " and ".join(found.dtypes)
    figures["Intensity by channel, every image with the same weight."] = intensity_lines(
        [fact.values for fact in alike], alike[0].channels, kinds
    )
    report.figures(figures).table(found.intensity, caption="Intensity: mean, spread and percentiles")


def _objects(report: Report, found: Survey) -> None:
    report.section("Objects", "Objects are what the file tells apart, else connected areas; diameters are those of circles "
                   "(spheres) of the same size.")  # fmt: skip
    colors = class_colors(found.table.classes)
    report.table(class_rows(found), colors=colors)
    physical = all(len(facts.diameters_um) == len(facts.diameters_px) for facts in found.classes.values())
    sizes = {name: facts.diameters_um if physical else facts.diameters_px for name, facts in found.classes.items()}
    figures = {"Object diameters.": histogram(sizes, f"diameter, {'µm' if physical else 'px'}", colors)}
    shares = {name: [f.objects[name].share for f in found.readable if name in f.objects] for name in found.table.classes}
    shares = {name: values for name, values in shares.items() if values}
    if shares:
        figures["Share of the area that each class covers, by image."] = share_dots(shares, colors)
    report.figures(figures)


def _examples(report: Report, found: Survey, most: int) -> None:
    colors = list(class_colors(found.table.classes).values())
    shown, volumes = {}, {}
    for case in examples(found, most):
        try:
            with open_case(case, found.table.classes) as opened:
                if opened.source.space.rank == 3:
                    image, layers, spacing = _small(opened.source, opened.annotation)
                    shown[f"{case.id}{_told(case)}"] = orthogonal_picture(image, layers, spacing.values, colors)
                    volumes[case.id] = image
                    continue
                image, spacing = thumbnail(opened.source, 480)
                drawn = _drawn(opened.annotation, image.shape[1:], spacing)
                shown[f"{case.id}{_told(case)}"] = labelled_picture(image, drawn, colors)
        except (MalpighiError, OSError):
            continue  # it stands among the broken ones
    if shown:
        how = " Volumes: one slice across each axis, in true proportions." if volumes else ""
        report.section(
            "Examples", f"Labels are drawn in the classes' colours; hatched: nobody said what is there.{how}"
        ).figures(shown)
    if any(image.shape[1] > 2 for image in volumes.values()):
        report.figures({"Intensity by slice, median and the middle nine tenths: drift along the volume.": slice_drift(volumes)})


def _drawn(annotation: Annotation | None, shape: tuple[int, ...], spacing: Spacing) -> np.ndarray | None:
    return None if annotation is None else annotation.rasterise(Box.of_shape(shape), spacing)


def _small(source: Source, annotation: Annotation | None) -> tuple[np.ndarray, np.ndarray | None, Spacing]:
    """A volume and its labels on a grid of at most `VOLUME` voxels, read piece by piece."""
    view = read_view(source, {}, VOLUME, 512)
    if annotation is None:
        return view.image, None, view.spacing
    layers = np.empty((len(annotation.classes), *view.codes.shape), np.uint8)
    for box in pieces(view.codes.shape, source.space, view.spacing):
        layers[(slice(None), *box.slices)] = annotation.rasterise(box, view.spacing)
    return view.image, layers, view.spacing


def examples(found: Survey, most: int) -> Iterator[Case]:
    """At most `most` cases: one of each kind (class, organ, stain) first, then evenly over the rest."""
    good = [case for case, fact in zip(found.table.cases, found.facts, strict=True) if fact.shape and not fact.problems]
    kinds: dict[tuple[str, ...], Case] = {}
    for case in good:
        kinds.setdefault(tuple(case.value(key) for key in ("class", "organ", "stain")), case)
    first = list(kinds.values())[:most]
    rest = [case for case in good if case not in first]
    room = min(most - len(first), len(rest))
    yield from first
    yield from (rest[i] for i in np.linspace(0, len(rest) - 1, room).round().astype(int)) if room else ()


def _told(case: Case) -> str:
    told = [value for key in ("organ", "stain") if (value := case.attributes.get(key))]
    return f" ({', '.join(told)})" if told else ""


def _pixel_sizes(found: Survey) -> str | None:
    """Every pixel size where there are few, else the range; "px" where it is unknown."""
    kinds = list(found.spacings)
    if len(kinds) <= 3:
        return ", ".join(kinds) or None
    known = [fact.spacing[-1] for fact in found.readable if fact.spacing]
    return f"{min(known):g} … {max(known):g} µm" + (", px" if "px" in kinds else "")


def _sizes(found: Survey) -> str | None:
    """The one size, or the smallest and the largest by number of pixels."""
    shapes = sorted({fact.shape for fact in found.readable}, key=lambda shape: (math.prod(shape), shape))
    spelt = [" × ".join(map(str, shape)) for shape in shapes]
    return " … ".join(dict.fromkeys([spelt[0], spelt[-1]])) if spelt else None
