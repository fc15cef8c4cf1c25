"""`inspect --augmentations`: what each transform of a recipe does to tiles of a data set, as a page or one picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Box, Spacing
from malpighi.recipes.load import AUTO, read_raw
from malpighi.recipes.recipe import DataOptions
from malpighi.reports.augmentations import Row, write_augmentations
from malpighi.sampling.augment import PRESETS, AugmentOptions, augment, check_augment
from malpighi.sampling.cases import Case, OpenCase, open_case
from malpighi.sampling.dataset import TileBatches, as_shares
from malpighi.sampling.foreground import find_foreground
from malpighi.sampling.layouts import find_cases
from malpighi.sampling.mix import Mix, draw_mix, mix
from malpighi.sampling.stain_bank import Stains, fit_stains, needs_stains
from malpighi.tasks.talk import Talk

_SHOWN = 5  # tiles a row
_DRAWS = 8  # of a transform alone; that which changes most is shown

_ALONE = (
    "rotate",
    "scale",
    "aspect",
    "shift",
    "shear",
    "elastic",
    "distort",
    "tone",
    "hue",
    "saturation",
    "stain",
    "blur",
    "noise",
    "clahe",
)
EVERYTHING = AugmentOptions(
    aspect=0.2,
    distort=0.3,
    clahe=2.0,
    cutout=0.25,
    transfer=0.5,
    match=0.5,
    blend=0.3,
    cutmix=0.3,
    mixup=0.3,
)
"""Every transform that there is, at usual strength: what is shown without a recipe."""


@dataclass(frozen=True)
class _Tiles:
    """Tiles as they are read, a case each."""

    cases: Sequence[OpenCase]
    images: np.ndarray
    targets: np.ndarray
    size: tuple[int, ...]
    spacing: Spacing
    fitted: dict[tuple[str, bool], Stains] = field(default_factory=dict)

    def stains(self, options: AugmentOptions) -> Stains:
        """Those of the cases and of what they are made to look like, fitted once a way."""
        key = options.transfer_by, bool(options.transfer or options.match)
        if key not in self.fitted:
            self.fitted[key] = fit_stains(self.cases, self.spacing, options)
        return self.fitted[key]


def show_augmentations(
    data: Path,
    page: Path,
    *,
    recipe: str = "",
    overrides: Sequence[str] = (),
    spacing: float | Spacing | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
    classes: Sequence[str] = (),
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Write the pictures: each transform alone at its strongest, then all together as training draws them.

    Args:
        data: folder, manifest or image with annotations, 2-D.
        page: .html, or .png for one picture of all rows.
        recipe: name or file; empty: every transform that there is.
        overrides: "section.key=value" of the recipe; without one, of `EVERYTHING`.

    Returns:
        "page", "cases" and the names of the "transforms" shown.

    Raises:
        RecipeError: no such recipe, one of single cells, or an augmentation that images of this kind cannot be given.
        DataError: no annotated image, or volumes.
    """
    talk = talk or Talk()
    if page.suffix.lower() not in (".html", ".png"):
        raise RecipeError(f"--augmentations {page}: name a page (.html) or a picture (.png)")
    options, working = _asked(recipe, overrides)
    table = find_cases(Path(data), spacing=spacing, classes=classes, where=only).require_labels()
    with ExitStack() as stack:
        chosen = _spread(table.cases, _SHOWN)
        cases = [stack.enter_context(open_case(case, table.classes)) for case in chosen]
        tiles = _read(cases, working)
        source = cases[0].source
        check_augment(options, len(tiles.size), source.dtype.name, len(source.channels))
        rows = []
        with talk.bar("varying tiles", total=None) as advance:
            for row in _rows(tiles, options, everything=not recipe):
                rows.append(row)
                advance()
    names = [
        f"{case.id} ({', '.join(sorted(set(case.attributes.values())))})" if case.attributes else case.id for case in chosen
    ]
    write_augmentations(page, rows, names, table.classes, f"recipe {recipe}" if recipe else "every transform", str(data))
    return {"page": str(page), "cases": [case.id for case in chosen], "transforms": [row.name for row in rows]}


def _asked(recipe: str, overrides: Sequence[str]) -> tuple[AugmentOptions, DataOptions]:
    """The augmentation, and at which size and spacing tiles are read; what is still "auto" has its default."""
    raw = read_raw(recipe or "auto", overrides)
    if raw.get("task") == "cells":
        raise RecipeError(f"recipe {recipe}: is of single cells, whose tiles are no outlined tissue; give one of images")
    told = {k: v for k, v in raw.get("augment", {}).items() if v != AUTO}
    set_here = {o.partition("=")[0].strip().removeprefix("augment.") for o in overrides if o.strip().startswith("augment.")}
    if not recipe:
        told = {key: value for key, value in told.items() if key in set_here}
    options = replace(AugmentOptions() if recipe else EVERYTHING, **told)
    kept = {k: v for k, v in raw.get("data", {}).items() if k in ("unit", "spacing", "tile", "context") and v != AUTO}
    return options, DataOptions(**kept)


def _spread(cases: Sequence[Case], count: int) -> list[Case]:
    """Cases that differ: each next one has most values of attributes and classes that were not seen yet."""
    left, seen = list(cases), set[str]()
    chosen: list[Case] = []
    while left and len(chosen) < count:
        values = [{case.value(key) for key in ("stain", "organ", "class")} for case in left]
        place = max(range(len(left)), key=lambda i: (len(values[i] - seen), -i))
        if not values[place] - seen:
            seen = set()
            place = max(range(len(left)), key=lambda i: (len(values[i]), -i))
        seen |= values[place]
        chosen.append(left.pop(place))
    return chosen


def _read(cases: Sequence[OpenCase], working: DataOptions) -> _Tiles:
    """A tile of each case, about an object where there is one."""
    for case in cases:
        if case.source.space.rank != 2:
            raise DataError(f"{case.source.name}: is a volume; the page of augmentations is for images")
        if (case.source.dtype, case.source.channels) != (cases[0].source.dtype, cases[0].source.channels):
            raise DataError(f"{case.source.name} differs from {cases[0].source.name} in type or channels; choose with --only")
    size = working.sides(2)
    wanted = working.working_spacing(2)
    spacings = [wanted if wanted.physical == c.source.space.spacing.physical else c.source.space.spacing for c in cases]
    places = [(i, _box(case, spacings[i], size)) for i, case in enumerate(cases)]
    reader = TileBatches(
        cases, lambda n: places[n], spacings[0], size, working.context, PRESETS["none"], len(cases), 0, spacings=spacings
    )
    return _Tiles(cases, *reader.gathered(range(len(cases))), size, spacings[0])


def _box(case: OpenCase, spacing: Spacing, size: tuple[int, ...]) -> Box:
    """A box about the middle one of the points of the case's classes; of its own middle where it holds none."""
    assert case.annotation is not None, "cases are labelled"
    shape = case.source.space.shape_at(spacing)
    points = [p for p in find_foreground(case.annotation, spacing, size).points.values() if len(p)]
    centre = points[0][len(points[0]) // 2] if points else [n // 2 for n in shape]
    start = [max(0, min(int(c) - s // 2, n - s)) for c, s, n in zip(centre, size, shape, strict=True)]
    return Box(tuple(start), size)


def _rows(tiles: _Tiles, options: AugmentOptions, everything: bool) -> Iterator[Row]:
    none = replace(PRESETS["none"], chance=1.0, outside=options.outside)
    yield _row("as read", "without any change", tiles, none, [0])
    for name, words, alone in transforms(options, everything):
        yield _row(name, words, tiles, alone, range(1, _DRAWS + 1))
    for seed in (101, 102, 103):
        yield _row("all together", f"as training draws them, draw {seed - 100}", tiles, options, [seed])


def transforms(options: AugmentOptions, everything: bool = False) -> Iterator[tuple[str, str, AugmentOptions]]:
    """Each transform of `options` alone, certain to happen: name, value in words, options.

    Args:
        everything: show every way of the transforms that have several (`cutout_fill`, `transfer_by`).
    """
    none = replace(PRESETS["none"], chance=1.0, outside=options.outside, same="", transfer_to=options.transfer_to)
    if options.flips:
        yield "flips", "mirrored and turned by quarters", replace(none, flips=True)
    for name in _ALONE:
        value: Any = getattr(options, name)
        if value:
            yield name, f"{name} = {value:g}", replace(none, **{name: value})
    if options.cutout:
        cut = replace(none, cutout=options.cutout, cutout_holes=options.cutout_holes)
        for fill in ("black", "mean", "white") if everything else (options.cutout_fill,):
            words = f"cutout = {options.cutout:g}, cutout_holes = {options.cutout_holes}, cutout_fill = {fill}"
            yield f"cutout, {fill}", words, replace(cut, cutout_fill=fill)
    if options.transfer:
        for by in ("reinhard", "macenko", "vahadane") if everything else (options.transfer_by,):
            words = (
                f"stains of another image, transfer_by = {by}, transfer_to = {options.transfer_to or 'the images themselves'}"
            )
            yield f"transfer, {by}", words, replace(none, transfer=1.0, transfer_by=by)
    if options.match:
        words = f"histograms of another image, match_blend = {options.match_blend:g}"
        yield "match", words, replace(none, match=1.0, match_blend=options.match_blend)
    for name in ("blend", "cutmix", "mixup"):
        if getattr(options, name):
            certain: dict[str, Any] = {name: 1.0, "blend_seam": options.blend_seam}
            yield name, f"{name} with the next tile", replace(none, **certain)


def _row(name: str, words: str, tiles: _Tiles, options: AugmentOptions, seeds: Sequence[int]) -> Row:
    """The tiles after the draw that changes each of them most; of two tiles in one the middle one: most would be the other alone."""
    stains = tiles.stains(options) if needs_stains(options) else None
    plain, _ = augment(tiles.images, tiles.targets, PRESETS["none"], tiles.size, [0] * len(tiles.images))
    drawn: list[list[tuple[float, int, np.ndarray, np.ndarray]]] = [[] for _ in tiles.cases]
    for seed in seeds:
        own = [seed * 1000 + k for k in range(len(tiles.images))]
        restains = [stains.restain(s, k, options) for k, s in enumerate(own)] if stains else ()
        images, targets = augment(tiles.images, tiles.targets, options, tiles.size, own, tiles.spacing.values, restains)
        images, targets = _mixed(images, targets, options, seed)
        for k, (image, target) in enumerate(zip(images, targets, strict=True)):
            change = float(np.abs(image.astype(np.float32) - plain[k]).mean())
            drawn[k].append((change, seed, image, target))
    mixing = options.blend or options.cutmix or options.mixup
    kept = [sorted(one, key=lambda found: found[:2])[len(seeds) // 2 if mixing else -1] for one in drawn]
    return Row(name, words, [found[2] for found in kept], [found[3] for found in kept])


def _mixed(images: np.ndarray, targets: np.ndarray, options: AugmentOptions, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Each tile with the next one of the row, the last with the first."""
    count = len(images)
    drawn = [draw_mix(replace(options, same=""), seed, k, lambda _: "") for k in range(count)]
    if not any(drawn) or count < 2:
        return images, targets
    mixes: list[Mix | None] = [one and replace(one, partner=(k + 1) % count) for k, one in enumerate(drawn)]
    partners = [one.partner for one in mixes if one]
    order = [*range(count), *partners]
    return mix(images[order], (as_shares(targets) if options.mixup else targets)[order], mixes)
