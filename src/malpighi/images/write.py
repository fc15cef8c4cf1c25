"""OME-Zarr, written shard by shard, in memory that does not depend on the image."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.errors import OutputError
from malpighi.geometry import Box, Spacing
from malpighi.images import ngff
from malpighi.images.base import Source
from malpighi.images.reduce import halve, halved_axes
from malpighi.images.shards import Shards

_CHUNK = {2: 512, 3: 64}
_SHARD = {2: 2048, 3: 256}
_THREADS = 2  # of the pyramid: one reads while one compresses; more only adds memory


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
        chunk: int | Sequence[int] | None = None,
        shard: int | Sequence[int] | None = None,
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
        rank = len(shape)
        self.path = Path(path)
        self.shape = tuple(int(n) for n in shape)
        self.spacing = spacing
        self.dtype = np.dtype(dtype)
        self.kind = kind
        self.channels = (tuple(channels) or ("",)) if kind == "image" else ()
        self.name = name or self.path.name.removesuffix(".zarr").removesuffix(".ome")
        self.version = version
        self.classes = dict(classes or {})
        self.colors = dict(colors or {})
        sides = _sides(chunk, _CHUNK.get(rank, 64), rank)
        self.chunk = tuple(min(c, max(1, n)) for c, n in zip(sides, self.shape, strict=True))
        wanted = _sides(shard, _SHARD.get(rank, 256), rank)
        self.shard = tuple(
            c * max(1, min(s // side, -(-n // c))) for s, side, c, n in zip(wanted, sides, self.chunk, self.shape, strict=True)
        )
        with _output_errors(self.path):
            self._prepare(overwrite, resume)

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
        self._put(0, box, array)

    def finish(self) -> None:
        """Make the coarser levels, halving until one chunk holds the image, and complete the metadata."""
        with _output_errors(self.path):
            spacings, shapes = [self.spacing], [self.shape]
            while any(n > c for n, c in zip(shapes[-1], self.chunk, strict=True)):
                factor = halved_axes(shapes[-1], spacings[-1].values)
                shapes.append(tuple(-(-n // f) for n, f in zip(shapes[-1], factor, strict=True)))
                spacings.append(spacings[-1].times(factor))
                self._build_level(len(shapes) - 1, shapes[-1], factor)
            self._group.attrs.put(ngff.attributes(self.version, self._entries(spacings)))

    # -- inside --------------------------------------------------------------------------------------------------
    @property
    def _axes(self) -> tuple[str, ...]:
        return (*("c",) * (self.kind == "image"), *("z", "y", "x")[-len(self.shape) :])

    def _entries(self, spacings: Sequence[Spacing]) -> dict[str, Any]:
        found: dict[str, Any] = {"multiscales": ngff.multiscales(self.name, self._axes, spacings, self.kind, self.version)}
        if self.kind == "labels":
            found["image-label"] = ngff.image_label(self.version, self.classes, self.colors)
        else:
            found["omero"] = ngff.omero(self.channels, self.dtype)
        return found

    def _prepare(self, overwrite: bool, resume: bool) -> None:
        import zarr

        begun = {
            "unfinished": {"shape": list(self.shape), "spacing": list(self.spacing.values), "unit": self.spacing.unit},
        }
        self._levels: dict[int, Any] = {}
        self._shards: dict[int, Shards] = {}
        if self.path.exists() and resume and (self.path / self._marker).exists():
            self._group = zarr.open_group(self.path, mode="r+", zarr_format=self._zarr_format)
            self._check_resumable(begun["unfinished"])
            for part in self.path.rglob("*.partial"):  # left by a process that was killed
                part.unlink(missing_ok=True)
            if "0" in self._group:
                self._levels[0] = self._group["0"]
                self._note_shards(0, self._levels[0])
            else:  # killed between group and array
                self._levels[0] = self._create(0, self.shape)
            return
        if self.path.exists() and any(self.path.iterdir() if self.path.is_dir() else [self.path]):
            if not overwrite:
                raise OutputError(f"{self.path}: exists; choose another name or pass --overwrite")
            remove_zarr(self.path)
        self._group = zarr.create_group(self.path, zarr_format=self._zarr_format, attributes={"malpighi": begun})
        self._levels[0] = self._create(0, self.shape)

    def _check_resumable(self, begun: dict[str, Any]) -> None:
        """What is there must be what would be made now, or shards of two images would mix."""
        there: Any = self._group.get("0")
        lead = (len(self.channels),) if self.kind == "image" else ()
        note = self._group.attrs.asdict().get("malpighi", {}).get("unfinished", begun)
        same = there is None or (
            there.shape == (*lead, *self.shape)
            and there.dtype == self.dtype
            and (there.shards or there.chunks)[len(lead) :] == self._unit(self.shape)
        )
        if not same or note != begun:
            raise OutputError(
                f"{self.path}: was begun as {getattr(there, 'shape', None)} {getattr(there, 'dtype', '')}, not "
                f"{(*lead, *self.shape)} {self.dtype}, or with another chunking or spacing; pass --overwrite to begin again"
            )

    @property
    def _zarr_format(self) -> Any:
        return 3 if self.version == "0.5" else 2

    @property
    def _marker(self) -> str:
        return "zarr.json" if self.version == "0.5" else ".zgroup"

    def _layout(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Chunk and shard (spatial) of a level of `shape`."""
        chunk = tuple(min(c, n) for c, n in zip(self.chunk, shape, strict=True))
        return chunk, tuple(
            c * max(1, min(s // full, -(-n // c))) for c, s, full, n in zip(chunk, self.shard, self.chunk, shape, strict=True)
        )

    def _unit(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """What one file holds."""
        chunk, shard = self._layout(shape)
        return shard if self.version == "0.5" else chunk

    def _create(self, level: int, shape: tuple[int, ...]) -> Any:
        import numcodecs
        from zarr.codecs import BloscCodec, ZstdCodec

        chunk, shard = self._layout(shape)
        count = len(self.channels)
        lead = (count,) if self.kind == "image" else ()
        few = (count if count <= 4 else 1,) if self.kind == "image" else ()  # RGB is read whole, many channels one by one
        common: dict[str, Any] = {"shape": (*lead, *shape), "chunks": (*few, *chunk), "dtype": self.dtype, "fill_value": 0}
        common |= {"config": {"write_empty_chunks": False}, "overwrite": True}
        wide = self.dtype.itemsize
        if self.version == "0.4":
            codec = numcodecs.Blosc(cname="zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE)
            encoding = {"name": "v2", "separator": "/"}
            return self._group.create_array(str(level), compressors=codec, chunk_key_encoding=encoding, **common)
        codec3 = ZstdCodec(level=1) if wide == 1 else BloscCodec(typesize=wide, cname="zstd", clevel=1, shuffle="shuffle")
        array = self._group.create_array(
            str(level), shards=(*lead, *shard), compressors=codec3, dimension_names=self._axes, **common
        )
        self._note_shards(level, array)
        return array

    def _note_shards(self, level: int, array: Any) -> None:
        if self.version == "0.5":
            self._shards[level] = Shards(self.path / str(level), array.chunks, array.shards, self.dtype)

    def _put(self, level: int, box: Box, array: np.ndarray) -> None:
        lead = (slice(None),) * (self.kind == "image")
        shards = self._shards.get(level)
        with _output_errors(self.path):
            if shards is None:
                self._levels[level][(*lead, *box.slices)] = array
                return
            for piece in box.split(shards.shard[len(lead) :]):
                part = piece.relative_to(box.start).slices
                shards.write(self._index(piece, shards), array[(*lead, *part)])

    def _get(self, level: int, box: Box) -> np.ndarray | None:
        """Voxels of `box`; None where nothing was written."""
        lead = (slice(None),) * (self.kind == "image")
        shards = self._shards.get(level)
        if shards is None:
            return np.asarray(self._levels[level][(*lead, *box.slices)])
        step = shards.shard[len(lead) :]
        shape = self._levels[level].shape
        out = None
        for piece in box.split(step):  # box covers whole shards
            read = shards.read(self._index(piece, shards), (*shape[: len(lead)], *piece.size))
            if read is None:
                continue
            if out is None:
                if piece == box:
                    return read
                out = np.zeros((*shape[: len(lead)], *box.size), self.dtype)
            out[(*lead, *piece.relative_to(box.start).slices)] = read
        return out

    def _index(self, piece: Box, shards: Shards) -> tuple[int, ...]:
        grid = tuple(a // s for a, s in zip(piece.start, shards.shard[-piece.rank :], strict=True))
        return (*(0,) * (self.kind == "image"), *grid)

    def _build_level(self, level: int, shape: tuple[int, ...], factor: tuple[int, ...]) -> None:
        self._levels[level] = self._create(level, shape)
        fine_shape = self._levels[level - 1].shape[-len(shape) :]

        def build(box: Box) -> None:
            finer = self._get(level - 1, box.scale(factor).clip(fine_shape))
            if finer is not None:
                self._put(level, box, halve(finer, factor, self.kind))

        with ThreadPoolExecutor(_THREADS) as pool:
            for _ in pool.map(build, Box.of_shape(shape).split(self._layout(shape)[1])):
                pass


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
    zarr_format: Any = 3 if version == "0.5" else 2
    with _output_errors(path):
        root = zarr.open_group(path, mode="a", zarr_format=zarr_format)
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


@contextlib.contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another place"
        ) from error


def _sides(given: int | Sequence[int] | None, default: int, rank: int) -> tuple[int, ...]:
    if given is None:
        given = default
    return (int(given),) * rank if isinstance(given, (int, np.integer)) else tuple(int(v) for v in given)


def _aligned(box: Box, step: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    starts = all(a % s == 0 for a, s in zip(box.start, step, strict=True))
    return starts and all(b % s == 0 or b == n for b, s, n in zip(box.stop, step, shape, strict=True))
