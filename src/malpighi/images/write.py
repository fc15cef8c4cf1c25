"""OME-Zarr, written shard by shard, in memory that does not depend on the image."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.errors import OutputError
from malpighi.geometry import Box, Spacing
from malpighi.images import ngff
from malpighi.images.base import Source
from malpighi.images.levels import Levels, Sides, layout
from malpighi.images.reduce import halved_axes
from malpighi.images.replacing import output_errors

_ZARR: dict[ngff.Version, Any] = {"0.5": 3, "0.4": 2}
"""Zarr's own version of each version of OME-Zarr."""


class ZarrWriter:
    """One multiscale OME-Zarr image: 0.5 (Zarr 3, sharded), or 0.4 (Zarr 2, plain chunks) on request.

    Level 0 is written box by box with `write`; `finish` adds the coarser levels and the metadata that makes it an image.
    Until then the group carries no `multiscales`: what is half-written does not look finished. Each shard (0.4: chunk)
    is written to a temporary file and renamed, so it is whole or absent even if the process is killed; empty ones are
    not written at all. `write` may be called from many threads, for different boxes.

    Attributes:
        shard: spatial shape that boxes given to `write` are aligned to; at most the size of the image.

    Raises:
        OutputError: the path exists (and neither `overwrite` nor `resume`), cannot be written, or the disk is full;
            with `resume`, also when what is there was begun with another shape, dtype or spacing.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        spacing: Spacing,
        dtype: Any,
        *,
        kind: ngff.Kind = "image",
        channels: tuple[str, ...] = (),
        name: str = "",
        chunk: Sides = None,
        shard: Sides = None,
        version: ngff.Version = "0.5",
        overwrite: bool = False,
        resume: bool = False,
        classes: Mapping[int, str] | None = None,
        colors: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        """Create the group and level 0.

        Args:
            path: of the group to make; parents are made too.
            shape: spatial, level 0.
            dtype: of the voxels.
            kind: "image" is (channel, *spatial), averaged in the pyramid; "labels" is (*spatial), nearest voxel.
            channels: their names; none means one, unnamed.
            chunk: side of a chunk in voxels, one or by axis; 512 in 2-D, 64 in 3-D where not given.
            shard: side of a shard, a multiple of `chunk`; 2048 in 2-D, 256 in 3-D where not given.
            classes: of a label image, label value → class name.
            colors: of a label image, label value → (r, g, b) or (r, g, b, a), 0 … 255.
        """
        if version not in ngff.VERSIONS:
            raise OutputError(f"{path}: OME-Zarr version {version!r} cannot be written; use one of {', '.join(ngff.VERSIONS)}")
        self.path = Path(path)
        self.shape = tuple(int(n) for n in shape)
        self.spacing, self.dtype, self.kind, self.version = spacing, np.dtype(dtype), kind, version
        self.channels = (tuple(channels) or ("",)) if kind == "image" else ()
        self.name = name or self.path.name.removesuffix(".zarr").removesuffix(".ome")
        self.classes, self.colors = dict(classes or {}), dict(colors or {})
        self.chunk, self.shard = layout(self.shape, chunk, shard)
        with output_errors(self.path):
            self._levels = self._begun(overwrite, resume)

    def write(self, box: Box, array: np.ndarray) -> None:
        """Write the voxels of `box`, which starts and ends at multiples of `shard` or at the image's border.

        Args:
            box: in level-0 voxels.
            array: (channel, *box.size), or (*box.size) for labels.
        """
        if not Box.of_shape(self.shape).contains(box) or not _aligned(box, self.shard, self.shape):
            raise ValueError(f"{self.path}: box {box} is not aligned to shards of {self.shard} in an image of {self.shape}")
        expected = (*(len(self.channels),) * (self.kind == "image"), *box.size)
        if array.shape != expected:
            raise ValueError(f"{self.path}: box {box} takes an array of {expected}, not {array.shape}")
        with output_errors(self.path):
            self._levels.write(0, box, array)

    def level0(self) -> Any:
        """The Zarr array of level 0, to read from while it is written: (channel, *spatial), or (*spatial) of labels."""
        import zarr

        return zarr.open_array(self.path / "0", mode="r")

    def finish(self) -> None:
        """Make the coarser levels, halving until one chunk holds the image, and complete the metadata."""
        with output_errors(self.path):
            spacings, shape = [self.spacing], self.shape
            while any(n > c for n, c in zip(shape, self.chunk, strict=True)):
                factor = halved_axes(shape, spacings[-1].values)
                shape = self._levels.halve(len(spacings), factor, self.kind)
                spacings.append(spacings[-1].times(factor))
            self._levels.group.attrs.put(ngff.attributes(self.version, self._entries(spacings)))

    # -- inside --------------------------------------------------------------------------------------------------
    def _entries(self, spacings: Sequence[Spacing]) -> dict[str, Any]:
        axes = self._levels.axes
        found: dict[str, Any] = {"multiscales": ngff.multiscales(self.name, axes, spacings, self.kind, self.version)}
        if self.kind == "labels":
            found["image-label"] = ngff.image_label(self.version, self.classes, self.colors)
        else:
            found["omero"] = ngff.omero(self.channels, self.dtype)
        return found

    def _begun(self, overwrite: bool, resume: bool) -> Levels:
        """The group, with level 0 made: the one that is there where it is to go on, else a new one."""
        import zarr

        unfinished = {"shape": list(self.shape), "spacing": list(self.spacing.values), "unit": self.spacing.unit}
        if resume and (self.path / ("zarr.json" if self.version == "0.5" else ".zgroup")).exists():
            levels = self._in(zarr.open_group(self.path, mode="r+", zarr_format=_ZARR[self.version]))
            self._check_resumable(levels, unfinished)
            for part in self.path.rglob("*.partial"):  # left by a process that was killed
                part.unlink(missing_ok=True)
            if "0" in levels.group:
                levels.open(0)
                return levels  # else killed between group and array
        else:
            if self.path.exists() and any(self.path.iterdir() if self.path.is_dir() else [self.path]):
                if not overwrite:
                    raise OutputError(f"{self.path}: exists; choose another name or pass --overwrite")
                remove_zarr(self.path)
            told = {"malpighi": {"unfinished": unfinished}}
            levels = self._in(zarr.create_group(self.path, zarr_format=_ZARR[self.version], attributes=told))
        levels.create(0, self.shape)
        return levels

    def _in(self, group: Any) -> Levels:
        lead = (len(self.channels),) if self.kind == "image" else ()
        return Levels(group, self.path, self.dtype, lead, self.chunk, self.shard, self.version)

    def _check_resumable(self, levels: Levels, begun: dict[str, Any]) -> None:
        """What is there must be what would be made now, or shards of two images would mix."""
        there: Any = levels.group.get("0")
        shape = (*levels.lead, *self.shape)
        note = levels.group.attrs.asdict().get("malpighi", {}).get("unfinished", begun)
        same = there is None or (
            there.shape == shape
            and there.dtype == self.dtype
            and (there.shards or there.chunks)[len(levels.lead) :] == levels.unit(self.shape)
        )
        if not same or note != begun:
            raise OutputError(
                f"{self.path}: was begun as {getattr(there, 'shape', None)} {getattr(there, 'dtype', '')}, not "
                f"{shape} {self.dtype}, or with another chunking or spacing; pass --overwrite to begin again"
            )


def write_labels_group(path: Path, names: Sequence[str], version: ngff.Version = "0.5") -> None:
    """Make `path` an OME-Zarr whose `labels/` group lists `names`; each is (or was) written to `path/labels/NAME`.

    An OME-Zarr of labels alone has no image to belong to, yet its root must be one: the root's `multiscales` points at
    the levels of the first label image, which costs no copy and which any viewer opens. Call it when the label images
    are finished; calling it again replaces the list.

    Raises:
        OutputError: a label image is missing or unfinished, or the path cannot be written.
    """
    import zarr

    path = Path(path)
    with output_errors(path):
        root = zarr.open_group(path, mode="a", zarr_format=_ZARR[version])
        labels = root.require_group("labels")
        for name in names:
            if name not in labels or "multiscales" not in ngff.entries(labels[name].attrs.asdict()):
                raise OutputError(f"{path / 'labels' / name}: is not a finished label image; finish it before listing it")
        first = ngff.entries(labels[names[0]].attrs.asdict())["multiscales"][0]
        datasets = [{**d, "path": f"labels/{names[0]}/{d['path']}"} for d in first["datasets"]]
        root.attrs.put(ngff.attributes(version, {"multiscales": [{**first, "datasets": datasets}]}))
        labels.attrs.put(ngff.attributes(version, {"labels": list(names)}))


def write_image(
    source: Source,
    path: Path,
    progress: Callable[[int, int], None] | None = None,
    version: ngff.Version = "0.5",
    overwrite: bool = False,
) -> None:
    """Convert any image to OME-Zarr, one shard in memory at a time. What could not be written whole is removed.

    Args:
        progress: called with (shards done, shards in all).
    """
    writer = ZarrWriter(
        path, source.shape, source.space.spacing, source.dtype, channels=source.channels, version=version, overwrite=overwrite
    )
    boxes = list(Box.of_shape(source.shape).split(writer.shard))
    try:
        for done, box in enumerate(boxes, 1):
            writer.write(box, source.read(box))
            if progress is not None:
                progress(done, len(boxes))
        writer.finish()
    except BaseException:
        remove_zarr(writer.path)
        raise


def remove_zarr(path: Path) -> None:
    """Delete a Zarr group; anything else at `path` is an error, for it may be the user's own."""
    if not path.is_dir() or not any((path / m).exists() for m in ("zarr.json", ".zgroup", ".zarray")):
        raise OutputError(f"{path}: exists and is not a Zarr; refusing to overwrite it, choose another name")
    shutil.rmtree(path)


def _aligned(box: Box, step: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    starts = all(a % s == 0 for a, s in zip(box.start, step, strict=True))
    return starts and all(b % s == 0 or b == n for b, s, n in zip(box.stop, step, shape, strict=True))
