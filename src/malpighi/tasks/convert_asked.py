"""What `convert` was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from malpighi.annotations.rle import Order
from malpighi.geometry import Spacing
from malpighi.tasks.convert_instances import Format

Progress = Callable[[int, int], None]
"""Takes how much is done, and of how much."""


@dataclass(frozen=True)
class Conversion:
    """What to convert, and what the input does not say itself.

    Attributes:
        source: image, label file, folder of one PNG an object or of a volume's slices, or a prediction that `segment` wrote.
        target: by its suffix, the format to write.
        image: the image the labels belong to: its size, and its pixel size.
        classes: what label values or unnamed objects mean, or which of the named ones to take.
        spacing: level-0 µm per pixel; None: what the image says. One of three axes says that a folder is a volume.
        order: of run lengths, read or written: "F" column-major, "C" row-major; None: "F", of volumes "C".
        row: id of the row to read or to write in a run-length table, of volumes without the slice's number; default when
            writing: the source's name.
        size: (y, x) of the image, where there is no image to ask.
        objects: keep objects apart: numbers in a label image, a row an object in a table.
        overwrite: replace what is there.
        like, organs, column: of a submission made of predictions, see `write_submission`.
        style: which format of masks of single objects a .json or .csv is: "coco", "hpa" or "sartorius"; empty: polygons, or
            a row of run lengths. A name that ends in .coco.json is COCO.
    """

    source: Path
    target: Path
    image: Path | None = None
    classes: tuple[str, ...] = ()
    spacing: float | Spacing | None = None
    order: Order | None = None
    row: str = ""
    size: tuple[int, int] | None = None
    objects: bool = False
    overwrite: bool = False
    style: Format = ""
    like: Path | None = None
    organs: Path | None = None
    column: str = ""
