"""Layouts of volumes saved as folders of slices.

A folder of numbered images may be a volume or a data set of 2-D images; nothing in it tells. It is taken as a volume where
something does: it lies in a folder of its own within `images/`, beside others in NAME/images/; the manifest names it as an
image; or the user gives the spacing of three axes.
"""

from __future__ import annotations

import re
from pathlib import Path

from malpighi.annotations.submissions import read_table
from malpighi.images.stack import find_slices, is_slices
from malpighi.sampling.cases import Case, Labels
from malpighi.sampling.files import child, folders_in, images_in, outlines_in
from malpighi.sampling.folders import MASK_FOLDERS, SPLITS, Found, group_of

_KIDNEY = re.compile(r"(kidney_\d+)(?:_(dense|sparse|voi))?$", re.IGNORECASE)


def one_volume(root: Path) -> Found | None:
    """A folder of slices, or `images/` and `masks/` of them: one volume. Asked only where the user says that it is one."""
    images = root if is_slices(root) else child(root, "images", "image", "imgs")
    if images is None or not is_slices(images) or _deep(images):
        return None
    masks = None if images == root else child(root, *MASK_FOLDERS)
    labels = _masks_of(masks, root.name) if masks else ()
    notes = ("the spacing has three axes, so the numbered images are the slices of one volume",)
    return Found((Case(root.resolve().name, images, labels, group_of(root.name)),), notes)


def volumes_of_slices(root: Path) -> Found | None:
    """`NAME/images/` and `NAME/masks/` (or `labels/`, …), all of numbered slices: a volume each."""
    cases = []
    for folder in folders_in(root):
        images = child(folder, "images", "image", "imgs")
        if images is None or not is_slices(images) or folder.name.lower() in SPLITS:
            continue
        masks = child(folder, *MASK_FOLDERS)
        labels = _masks_of(masks, folder.name) if masks else ()
        cases.append(Case(folder.name, images, labels, group_of(folder.name)))
    notes = [f"the images of each folder are the slices of one volume, in the order of their numbers ({len(cases)} volumes)"]
    if not any(case.group for case in cases):
        notes.append("no donors are known: each volume is its own group")
    return Found(tuple(cases), tuple(notes)) if cases else None


def sennet_2023(root: Path) -> Found | None:
    """SenNet + HOA 2023: `train/kidney_1_dense/{images,labels}/0000.tif`, …, or the rows of `train_rles.csv`.

    kidney_3_dense has labels alone, of some of kidney_3_sparse's slices: a case of its own on those images.
    """
    home = child(root, "train") or root
    table = next((path for path in (root / "train_rles.csv", home / "train_rles.csv") if path.is_file()), None)
    kidneys = {folder.name: folder for folder in folders_in(home) if _KIDNEY.match(folder.name)}
    if not any(child(folder, "images") for folder in kidneys.values()):
        return None
    rows = {key.rpartition("_")[0] for key in read_table(table)} if table else set()
    cases, notes = [], []
    for name in dict.fromkeys([*kidneys, *sorted(rows)]):
        group, kind = _parts(name)
        images = _images_of(name, group, kidneys)
        if images is None:
            notes.append(f"{name} has no slices in {home} and was left out")
            continue
        masks = child(kidneys[name], *MASK_FOLDERS) if name in kidneys else None
        labels: tuple[Labels, ...] = ()
        if masks is not None and images_in(masks):
            labels = (Labels(masks, ("vessel",)),)
        elif table is not None and name in rows:
            labels = (Labels(table, ("vessel",), name, "C"),)
        attributes = {"organ": "kidney", "modality": "HiP-CT", **({"annotation": kind} if kind else {})}
        cases.append(Case(name, images, labels, group, attributes))
    sparse = [case.id for case in cases if case.attributes.get("annotation") == "sparse" and case.labels]
    if sparse:
        notes.append(
            f"{', '.join(sparse)}: annotated in part, and the masks do not say where: vessels that nobody drew count as background"
        )
    return Found(tuple(cases), tuple(notes)) if cases else None


def _parts(name: str) -> tuple[str, str]:
    """("kidney_3", "dense"), the donor and how it was annotated."""
    match = _KIDNEY.match(name)
    return (match.group(1).lower(), (match.group(2) or "").lower()) if match else (name, "")


def _images_of(name: str, group: str, kidneys: dict[str, Path]) -> Path | None:
    """A kidney's slices, else those of the same kidney annotated otherwise; never those of `voi`, another resolution."""
    others = [other for other in kidneys if _parts(other)[0] == group and _parts(other)[1] != "voi"]
    for candidate in [name, *([] if _parts(name)[1] == "voi" else others)]:
        images = child(kidneys[candidate], "images") if candidate in kidneys else None
        if images is not None and is_slices(images):
            return images
    return None


def _masks_of(folder: Path, name: str) -> tuple[Labels, ...]:
    """The masks of one volume: its slices in a folder, or the one file there."""
    if is_slices(folder):
        return (Labels(folder),)
    inside = [*images_in(folder), *outlines_in(folder)]
    return (Labels(inside[0]),) if len(inside) == 1 else ()


def _deep(folder: Path) -> bool:
    """Whether the numbered files are volumes themselves."""
    from malpighi.images.open import open_image

    with open_image(find_slices(folder).files[0]) as first:
        return first.space.rank == 3
