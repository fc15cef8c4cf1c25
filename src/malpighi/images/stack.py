"""A folder of 2-D slices as one volume."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.base import Source

SUFFIXES = (".tif", ".tiff", ".png", ".bmp", ".jpg", ".jpeg")
"""What slices are saved as."""

_THREADS = 4


class Slices(NamedTuple):
    """The slices of a folder, in the order of their numbers."""

    files: tuple[Path, ...]
    numbers: tuple[int, ...]


def find_slices(folder: Path) -> Slices:
    """The slices of one volume: files whose names differ in one number alone, in its order; nothing is opened.

    Raises:
        DataError: no image, or names that are not one numbered series; names the files.
    """
    files = [path for path in sorted(Path(folder).iterdir()) if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
    if not files:
        raise DataError(f"{folder}: holds no slices; put the volume's slices in it, one {', '.join(SUFFIXES[:3])} a slice")
    split = [re.split(r"(\d+)", path.stem) for path in files]
    odd = next((k for k, parts in enumerate(split) if parts[::2] != split[0][::2] or len(parts) < 2), None)
    if odd is not None:
        other = "has no number" if len(split[odd]) < 2 else f"is not named as {files[0].name}"
        raise DataError(f"{files[odd]}: {other}; slices of one volume differ in their number alone, one folder a volume")
    values = np.array([[int(number) for number in parts[1::2]] for parts in split])
    varying = np.flatnonzero((values != values[0]).any(0))
    if len(varying) > 1:
        raise DataError(
            f"{folder}: the names differ in {len(varying)} numbers ({files[0].name}, {files[-1].name}); slices of one volume "
            "differ in one, one folder a volume"
        )
    numbers = values[:, varying[0] if len(varying) else -1]
    order = np.argsort(numbers, kind="stable")
    twice = np.flatnonzero(np.diff(numbers[order]) == 0)
    if len(twice):
        first, second = files[order[twice[0]]], files[order[twice[0] + 1]]
        raise DataError(f"{second}: is slice {numbers[order[twice[0]]]}, and so is {first.name}; remove one of the two")
    return Slices(tuple(files[k] for k in order), tuple(int(numbers[k]) for k in order))


def is_slices(folder: Path) -> bool:
    """Whether a folder holds at least two files named as the slices of one volume; opens nothing."""
    try:
        return Path(folder).is_dir() and len(find_slices(folder).files) > 1
    except (DataError, OSError):
        return False


def slice_numbers(image: Path) -> tuple[int, ...]:
    """The numbers of a volume's slices, where it is a folder of them; empty for anything else."""
    return find_slices(image).numbers if is_slices(image) else ()


class StackSource(Source):
    """The slices of a folder, stacked along z in the order of their numbers.

    Every slice's header is read when the folder is opened; pixels when a box needs them, and only of its rows where the
    format allows. How far the slices lie apart no file says: the spacing is in pixels until it is given.

    Args:
        folder: of the slices, one file each; see `find_slices`.
        labels: label images: palette indices stay numbers, alpha is dropped.
        numbers: the slices that are wanted; those without a file are all `fill`, and `present` says so. None: the ones that
            are there, which must have no gap.

    Attributes:
        numbers: of the slices, by z.
        present: (z,) bool: whether the slice has a file.

    Raises:
        DataError: a gap in the numbers; a slice of another size, type or number of channels; one that is itself a stack.
    """

    def __init__(self, folder: Path, labels: bool = False, numbers: Sequence[int] | None = None) -> None:
        found = find_slices(folder)
        if numbers is None:
            _refuse_gap(folder, found)
        self.numbers = tuple(found.numbers if numbers is None else numbers)
        outside = sorted(set(found.numbers) - set(self.numbers))
        if outside:
            stray = found.files[found.numbers.index(outside[0])]
            raise DataError(
                f"{stray}: is slice {outside[0]}, the image's slices are {self.numbers[0]} to {self.numbers[-1]}; "
                "number them alike"
            )
        self._slices = dict(zip(found.numbers, _opened(found.files, labels), strict=True))
        self.present = np.array([number in self._slices for number in self.numbers])
        first = _alike(list(self._slices.values()))
        space = Space.of_shape((len(self.numbers), *first.shape), Spacing.pixels(3))
        super().__init__(str(folder), space, first.dtype, first.channels, first.fill)

    def _read(self, box: Box, level: int) -> np.ndarray:
        out = np.empty((len(self.channels), *box.size), self.dtype)
        plane = Box(box.start[1:], box.size[1:])
        for k in range(box.size[0]):
            z = box.start[0] + k
            out[:, k] = self._slice(z, plane) if self.present[z] else self.fill
        return out

    def _slice(self, z: int, plane: Box) -> np.ndarray | float:
        source = self._slices[self.numbers[z]]
        source.on_damage = self.on_damage
        try:
            pixels = source.read(plane)
        except DataError as error:  # nothing of this slice can be read
            if self.on_damage == "raise":
                raise
            self.note_damage(0, Box((z, 0, 0), (1, *source.shape)), str(error))
            return self.fill
        for damage in source.damage:
            self.note_damage(0, Box((z, *damage.box.start), (1, *damage.box.size)), f"{source.name}: {damage.reason}")
        return pixels

    def _close(self) -> None:
        for source in self._slices.values():
            source.close()


def _opened(files: Sequence[Path], labels: bool) -> list[Source]:
    from malpighi.images.open import open_image

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda path: open_image(path, labels=labels), files))


def _alike(slices: Sequence[Source]) -> Source:
    """The first of slices that all have one size and type; those that have not are named."""
    deep = next((source for source in slices if source.space.rank != 2), None)
    if deep is not None:
        raise DataError(f"{deep.name}: is itself a stack of {deep.shape[0]} slices; a folder of slices holds 2-D images")
    looks = [(source.shape, str(source.dtype), len(source.channels)) for source in slices]
    usual = Counter(looks).most_common(1)[0][0]
    odd = [source for source, look in zip(slices, looks, strict=True) if look != usual]
    if odd:
        more = "" if len(odd) == 1 else f" ({len(odd)} such: {', '.join(Path(o.name).name for o in odd[:4])})"
        other = (odd[0].shape, str(odd[0].dtype), len(odd[0].channels))
        raise DataError(
            f"{odd[0].name}: is {_look(other)}, most slices are {_look(usual)}{more}; slices of one volume are all alike: "
            "export it again"
        )
    return slices[0]


def _look(look: tuple[tuple[int, ...], str, int]) -> str:
    (height, width), dtype, channels = look
    return f"{height} × {width} {dtype}" + (f" × {channels}" if channels > 1 else "")


def _refuse_gap(folder: Path, found: Slices) -> None:
    steps = np.diff(found.numbers)
    step = int(steps.min()) if len(steps) else 1
    missing = [n for n in range(found.numbers[0], found.numbers[-1], step) if n not in set(found.numbers)]
    if missing or (len(steps) and (steps % step).any()):
        named = ", ".join(map(str, missing[:6])) + (f", … ({len(missing)})" if len(missing) > 6 else "")
        raise DataError(
            f"{folder}: slices {named or 'between'} are missing between {found.files[0].name} and {found.files[-1].name}; "
            "add them, or give the parts as volumes of their own"
        )
