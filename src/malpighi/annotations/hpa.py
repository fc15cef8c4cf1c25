"""Classes of the Human Protein Atlas' two competitions, by number; a row of its submission as an annotation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from malpighi.annotations.hpa_table import HpaRow, stream_hpa
from malpighi.annotations.instances import Instance, InstancesAnnotation
from malpighi.errors import DataError
from malpighi.geometry import Space

HPA_2018 = (
    "Nucleoplasm",
    "Nuclear membrane",
    "Nucleoli",
    "Nucleoli fibrillar center",
    "Nuclear speckles",
    "Nuclear bodies",
    "Endoplasmic reticulum",
    "Golgi apparatus",
    "Peroxisomes",
    "Endosomes",
    "Lysosomes",
    "Intermediate filaments",
    "Actin filaments",
    "Focal adhesion sites",
    "Microtubules",
    "Microtubule ends",
    "Cytokinetic bridge",
    "Mitotic spindle",
    "Microtubule organizing center",
    "Centrosome",
    "Lipid droplets",
    "Plasma membrane",
    "Cell junctions",
    "Mitochondria",
    "Aggresome",
    "Cytosol",
    "Cytoplasmic bodies",
    "Rods & rings",
)
"""Human Protein Atlas Image Classification (2018), 28 classes."""

HPA_2021 = (
    "Nucleoplasm",
    "Nuclear membrane",
    "Nucleoli",
    "Nucleoli fibrillar center",
    "Nuclear speckles",
    "Nuclear bodies",
    "Endoplasmic reticulum",
    "Golgi apparatus",
    "Intermediate filaments",
    "Actin filaments",
    "Microtubules",
    "Mitotic spindle",
    "Centrosome",
    "Plasma membrane",
    "Mitochondria",
    "Aggresome",
    "Cytosol",
    "Vesicles and punctate cytosolic patterns",
    "Negative",
)
"""HPA Single Cell Classification (2021), 19 classes; 18 says that the protein is nowhere."""


def hpa_row(path: Path, row: str = "") -> HpaRow:
    """One row of an HPA table, by its ID; the only one, where there is one.

    Raises:
        DataError: no such row, or a broken one before it.
    """
    names = []
    only: HpaRow | None = None
    for found in stream_hpa(Path(path)):
        if found.name == row:
            return found
        only = found
        names.append(found.name)
    if only is not None and len(names) == 1 and not row:
        return only
    raise DataError(f"{path}: no row {row!r}; {len(names)} ids such as {', '.join(names[:4])}. Name the row with --row")


def hpa_instances(row: HpaRow, name: str, classes: Sequence[str] = HPA_2021) -> list[Instance]:
    """The cells of a row with the names of their classes.

    Args:
        name: of the table, for errors.

    Raises:
        DataError: a class number beyond `classes`; names row and triple.
    """
    out = []
    for place, cell in enumerate(row.cells, 1):
        told = f"{name}, row {row.name}, triple {place}"
        if cell.label >= len(classes):
            raise DataError(f"{told}: class {cell.label} is unknown; the classes are 0 to {len(classes) - 1}")
        out.append(Instance(classes[cell.label], cell.runs, cell.confidence, told))
    return out


def open_hpa(path: Path, space: Space, classes: tuple[str, ...] = (), row: str = "") -> InstancesAnnotation:
    """The cells of one image of an HPA table; masks that repeat with another label are one object.

    Args:
        space: of the image.
        classes: those of `HPA_2021` to take; empty: all.
        row: the image's ID; may be left out where the table has one row.

    Raises:
        DataError: no such row, another size than the image's, or a broken triple.
    """
    found = hpa_row(path, row)
    if found.shape != space.shape:
        told, have = (" × ".join(map(str, shape)) for shape in (found.shape, space.shape))
        raise DataError(f"{path}, row {found.name}: is of {told} there, the image of {have}; the row is of another image")
    return InstancesAnnotation(f"{path}, row {found.name}", space, hpa_instances(found, str(path)), HPA_2021, classes)
