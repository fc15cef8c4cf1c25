"""Which images a command was asked for, and what each is called."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from malpighi.errors import DataError
from malpighi.images.channels import group_channels, image_exists, image_stem, is_channel_path
from malpighi.images.open import IMAGE_SUFFIXES, is_image, open_image


def find_images(given: Sequence[str | Path], rank: int = 2, channels: Sequence[str] = ()) -> list[Path]:
    """Files behind paths, folders and patterns, each once, in natural reading order.

    Args:
        given: paths, those with braces among them ("ID_{red,green}.png" is one image), folders and patterns.
        rank: of the images wanted; where it is 3, a folder of two-dimensional images is one volume.
        channels: where images of a file a channel are wanted, their names: such files are put together.

    Raises:
        DataError: something given is not there, or two images would share an output folder.
    """
    found: dict[Path, None] = {}
    for item in given:
        path = Path(item)
        if path.is_dir() and not is_image(path):
            inside = sorted(p for p in path.iterdir() if is_image(p))
            if not inside:
                raise DataError(f"{path}: holds no image; readable are {' '.join(IMAGE_SUFFIXES)}")
            if rank == 3 and _flat(inside[0]):
                inside = [path]
        elif image_exists(path):
            inside = [path]
        else:
            inside = sorted(Path(p) for p in glob.glob(str(item)))
            if not inside:
                raise DataError(f"{item}: no such file, folder or pattern; check the path")
        found.update(dict.fromkeys(inside))
    images = group_channels(found, channels) if channels else list(found)
    names: dict[str, Path] = {}
    for path in images:
        other = names.setdefault(stem(path), path)
        if other != path:
            raise DataError(f"{path} and {other} have the same name and would share an output folder; segment them apart")
    return images


def _flat(path: Path) -> bool:
    """Whether an image is two-dimensional."""
    with open_image(path) as source:
        return source.space.rank == 2


def stem(path: Path) -> str:
    """Name of an image without its suffixes: slide.ome.zarr → slide; ID_{red,green}.png → ID; of a folder of slices its name."""
    name = path.name
    if is_channel_path(path):
        return image_stem(path)
    for suffix in (".ome", ""):
        for known in IMAGE_SUFFIXES:
            if name.lower().endswith(suffix + known):
                return name[: -len(suffix + known)]
    return name if path.is_dir() else path.stem
