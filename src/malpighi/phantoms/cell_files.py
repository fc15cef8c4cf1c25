"""Phantoms of cells as files: a data set of image labels as the competition lays it out, with the truth of every cell."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from malpighi.errors import DataError, OutputError
from malpighi.phantoms.cell_patterns import HPA_CLASSES


def write(
    folder: Path | str,
    images: int,
    *,
    seed: int = 0,
    shape: tuple[int, int] = (512, 512),
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Path:
    """Write `images` phantoms: what a network may see in `train/` and `train.csv`, what it may not in `truth/`.

    `train/ID_red.png` … `ID_yellow.png`; `train.csv` of `ID,Label`, numbers of `HPA_CLASSES` joined by |; `truth/ID.png` 16-bit
    cell numbers; `truth/cells.csv` of `ID,cell,labels,border`, the numbers of a cell's classes joined by |. The tables are written
    last: a folder that was interrupted has none. Images already there, of the same call, are drawn again alike.

    Args:
        folder: where.
        images: how many.
        seed: of the set; image i is `CellPhantom` of a seed that depends on both.
        shape: of every image.
        progress: called with (images written, images in all).
        options: of `CellPhantom`; `labels` a tuple is given to every image.

    Raises:
        DataError: an option that cannot be drawn.
        OutputError: a file cannot be written.
    """
    from malpighi.phantoms.cells import CellPhantom

    if images < 1:
        raise DataError(f"phantom: a data set of {images} images; at least 1")
    folder = Path(folder)
    rows: list[tuple[str, str]] = []
    cells: list[tuple[str, int, str, int]] = []
    for i in range(images):
        phantom = CellPhantom(shape=shape, seed=seed * 1_000_003 + i, **options)
        name = f"cells_{seed}_{i:04d}"
        phantom.write(folder / "train", name)
        phantom.write_truth(folder / "truth" / f"{name}.png")
        rows.append((name, numbers(phantom.image_labels)))
        for number, (own, cut) in enumerate(zip(phantom.cell_classes, phantom.border, strict=True), 1):
            cells.append((name, number, numbers(own), int(cut)))
        if progress:
            progress(i + 1, images)
    _table(folder / "truth" / "cells.csv", ("ID", "cell", "labels", "border"), cells)
    _table(folder / "train.csv", ("ID", "Label"), rows)
    return folder


def numbers(names: tuple[str, ...]) -> str:
    """Numbers of classes as the competition writes them: "5|0" is two."""
    return "|".join(str(HPA_CLASSES.index(name)) for name in names)


def write_png(path: Path, plane: np.ndarray) -> Path:
    """Write (y, x) uint8 or uint16, under another name first.

    Raises:
        OutputError: it cannot be written.
    """
    done, data = cv2.imencode(".png", plane, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise OutputError(f"{path}: {plane.dtype} of shape {plane.shape} cannot be written as PNG")
    return _replace(path, data.tobytes())


def _table(path: Path, header: tuple[str, ...], rows: list[Any]) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return _replace(path, text.getvalue().encode())


def _replace(path: Path, data: bytes) -> Path:
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise OutputError(f"{path}: cannot be written ({error.strerror}); check space and permission") from error
    return path
