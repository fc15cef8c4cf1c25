"""Known folder layouts → cases. The table below is the list of them, tried from top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from malpighi.annotations.base import UNNAMED
from malpighi.errors import DataError
from malpighi.geometry import Spacing
from malpighi.images.channels import image_exists
from malpighi.sampling.cases import Case, CaseTable, Labels
from malpighi.sampling.classnames import classes_named_in
from malpighi.sampling.folders import (
    Found,
    images_alone,
    images_and_masks,
    labels_beside,
    one_png_an_object,
    single_image,
    split_folders,
)
from malpighi.sampling.hpa import hpa_2021, image_label_tables
from malpighi.sampling.manifest import manifest
from malpighi.sampling.published import hubmap_2021, hubmap_2022, structure_and_stain
from malpighi.sampling.volumes import one_volume, sennet_2023, volumes_of_slices


@dataclass(frozen=True)
class Layout:
    """A folder layout: `find` returns the cases, or None where the folder is laid out otherwise."""

    name: str
    about: str
    find: Callable[[Path], Found | None]


LAYOUTS = (
    Layout("image-labels", "NAME.csv (Id, Target) beside NAME/ of ID_red, ID_green, … files (HPA 2018)", image_label_tables),
    Layout(
        "manifest",
        "manifest.csv with a row an image: image, labels, image_labels, class, group, organ, stain, spacing, split",
        manifest,
    ),
    Layout("image", "one image file, with the outlines that lie beside it", single_image),
    Layout("hubmap-2022", "HuBMAP + HPA 2022: train.csv (id, organ, pixel_size, rle) and train_images/", hubmap_2022),
    Layout("hpa-2021", "HPA Single Cell 2021: train.csv (ID, Label) and train/ID_{red,green,blue,yellow}.png", hpa_2021),
    Layout("hubmap-2021", "HuBMAP 2021: train.csv (id, encoding) and train/", hubmap_2021),
    Layout("structures", "STRUCTURE/STAIN/{images,masks}: tiles annotated for their folder's structure", structure_and_stain),
    Layout(
        "sennet-2023", "SenNet + HOA 2023: kidney_N/{images,labels} of slices, in train/ or not, train_rles.csv", sennet_2023
    ),
    Layout("splits", "train/, validation/ and test/, each with images/ and masks/", split_folders),
    Layout("volumes", "NAME/images/ and NAME/masks/ (or labels/) of slices, a volume each", volumes_of_slices),
    Layout("images+masks", "images/ and masks/ (or labels/) with the same names", images_and_masks),
    Layout("objects", "ID/images/ID.png and ID/masks/*.png, one file an object (Data Science Bowl 2018)", one_png_an_object),
    # outlines speak of every class of the data set: one that has none in a file is background there, not unlabelled
    Layout("slides+outlines", "slides with GeoJSON, polygon JSON or ImageJ zips beside them or in annotations/", labels_beside),
    Layout("images", "images without annotation", images_alone),
)

SLICES = Layout("slices", "one folder of slices, or images/ and masks/ of them; where the spacing says z,y,x", one_volume)


def find_cases(
    data: Path,
    *,
    spacing: float | Spacing | None = None,
    classes: Sequence[str] = (),
    where: Mapping[str, Sequence[str]] | None = None,
) -> CaseTable:
    """The cases of a folder, a manifest or a single image; no image is opened.

    Args:
        data: a folder in one of `LAYOUTS`, a manifest (`.csv`), or an image file.
        spacing: level-0 µm per pixel of every image, whatever file and table say. One of three axes says too that the images
            are volumes: a folder of slices is then one of them.
        classes: where the data names no classes: what values 1, 2, … of its masks mean (one name: any value but 0).
            Where it does: those to keep, in this order.
        where: keeps the cases with one of the values, key by key: `{"class": ["tuft"], "stain": ["PAS"]}`.

    Raises:
        DataError: nothing is there, the layout is unknown or contradicts itself; ids repeat; a class or a value of
            `where` is unknown.
    """
    layout, found = _recognise(Path(data), isinstance(spacing, Spacing) and spacing.rank == 3)
    _refuse_repeated(Path(data), found.cases)
    table = _with_classes(CaseTable(Path(data), found.cases, _shown(found), layout.name, found.notes), tuple(classes))
    table = table.only(where) if where else table
    if spacing is not None:
        table = replace(table, cases=tuple(replace(case, spacing=_plain(spacing)) for case in table.cases))
    return table


def _plain(spacing: float | Spacing) -> float | Spacing:
    """µm on every axis as a number, as manifests hold it."""
    if isinstance(spacing, Spacing):
        return spacing.values[0] if spacing.rank == 1 and spacing.physical else spacing
    return float(spacing)


def _recognise(data: Path, volumes: bool) -> tuple[Layout, Found]:
    if not image_exists(data):
        raise DataError(f"{data}: there is no such file or folder; check the path")
    for layout in (SLICES, *LAYOUTS) if volumes else LAYOUTS:
        found = layout.find(data)
        if found is not None and found.cases:
            return layout, found
    if not data.is_dir():
        raise DataError(f"{data}: neither an image nor a manifest (.csv); give a folder, a manifest or an image")
    state = "the folder is empty" if not any(data.iterdir()) else "no known layout"
    raise DataError(
        f"{data}: {state}; put images in images/ and masks of the same names in masks/, or GeoJSON beside slides, "
        f"or list them in manifest.csv (known layouts: {', '.join(layout.name for layout in LAYOUTS)})"
    )


def _refuse_repeated(data: Path, cases: Sequence[Case]) -> None:
    seen: dict[str, Case] = {}
    for case in cases:
        if case.id in seen:
            raise DataError(f"{data}: id {case.id!r} is that of {seen[case.id].image} and of {case.image}; ids must be unique")
        seen[case.id] = case


def _shown(found: Found) -> tuple[str, ...]:
    """What images as a whole are said to show, or could be: the layout's classes, then those that only cases name."""
    named = (name for case in found.cases for name in case.image_labels or ())
    return tuple(dict.fromkeys([*found.classes, *named]))


def _with_classes(table: CaseTable, wanted: tuple[str, ...]) -> CaseTable:
    """Give every label file its classes, and the table the union of them and of what images show, which it holds already.

    A file says its classes by its folder or its manifest line, or by the names inside (GeoJSON). One that does neither is
    a mask of the data set's only class, or of the classes that the user named.
    """
    if len(set(wanted)) != len(wanted):
        raise DataError(f"{table.root}: classes {', '.join(wanted)} repeat; give each once")
    labels = [part for case in table.cases for part in case.labels]
    told = tuple(dict.fromkeys(name for part in labels for name in part.classes))
    inside = {part.path: classes_named_in(part.path) for part in labels if not part.classes}
    named = tuple(dict.fromkeys([*told, *sorted({name for names in inside.values() for name in names or ()})]))
    untold = {path for path, names in inside.items() if names is None or (not names and not named)}
    shown = tuple(name for name in table.classes if name not in named)
    if not untold:
        return _keep(replace(table, classes=(*named, *shown)), wanted)
    if len(named) > 1:
        path = min(untold)
        raise DataError(f"{path}: nothing says which of the classes {', '.join(named)} it holds; name it in manifest.csv")
    classes = named or tuple(name for name in wanted if name not in shown) or (UNNAMED,)
    notes = table.notes
    if not named and not wanted:
        notes = (*notes, f"the masks' class has no name and is called {UNNAMED!r}; name it with --classes")

    def complete(part: Labels) -> Labels:
        return replace(part, classes=classes) if part.path in untold else part

    cases = tuple(replace(case, labels=tuple(map(complete, case.labels))) for case in table.cases)
    return _keep(replace(table, cases=cases, classes=(*classes, *shown), notes=notes), wanted)


def _keep(table: CaseTable, wanted: tuple[str, ...]) -> CaseTable:
    """The table with only the classes wanted, in their order; images that have no label files stay."""
    told = bool(table.labelled) or any(case.image_labels is not None for case in table.cases)
    if wanted and set(wanted) != set(table.classes) and told:
        kept = {case.id: case for case in table.only({"class": wanted}).cases}
        bare = {case.id: replace(case, image_labels=_of(case, wanted)) for case in table.cases if not case.labels}
        table = replace(table, cases=tuple((kept | bare)[case.id] for case in table.cases if case.id in kept | bare))
    return replace(table, classes=wanted or table.classes)


def _of(case: Case, wanted: tuple[str, ...]) -> tuple[str, ...] | None:
    """The image labels that are wanted; None where nobody said."""
    return None if case.image_labels is None else tuple(name for name in case.image_labels if name in wanted)
