"""OME-Zarr 0.1 to 0.5 and plain Zarr arrays."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images import cache, ngff
from malpighi.images.base import Source
from malpighi.images.color import channel_names

_owners = itertools.count()


class ZarrSource(Source):
    """A multiscale image or label image (`IMAGE/labels/NAME`) of an OME-Zarr, or a plain array.

    Axes t, c, z, y, x in any order; t must be 1 long; z of length 1 is dropped. A plain array without dimension names
    is (y, x), (z, y, x) or (channel, z, y, x).
    """

    def __init__(self, path: Path) -> None:
        self._key = ("zarr", next(_owners))
        self._locks = tuple(threading.Lock() for _ in range(16))
        labels: tuple[str, ...] = ()
        entry: dict[str, Any] = {}
        try:
            node = zarr.open(path, mode="r")
        except Exception as error:  # zarr raises half a dozen unrelated kinds
            raise DataError(f"{path}: is no Zarr ({error}); give the folder that holds zarr.json or .zgroup") from error
        if isinstance(node, zarr.Array):
            self._arrays, names = [node], _plain_axes(node)
        else:
            entry = _multiscale(path, node)
            self._arrays = _levels(path, node, entry)
            names = ngff.axis_names(str(path), entry, self._arrays[0].ndim)
            labels = _labels(node)
        first = self._arrays[0]
        sizes = dict(zip(names, first.shape, strict=True))
        if sizes.get("t", 1) != 1:
            raise DataError(f"{path}: has {sizes['t']} time points (axis t); save one time point as its own image")
        if "y" not in sizes or "x" not in sizes or set(names) - set("tczyx"):
            raise DataError(f"{path}: axes {names}; allowed are t, c, z, y, x, of which y and x are needed")
        spatial = tuple(a for a in "zyx" if sizes.get(a, 1) > 1 or a in "yx")
        self._names = names
        self._spatial = spatial
        shapes = tuple(tuple(a.shape[names.index(s)] for s in spatial) for a in self._arrays)
        size = ngff.spacing_of(entry, names, spatial) if entry else Spacing.pixels(len(spatial))
        count = sizes.get("c", 1)
        channels = labels if len(labels) == count else channel_names(count, rgb=first.dtype == np.uint8)
        super().__init__(str(path), Space(shapes, size, spatial), first.dtype, channels)

    def _read(self, box: Box, level: int) -> np.ndarray:
        """Chunk by chunk, through the shared cache: boxes that overlap decode what they share once."""
        array = self._arrays[level]
        within = dict(zip(self._spatial, zip(box.start, box.size, strict=True), strict=True))
        given = [within.get(a, (0, n)) for a, n in zip(self._names, array.shape, strict=True)]
        region = Box(tuple(start for start, _ in given), tuple(size for _, size in given))
        out = np.empty(region.size, self.dtype)
        for piece in region.split(array.chunks):
            index = tuple(a // n for a, n in zip(piece.start, array.chunks, strict=True))
            corner = tuple(i * n for i, n in zip(index, array.chunks, strict=True))
            chunk = self._chunk(level, index)
            inside = piece.relative_to(region.start).slices
            out[inside] = self.fill if chunk is None else chunk[piece.relative_to(corner).slices]
        return self._in_order(out)

    def _in_order(self, array: np.ndarray) -> np.ndarray:
        """(channel, *spatial) of what has the file's axes."""
        kept = [a for a in self._names if a in self._spatial or a == "c"]
        dropped = tuple(k for k, a in enumerate(self._names) if a not in kept)
        array = array.squeeze(dropped).transpose([kept.index(a) for a in ("c", *self._spatial) if a in kept])
        return array if "c" in kept else array[None]

    def _chunk(self, level: int, index: tuple[int, ...]) -> np.ndarray | None:
        """A decoded chunk, in the file's axes, cut at the image's border; None where it is damaged."""
        key = (self._key, level, *index)
        with self._locks[hash(key) % len(self._locks)]:  # two threads that want one chunk decode it once
            chunk = cache.tiles.get(key)
            if chunk is not None:
                return chunk
            array = self._arrays[level]
            box = Box(tuple(i * n for i, n in zip(index, array.chunks, strict=True)), array.chunks).clip(array.shape)
            try:
                chunk = np.asarray(array[box.slices])
            except Exception as error:  # a codec's own
                place = [(box.start[k], box.size[k]) for k in map(self._names.index, self._spatial)]
                spatial = Box(tuple(start for start, _ in place), tuple(size for _, size in place))
                self.note_damage(level, spatial, str(error) or type(error).__name__)
                return None
            cache.tiles.put(key, chunk)
            return chunk

    def _close(self) -> None:
        cache.tiles.drop(self._key)


def _multiscale(path: Path, group: Any) -> dict[str, Any]:
    attrs = group.attrs.asdict()
    found = ngff.entries(attrs)
    if found.get("multiscales"):
        return dict(found["multiscales"][0])
    if "unfinished" in attrs.get("malpighi", {}):
        raise DataError(f"{path}: was not finished; run the command that writes it again, it goes on where it was")
    if "labels" in found:
        raise DataError(f"{path}: is a group of label images; give one of them: {', '.join(found['labels'])}")
    raise DataError(f"{path}: a Zarr group without `multiscales` metadata; give an OME-Zarr image or one of its arrays")


def _levels(path: Path, group: Any, entry: dict[str, Any]) -> list[Any]:
    try:
        arrays = [group[dataset["path"]] for dataset in entry["datasets"]]
    except KeyError as error:
        raise DataError(f"{path}: level {error} is named in the metadata and missing; copy the whole folder") from error
    if not arrays or any(a.ndim != arrays[0].ndim for a in arrays):
        raise DataError(f"{path}: levels of different rank {[a.shape for a in arrays]}; the metadata is broken, write it again")
    return arrays


def _labels(group: Any) -> tuple[str, ...]:
    """Channel names; empty where not every channel has one."""
    channels = ngff.entries(group.attrs.asdict()).get("omero", {}).get("channels") or []
    names = tuple(str(c.get("label") or "") for c in channels)
    return names if all(names) else ()


def _plain_axes(array: Any) -> tuple[str, ...]:
    names = getattr(array.metadata, "dimension_names", None)
    if names and all(names):
        return tuple(names)
    if not 2 <= array.ndim <= 4:
        raise DataError(f"{array.store}: an array of {array.ndim} axes; allowed are (y, x), (z, y, x), (channel, z, y, x)")
    return ("c", "z", "y", "x")[-array.ndim :]
