"""Layouts of published data sets: two HuBMAP competitions, and kidney tiles annotated for one structure each."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from malpighi.errors import DataError
from malpighi.sampling.cases import Case, Labels
from malpighi.sampling.files import child, folders_in, images_in, stem
from malpighi.sampling.folders import Found, match_labels

STAINS = {"pas": "PAS", "he": "H&E", "hne": "H&E", "sil": "silver", "tri": "trichrome", "dab": "DAB", "ihc": "IHC"}
ORGANS = {"largeintestine": "large intestine"}
_TILE = re.compile(r"im_(\d+)_\d+$")


def hubmap_2021(root: Path) -> Found | None:
    """HuBMAP Hacking the Kidney: `train.csv` (id, encoding), `train/ID.tiff`, donors in HuBMAP-20-dataset_information.csv.

    Regions (cortex, medulla) are in `train/ID-anatomical-structure.json` beside the images.
    """
    table = root / "train.csv"
    if not {"id", "encoding"} <= _header(table):
        return None
    images = _images_of(table, "train")
    donors = {row["image_file"].split(".")[0]: row for row in _rows(root / "HuBMAP-20-dataset_information.csv")}
    cases = []
    for row in _rows(table):
        facts = donors.get(row["id"], {})
        told = {name: facts[name] for name in ("race", "ethnicity", "sex", "age", "laterality") if facts.get(name)}
        donor = facts.get("patient_number", "")
        attributes = {"organ": "kidney", "stain": "PAS", **({"donor": donor} if donor else {}), **told}
        if row["id"] in images:
            labels = Labels(table, ("glomerulus",), row["id"])
            image = images[row["id"]]
            regions = image.with_name(f"{row['id']}-anatomical-structure.json")
            cases.append(Case(row["id"], image, (labels,), donor, attributes, regions=regions if regions.is_file() else None))
    notes = [] if donors else ["HuBMAP-20-dataset_information.csv is absent: donors are unknown, each slide is its own group"]
    return _complete(table, cases, notes)


def hubmap_2022(root: Path) -> Found | None:
    """HuBMAP + HPA Hacking the Human Body: `train.csv` (id, organ, pixel_size, rle, …) and `train_images/ID.tiff`."""
    table = root / "train.csv"
    if not {"id", "organ", "rle"} <= _header(table):
        return None
    images = _images_of(table, "train_images")
    cases = []
    for row in _rows(table):
        told = {name: row[name] for name in ("data_source", "tissue_thickness", "sex", "age") if row.get(name)}
        stain = {"HPA": "DAB", "Hubmap": "PAS"}.get(row.get("data_source", ""), "")
        attributes = {"organ": ORGANS.get(row["organ"], row["organ"]), **({"stain": stain} if stain else {}), **told}
        if row["id"] in images:
            labels = Labels(table, ("FTU",), row["id"])
            cases.append(Case(row["id"], images[row["id"]], (labels,), "", attributes, _pixel_size(table, row)))
    return _complete(table, cases, ["the table names no donors: each image is its own group"])


def structure_and_stain(root: Path) -> Found | None:
    """`STRUCTURE/STAIN/{images,masks}`: every tile is annotated for its folder's structure alone, the others are unlabelled."""
    cases: list[Case] = []
    for structure in folders_in(root):
        for stain in folders_in(structure):
            images, masks = child(stain, "images"), child(stain, "masks")
            if images and masks and stain.name.lower() in STAINS:
                cases += _tiles(structure.name, stain.name, images, masks)
    notes = (
        "each tile is annotated for one structure; the other classes are unlabelled there, not background",
        "tiles of one slide (the first number of im_SLIDE_N) are one group",
    )
    return Found(tuple(cases), notes) if cases else None


def _tiles(structure: str, stain: str, images: Path, masks: Path) -> Iterator[Case]:
    found = images_in(images)
    matched, _ = match_labels(found, images_in(masks))
    for image in found:
        labels = tuple(Labels(path, (structure,)) for path in matched.get(image, [])[:1])
        tile = _TILE.match(stem(image))
        attributes = {"organ": "kidney", "stain": STAINS[stain.lower()]}
        yield Case(f"{structure}/{stain}/{stem(image)}", image, labels, tile.group(1) if tile else "", attributes)


def _images_of(table: Path, name: str) -> dict[str, Path]:
    folder = child(table.parent, name)
    images = {stem(path): path for path in images_in(folder)} if folder else {}
    if not images:
        ids = [row["id"] for row in _rows(table)]
        raise DataError(
            f"{table}: lists {len(ids)} images ({', '.join(ids[:3])}, …), but {name}/ holds none; "
            f"put the competition's TIFFs into {table.parent / name}"
        )
    return images


def _complete(table: Path, cases: list[Case], notes: list[str]) -> Found:
    rows = [row["id"] for row in _rows(table)]
    twice = next((name for name, count in Counter(rows).items() if count > 1), None)
    if twice:
        raise DataError(f"{table}: id {twice!r} is listed twice; ids must be unique, so remove one of the rows")
    if len(cases) < len(rows):
        have = {case.id for case in cases}
        gone = [name for name in rows if name not in have]
        notes = [*notes, f"{len(gone)} rows of {table.name} have no image and were left out, such as {gone[0]}"]
    return Found(tuple(cases), tuple(notes))


def _pixel_size(table: Path, row: dict[str, str]) -> float | None:
    text = row.get("pixel_size", "")
    try:
        return float(text) if text else None
    except ValueError:
        raise DataError(f"{table}: pixel_size {text!r} of {row['id']} is not a number; give µm per pixel") from None


def _header(table: Path) -> set[str]:
    if not table.is_file():
        return set()
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        return {name.strip() for name in lines.readline(4096).split(",")}


def _rows(table: Path) -> Iterator[dict[str, str]]:
    """Rows of a comma-separated table, if it is there; run lengths, megabytes in one field, are cut away unparsed."""
    if not table.is_file():
        return
    with table.open(encoding="utf-8-sig", newline="") as lines:
        short = (re.sub(r"(\d+ ){20,}\d*", "", line) for line in lines)
        for row in csv.DictReader(short):
            yield {key.strip(): (value or "").strip() for key, value in row.items() if key}
