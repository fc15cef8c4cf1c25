"""The everyday layouts: images beside masks, slides beside outlines, one PNG an object, images alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from malpighi.errors import DataError
from malpighi.images.channels import channel_files, group_channels
from malpighi.sampling.cases import Case, Labels
from malpighi.sampling.files import child, folders_in, images_in, is_image, natural, outlines_in, stem

MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "groundtruth", "gt")
SPLITS = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation"}
SPLITS |= {"test": "test", "testing": "test"}

_MASK_NAME = re.compile(r"(.+)[ _.-](masks?|labels?|labelled|seg|segmentation|gt|rois?|RoiSet|annotations?)$", re.IGNORECASE)
_TCGA = re.compile(r"(TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})-", re.IGNORECASE)
_EYES = re.compile(r"(Image_\d+)[LR]$")
_NAMED_GROUP = re.compile(r"(?:^|[ _-])((?:patient|donor|case|slide|subject)[ _-]?[A-Za-z]*\d+)(?=$|[ _.-])", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """What a layout made of a folder: its cases, and what a reader should know of the choices.

    Attributes:
        classes: what images may show, where the layout knows more of them than occur.
    """

    cases: tuple[Case, ...]
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def images_and_masks(root: Path) -> Found | None:
    """`images/` and `masks/` (or `labels/`, `annotations/`, …) with the same names, or names that go on in a suffix."""
    images, masks = child(root, "images", "image", "img", "imgs"), child(root, *MASK_FOLDERS)
    if images is None or masks is None:
        return None
    found = _paired(root, images_or_volumes(images), [*images_in(masks), *outlines_in(masks), *slices_in(masks)])
    left = [folder.name for folder in folders_in(root) if folder not in (images, masks)]
    return Found(found.cases, (*found.notes, f"other folders were left out: {', '.join(left)}")) if left else found


def images_or_volumes(folder: Path) -> list[Path]:
    """The images in a folder; where there is none, its sub-folders of slices, a volume each."""
    return images_in(folder) or slices_in(folder)


def slices_in(folder: Path) -> list[Path]:
    """The sub-folders that hold a numbered series of slices."""
    from malpighi.images.stack import is_slices

    return [path for path in folders_in(folder) if is_slices(path)]


def split_folders(root: Path) -> Found | None:
    """`train/`, `validation/`, `test/`, each with `images/` and `masks/`; the folder's name is the case's split."""
    from dataclasses import replace

    cases: list[Case] = []
    notes: list[str] = []
    for folder in folders_in(root):
        found = images_and_masks(folder) if folder.name.lower() in SPLITS else None
        if found is not None:
            split = SPLITS[folder.name.lower()]
            cases += [replace(case, id=f"{folder.name}/{case.id}", split=split) for case in found.cases]
            notes += [f"{folder.name}/: {note}" for note in found.notes]
    return Found(tuple(cases), tuple(dict.fromkeys(notes))) if cases else None


def labels_beside(root: Path) -> Found | None:
    """Slides with outlines of the same name beside them or in `annotations/`: GeoJSON, polygon JSON, ImageJ zips, `_mask`."""
    home = root if images_in(root) else child(root, "slides", "wsi", "images") or root
    aside = child(root, *MASK_FOLDERS)
    every = grouped(images_in(home), outlines_in(aside or home))
    masks = [path for path in every if _is_mask_of_another(path, every)]
    places = dict.fromkeys(place for place in (root, home, aside) if place)
    labels = [*masks, *(path for place in places for path in outlines_in(place)), *(images_in(aside) if aside else [])]
    images = [path for path in every if path not in masks]
    if not images or not labels:
        return None
    found = _paired(root, images, labels)
    return found if any(case.labels for case in found.cases) else None


def one_png_an_object(root: Path) -> Found | None:
    """A folder a case, with one image in its `images/` and one mask an object in its `masks/` (Data Science Bowl 2018)."""
    cases = []
    for folder in folders_in(root):
        images, masks = child(folder, "images"), child(folder, "masks")
        inside = group_channels(images_in(images)) if images else []
        if masks is None or len(inside) != 1 or (stem(inside[0]) != folder.name and folder.name.lower() in SPLITS):
            continue
        cases.append(Case(folder.name, inside[0], (Labels(masks),) if images_in(masks) else ()))
    return Found(tuple(cases), ("no donors are known: each image is its own group",)) if cases else None


def images_alone(root: Path) -> Found | None:
    """Images without any annotation, in the folder itself or in `images/`; `ID_red.png`, `ID_green.png`, … are one."""
    home = root if images_in(root) else child(root, "images", "slides") or root
    images = images_or_volumes(home)
    if not images:
        return None
    found = _paired(root, images, [])
    note = _if_slices(home)
    return Found(found.cases, (*found.notes, note)) if note else found


def _if_slices(folder: Path) -> str:
    """A remark where images are named as slices are: 0000, 0001, …, with nothing that says what they are."""
    from malpighi.images.stack import find_slices, is_slices

    if not is_slices(folder):
        return ""
    files, numbers = find_slices(folder)
    digits = {len(re.findall(r"\d+", file.stem)[-1]) for file in files}
    follow = numbers == tuple(range(numbers[0], numbers[0] + len(numbers)))
    if not follow or len(digits) > 1 or min(digits) < 3:
        return ""
    return (
        f"{len(files)} numbered images ({files[0].name}, …) count as images of their own; if they are the slices of one "
        "volume, give --spacing by axis (z,y,x), or name the folder as the image in manifest.csv"
    )


def single_image(path: Path) -> Found | None:
    """One image file, with the outlines that lie beside it under its name."""
    if not is_image(path):
        return None
    beside = [*images_in(path.parent), *outlines_in(path.parent)]
    labels = [p for p in beside if p != path and (stem(p) == stem(path) or _MASK_NAME.sub(r"\1", stem(p)) == stem(path))]
    return _paired(path, [path], [p for p in labels if not is_image(p) or _MASK_NAME.match(stem(p))])


def group_of(name: str) -> str:
    """Donor or slide as known namings hold it; empty where they do not.

    `TCGA-XX-YYYY-…`, `patient_12_…`, `slide3_…`, and the two eyes `Image_01L` and `Image_01R` of CHASE_DB1.
    """
    match = _TCGA.match(name) or _NAMED_GROUP.search(name) or _EYES.match(name)
    return match.group(1) if match else ""


def _paired(root: Path, images: Sequence[Path], labels: Sequence[Path]) -> Found:
    if not images:
        raise DataError(f"{root}: there are masks but no images; put the images in images/ under the masks' names")
    images = grouped(images, labels)
    _refuse_twins(images)
    matched, orphans = match_labels(images, labels)
    cases, notes = [], list(channel_notes(images))
    for image in images:
        mine = matched.get(image, [])
        if len(mine) > 1:
            mine = mine[:1]  # two observers' masks of one class are alternatives, not parts
        cases.append(Case(stem(image), image, tuple(Labels(path) for path in mine), group_of(stem(image))))
    more = [paths for paths in matched.values() if len(paths) > 1]
    if more:
        rest = ", ".join(path.name for path in more[0][1:])
        used = more[0][0].name
        notes.append(
            f"{len(more)} images have several masks; the first is used ({used}, not {rest}); manifest.csv can name more"
        )
    if orphans:
        notes.append(f"{len(orphans)} masks have no image and were left out, such as {orphans[0].name}")
    bare = [case.image.name for case in cases if not case.labels]
    if bare and labels:
        notes.append(f"{len(bare)} images have no mask and count as unlabelled, such as {bare[0]}")
    if not any(case.group for case in cases):
        notes.append("no donors are known: each image is its own group")
    return Found(tuple(cases), tuple(notes))


def grouped(images: Sequence[Path], labels: Sequence[Path] = ()) -> list[Path]:
    """The images, files of one channel each put together, unless one of these has a label of its own name."""
    found = group_channels(images)
    own = {stem(label) for label in labels}
    apart = any(stem(file) in own for path in found for file in channel_files(path).values())
    return list(images) if apart else found


def channel_notes(images: Sequence[Path]) -> Iterator[str]:
    """That images are of a file a channel, and which of them lack one that others have."""
    parts = {path: tuple(channel_files(path)) for path in images if "{" in path.name}
    parts = {path: names for path, names in parts.items() if names}
    every = tuple(dict.fromkeys(name for names in sorted(parts.values(), key=len, reverse=True) for name in names))
    if parts:
        yield f"{len(parts)} images are of a file a channel: {', '.join(every)}"
    lacking = [(path, [name for name in every if name not in names]) for path, names in parts.items()]
    lacking = [(path, gone) for path, gone in lacking if gone]
    if lacking:
        path, gone = lacking[0]
        yield f"{len(lacking)} images lack a channel, such as {stem(path)} without {', '.join(gone)}"


def match_labels(images: Sequence[Path], labels: Sequence[Path]) -> tuple[dict[Path, list[Path]], list[Path]]:
    """Labels by image, and those that no image claims.

    A label belongs to the image whose stem is its own, else to the one with the longest stem that its own continues
    after a separator: `Image_01L_1stHO` goes to `Image_01L`, `C1_rois` to `C1`, never `tile_10` to `tile_1`.
    """
    by_stem = {stem(image): image for image in images}
    matched: dict[Path, list[Path]] = {}
    orphans = []
    for label in sorted(labels, key=lambda path: (len(stem(path)), natural(path.name))):
        owner = _owner(stem(label), by_stem)
        if owner is None:
            orphans.append(label)
        else:
            matched.setdefault(owner, []).append(label)
    return matched, orphans


def _owner(name: str, by_stem: dict[str, Path]) -> Path | None:
    if name in by_stem:
        return by_stem[name]
    cuts = [i for i, letter in enumerate(name) if letter in "_-. "]
    return next((by_stem[name[:cut]] for cut in reversed(cuts) if name[:cut] in by_stem), None)


def _is_mask_of_another(path: Path, every: Sequence[Path]) -> bool:
    match = _MASK_NAME.match(stem(path))
    return match is not None and any(stem(other) == match.group(1) for other in every)


def _refuse_twins(images: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for image in images:
        first = seen.setdefault(stem(image), image)
        if first != image:
            raise DataError(f"{image}: {first.name} has the same name; ids must be unique, so rename or remove one of the two")
