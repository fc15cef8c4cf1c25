"""One image of a file a channel: `dir/ID_{red,green,blue,yellow}.png`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box, Space
from malpighi.images.base import Source
from malpighi.images.gray import Gray, as_gray

CHANNELS = ("red", "green", "blue", "yellow")
"""What the Human Protein Atlas calls its channels: microtubules, protein, nucleus, endoplasmic reticulum."""

_BRACES = re.compile(r"(?P<before>[^{}]*)\{(?P<names>[^{},]+(?:,[^{},]+)+)\}(?P<after>[^{}]*)")


def is_channel_path(path: Path) -> bool:
    """Whether the name holds one list in braces, and no file is really called so."""
    path = Path(path)
    return "{" in path.name and _BRACES.fullmatch(path.name) is not None and not path.exists()


def channel_files(path: Path) -> dict[str, Path]:
    """Channel name → its file, in the order of the braces, whether it is there or not; empty for a path without braces."""
    path = Path(path)
    match = _BRACES.fullmatch(path.name) if is_channel_path(path) else None
    if match is None:
        return {}
    names = [name.strip() for name in match["names"].split(",")]
    return {name: path.with_name(f"{match['before']}{name}{match['after']}") for name in names}


def image_files(path: Path) -> tuple[Path, ...]:
    """The files that an image consists of: itself, those of its channels, or all in its folder; empty: there is none.

    Sizes and times of these say whether an image has changed, whatever kind of path names it.
    """
    path = Path(path)
    files = channel_files(path)
    if files:
        return tuple(file for file in files.values() if file.is_file())
    if path.is_dir():
        return tuple(sorted(file for file in path.rglob("*") if file.is_file()))
    return (path,) if path.is_file() else ()


def image_exists(path: Path) -> bool:
    """Whether anything is at an image's path: of a file a channel, any of them."""
    files = channel_files(path)
    return any(file.is_file() for file in files.values()) if files else Path(path).exists()


def image_stem(path: Path) -> str:
    """What the files of the channels are called in common, `ID` of `ID_{red,green}.png`; "" for a path without braces."""
    match = _BRACES.fullmatch(Path(path).name) if is_channel_path(path) else None
    return match["before"].rstrip("_-. ") if match else ""


def group_channels(paths: Iterable[Path], names: Sequence[str] = ()) -> list[Path]:
    """Files `ID_red.png`, `ID_green.png`, … as one path with braces; everything else as it is, in its order.

    Files belong together where they share folder, ID and suffix. A channel that has no file is not in the braces; a
    file that has no fellow stays what it is.

    Args:
        names: further names of channels, before `CHANNELS`; their order is that within the braces. Capitals do not matter.
    """
    known = list(dict.fromkeys(name.lower() for name in (*names, *CHANNELS)))
    ending = re.compile(rf"(.+_)({'|'.join(map(re.escape, known))})(\.[^/]+)", re.IGNORECASE)
    found: dict[tuple[Path, str, str], list[tuple[str, Path]]] = {}
    places: dict[tuple[Path, str, str] | Path, None] = {}
    for path in paths:
        match = ending.fullmatch(path.name)
        key = (path.parent, match[1], match[3]) if match else None
        if match is None or key is None:
            places[path] = None
        else:
            found.setdefault(key, []).append((match[2], path))
            places[key] = None
    return [place if isinstance(place, Path) else _braced(place, found[place], known) for place in places]


def _braced(key: tuple[Path, str, str], members: list[tuple[str, Path]], known: Sequence[str]) -> Path:
    folder, before, after = key
    if len(members) == 1:
        return members[0][1]
    spelt = sorted((name for name, _ in members), key=lambda name: known.index(name.lower()))
    return folder / f"{before}{{{','.join(spelt)}}}{after}"


class ChannelsSource(Source):
    """An image whose channels are files of their own, read through the drivers of those.

    Every file is gray, or a colour file that shows one gray picture: in all its channels alike, or in some alike and
    nothing in the others. Which channel was taken is noted.

    Args:
        path: with braces, see `channel_files`.
        labels: label images: palette indices stay numbers.

    Raises:
        DataError: a channel without file, files of different size or type, a file that is coloured or unreadable.
    """

    def __init__(self, path: Path, labels: bool = False) -> None:
        files = channel_files(path)
        _check_names(path, files)
        opened: list[Gray] = []
        try:
            opened.extend(_opened(file, labels) for file in files.values())  # those before an error are closed below
            space = _common_space(path, opened)
        except BaseException:
            for part in opened:
                part.source.close()
            raise
        self._parts = opened
        super().__init__(str(path), space, opened[0].source.dtype, tuple(files))
        self.notes = tuple(dict.fromkeys(note for part in opened for note in (*part.source.notes, *part.notes)))

    def _read(self, box: Box, level: int) -> np.ndarray:
        return self.read_channels(box, level, range(len(self._parts)))

    def read_channels(self, box: Box, level: int, wanted: Sequence[int]) -> np.ndarray:
        """(channel, *spatial) of some channels alone; the files of the others are not touched. `box` lies inside `level`."""
        out = np.empty((len(wanted), *box.size), self.dtype)
        for row, k in zip(out, wanted, strict=True):
            row[:] = self._channel(self._parts[k], box, level)
        return out

    def _channel(self, part: Gray, box: Box, level: int) -> np.ndarray | float:
        source = part.source
        source.on_damage = self.on_damage
        try:
            pixels = source.read(box, level)[part.channel]
        except DataError as error:
            if self.on_damage == "raise":
                raise
            self.note_damage(level, Box.of_shape(self.space.shapes[level]), str(error))
            return self.fill
        for damage in source.damage:
            self.note_damage(damage.level, damage.box, f"{source.name}: {damage.reason}")
        return pixels

    def _close(self) -> None:
        for part in self._parts:
            part.source.close()


def _check_names(path: Path, files: dict[str, Path]) -> None:
    """Every channel has a file, and a name of its own."""
    named = _BRACES.fullmatch(Path(path).name)
    if named is None or not files:
        raise DataError(f"{path}: is no path of a file a channel; write ID_{{red,green,blue}}.png")
    if len(files) < len(named["names"].split(",")):
        raise DataError(f"{path}: a channel is named twice; name each once")
    missing = [name for name, file in files.items() if not file.is_file()]
    if not missing:
        return
    there = [file.name for name, file in files.items() if name not in missing]
    if not there:
        raise DataError(f"{path}: does not exist: none of {', '.join(file.name for file in files.values())} is there")
    gone = ", ".join(f"{name} ({files[name].name})" for name in missing)
    raise DataError(
        f"{path}: without file: {gone}; there are {', '.join(there)}. Add what is missing, or leave it out of the braces"
    )


def _opened(file: Path, labels: bool) -> Gray:
    from malpighi.images.open import open_image

    source = open_image(file, labels=labels)
    try:
        return as_gray(source)
    except BaseException:
        source.close()
        raise


def _common_space(path: Path, parts: Sequence[Gray]) -> Space:
    """The space of all files: they are alike in size, type and pixel size, else the first that differs is named."""
    first = parts[0].source
    if first.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{first.name}: holds {first.dtype}; files of one channel are of 8 or 16 bits: export it again")
    for part in parts[1:]:
        source = part.source
        for what, mine, other in (
            ("size", _size(first.shape), _size(source.shape)),
            ("type", str(first.dtype), str(source.dtype)),
        ):
            if mine != other:
                raise DataError(
                    f"{source.name}: is of {what} {other}, {Path(first.name).name} of {mine}; the channels of an image are alike"
                )
    known = [part.source for part in parts if part.source.space.spacing.physical]
    for source in known[1:]:
        if source.space.spacing != known[0].space.spacing:
            raise DataError(
                f"{source.name}: has {source.space.spacing} pixels, {Path(known[0].name).name} {known[0].space.spacing}; "
                "the channels of an image are alike: export them again"
            )
    spaces = [part.source.space for part in parts]
    chosen = known[0].space if known else first.space
    alike = all(space.shapes == chosen.shapes for space in spaces)
    return chosen if alike else Space.of_shape(chosen.shape, chosen.spacing)


def _size(shape: Iterable[int]) -> str:
    return " × ".join(map(str, shape))
