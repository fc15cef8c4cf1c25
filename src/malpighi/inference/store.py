"""PredictionStore: the folder that a prediction is written to, shard by shard, so that a killed run can go on."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from malpighi.errors import OutputError
from malpighi.geometry import Box, Spacing
from malpighi.images.base import Damage
from malpighi.images.write import ZarrWriter, write_labels_group
from malpighi.inference.manifest import (
    MANIFEST,
    as_json,
    differences,
    file_fingerprint,
    finished_manifest,
    identity,
    names_a_folder,
    read_json,
    write_json,
)
from malpighi.inference.predict import ALIGN
from malpighi.inference.top import LEVELS, Kept

__all__ = [
    "LABELS",
    "MANIFEST",
    "PROBABILITIES",
    "PredictionStore",
    "ReadMask",
    "differences",
    "file_fingerprint",
    "finished_manifest",
    "identity",
    "names_a_folder",
]

LABELS = "labels.ome.zarr"
PROBABILITIES = "probabilities.ome.zarr"
_CONFIDENCE = "unfinished-confidence.zarr"
_UNDECIDED = "unfinished-probabilities.zarr"
_BEFORE = "unfinished-masks.zarr"
_BEGUN = "unfinished.json"
_DONE = "unfinished.log"
_SHARD: dict[int, tuple[int | tuple[int, ...], int | tuple[int, ...]]] = {
    2: (512, ALIGN[2]),
    3: ((32, 64, 64), ALIGN[3]),
}
"""Chunks and shards by rank; a shard is what `predict` gives away at a time."""


ReadMask = Callable[[int], Callable[[Box], np.ndarray]]
"""Number of a class → reads boxes of its mask, (*spatial)."""


class _Log(NamedTuple):
    """What an unfinished prediction has: boxes, damage met, and steps that are done."""

    done: list[Box]
    damage: list[Damage]
    steps: set[str]


class PredictionStore:
    """Writes labels (one 0/1 image a class) and, on request, probabilities; knows which boxes are done.

    Of a network that tells objects apart it takes layers, and afterwards, by `write_mask`, the label image of object numbers
    that was made of them.

    ```
    prediction/  labels.ome.zarr/labels/CLASS   [probabilities.ome.zarr]   manifest.json
    ```

    `manifest.json` is written last: a folder without it is unfinished. Until then `unfinished.json` says what the run is
    (its identity) and `unfinished.log` which boxes are done and what of the image was damaged; both go away at the end. A box enters the log after all
    of its shards are written, so a process killed at any moment costs at most the boxes under way, and the run that goes
    on ends in the same bytes as one that was never stopped.

    Writing runs in a thread of its own, at most one box behind: `add` hands over and returns.

    Attributes:
        align: shape of the boxes that `add` takes: give it to `predict`.
        done: boxes that need not be predicted again: give them to `predict`.
        everywhere: `read_probability` knows probabilities outside of masks too.
        damage: parts of the image that could not be read, also by the runs before this one, in order of position.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        spacing: Spacing,
        classes: Sequence[str],
        thresholds: Sequence[float],
        *,
        probabilities: bool = False,
        top: float = 0.0,
        everywhere: bool = False,
        layers: Sequence[str] = (),
        fingerprint: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Begin a prediction in `path`, or go on with the one that was begun there.

        Args:
            shape: of the image at `spacing`.
            classes: names; also the names of the label images.
            thresholds: one a class; a voxel belongs to it where its probability is at least this.
            top: where not 0, instead of `thresholds`: so many per cent of the image's voxels are of each class. Masks are
                written when all of them are known, by `decide`.
            everywhere: until `finish`, `read_probability` knows probabilities outside of masks too: for steps that let masks grow.
            layers: of `add`, where these are no classes: they are kept as probabilities are, and `read_layers` gives them
                back. The label image of the one class takes 32 bits, and is for the caller to write.
            fingerprint: what the result depends on (see `file_fingerprint`), as JSON would hold it: a run goes on only
                where this is the same.
            overwrite: begin again whatever is there.

        Raises:
            OutputError: the folder holds a finished prediction, another run's, or something else; or cannot be written.
        """
        self.path = Path(path)
        self.shape = tuple(shape)
        self.classes = tuple(classes)
        for name in self.classes:
            if not names_a_folder(name):
                raise OutputError(f"{self.path}: class {name!r} cannot name a folder; leave out / and \\ and a leading dot")
        self.thresholds = np.asarray(thresholds, np.float32)
        self._identity = identity(shape, spacing, classes, thresholds, probabilities, fingerprint)
        resumed = self._claim(overwrite)
        chunk, shard = _SHARD[min(len(shape), 3)]
        common: dict[str, Any] = {"chunk": chunk, "shard": shard, "resume": resumed, "overwrite": not resumed}
        self._labels = [
            ZarrWriter(
                self.path / LABELS / "labels" / name,
                shape,
                spacing,
                np.uint32 if layers else np.uint8,
                kind="labels",
                classes={} if layers else {1: name},
                **common,
            )
            for name in classes
        ]
        self._keeps, self.everywhere = probabilities, probabilities or everywhere
        self._layers = bool(layers)
        kept = PROBABILITIES if probabilities else _CONFIDENCE
        self._probabilities = ZarrWriter(
            self.path / kept, shape, spacing, np.uint8, channels=tuple(layers) or self.classes, **common
        )
        self.top = top
        undecided = self.path / _UNDECIDED
        self._kept = Kept(undecided, shape, spacing, classes, chunk=chunk, shard=shard, resume=resumed) if top else None
        self.align = self._labels[0].shard
        done, damage, self._steps = self._read_log()
        self.done = frozenset(done)
        self._damage = {(found.level, found.box): found for found in damage}
        self._count = len(self.done)
        self._masks_finished = self._decided = False
        self._log = (self.path / _DONE).open("a")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="malpighi-write")
        self._writing: Future[None] | None = None

    @property
    def damage(self) -> list[Damage]:
        """See the class."""
        return sorted(self._damage.values(), key=lambda found: (found.level, found.box))

    def add(self, box: Box, probabilities: np.ndarray, damage: Iterable[Damage] = ()) -> None:
        """Write a finished box.

        Args:
            box: aligned to `align`, or ending at the image's border.
            probabilities: (class, *box.size) float32, or (layer, *box.size), not changed afterwards.
            damage: parts of the image that could not be read up to now; what was given before is left out.

        Raises:
            OutputError: the disk is full or the folder cannot be written; what is done stays, and the run can go on.
        """
        self._wait()
        fresh = {(found.level, found.box): found for found in damage if (found.level, found.box) not in self._damage}
        self._damage |= fresh
        self._writing = self._writer.submit(self._write, box, probabilities, tuple(fresh.values()))

    def decide(self) -> np.ndarray:
        """(class,) float32 probability from which a voxel is of a class. With `top`, it is found and the masks are written here.

        Call it when all boxes were added; `finish_masks` does. Probabilities are then multiples of 1 / `LEVELS`.

        Raises:
            OutputError: boxes are missing, or the folder cannot be written.
        """
        self._wait()
        missing = len(list(Box.of_shape(self.shape).split(self.align))) - self._count
        if missing:
            raise OutputError(f"{self.path}: {missing} boxes are not predicted yet; run the same command again to go on")
        if self._kept is not None and not self._decided:
            limits = np.array(self._kept.limits(self.top), np.float32)
            self.thresholds = limits / np.float32(LEVELS)
            if "decide" not in self._steps:  # or a step after this one has changed the masks already
                with self._explained():
                    self._write_decided(self._kept, limits)
                    self._mark("decide")
        self._decided = True
        return self.thresholds

    def change(self, step: str, work: Callable[[ReadMask], None], *, copy: bool = False) -> None:
        """Let `work` change the masks, once: a run that was stopped leaves out the steps that are done and begins the one under way again.

        Call it when all boxes were added, before `finish_masks`, always in the same order.

        Args:
            step: tells it from other steps.
            work: is given `read_mask`, and changes boxes by `write_mask`.
            copy: `work` reads the masks as they were before it, whatever it has written, also when it begins again: for work whose
                result is another where it meets masks that it has half changed, or reads beside the box that it writes. Costs a copy
                of the masks, which `finish` takes away.

        Raises:
            OutputError: boxes are missing, or the folder cannot be written.
        """
        self.decide()
        if step in self._steps:
            return
        with self._explained():
            if copy and f"before {step}" not in self._steps:
                self._copy_masks()
                self._mark(f"before {step}")
            work(self._read_before if copy else self.read_mask)
            self._mark(step)

    def finish_masks(self) -> None:
        """Add the coarser levels: masks and probabilities can be read from here on.

        Raises:
            OutputError: boxes are missing, or the folder cannot be written.
        """
        self.decide()
        with self._explained():
            for image in (*self._labels, *([self._probabilities] if self._keeps else [])):
                image.finish()
            write_labels_group(self.path / LABELS, self.classes)
        self._masks_finished = True

    def write_mask(self, index: int, box: Box, mask: np.ndarray) -> None:
        """Replace a box (aligned to `align`) of a class's mask before `finish_masks`: what tidies up after the network.

        Where the store takes layers this is the box's object numbers.

        Raises:
            OutputError: the disk is full or the folder cannot be written.
        """
        self._wait()
        with self._explained():
            self._labels[index].write(box, mask.astype(self._labels[index].dtype))

    def read_mask(self, index: int) -> Callable[[Box], np.ndarray]:
        """Reads boxes of a class's mask: (*spatial) uint8 of 0 and 1 or uint32 numbers, with all that was added before."""
        self._wait()
        masks = _level0(self._labels[index])
        return lambda box: np.asarray(masks[box.slices])

    def read_probability(self, index: int) -> Callable[[Box], np.ndarray]:
        """Reads boxes of a class's probability, (*spatial) uint8, 255 stands for 1: where its mask was 1 when it was added, else 0;
        everywhere where the store keeps them `everywhere`.
        """
        self._wait()
        probabilities = _level0(self._probabilities)
        return lambda box: np.asarray(probabilities[(index, *box.slices)])

    def read_layers(self) -> Callable[[Box], np.ndarray]:
        """Reads boxes of all layers that were added before: (layer, *spatial) uint8, 255 stands for 1."""
        self._wait()
        layers = _level0(self._probabilities)
        return lambda box: np.asarray(layers[(slice(None), *box.slices)])

    def finish(self, facts: Mapping[str, Any] | None = None) -> None:
        """Add the manifest, after `finish_masks` if that was not called: the prediction is finished.

        Args:
            facts: more for the manifest (names, versions), as JSON would hold it.

        Raises:
            OutputError: boxes are missing, or the folder cannot be written.
        """
        if not self._masks_finished:
            self.finish_masks()
        self.close()
        with self._explained():
            write_json(self.path / MANIFEST, {**self._identity, **as_json(facts or {})})
            self._tidy()

    def close(self) -> None:
        """Let the write under way end and close the log. Without `finish`, the folder stays unfinished and can go on."""
        self._writer.shutdown(wait=True)
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- inside --------------------------------------------------------------------------------------------------
    def _claim(self, overwrite: bool) -> bool:
        """Make the folder this run's; whether it already was."""
        begun = self.path / _BEGUN
        if self.path.exists() and not overwrite:
            if not self.path.is_dir():
                raise OutputError(f"{self.path}: exists and is not a folder; choose another output")
            if begun.exists() and not (self.path / MANIFEST).exists():
                if self._read_log().done:  # else there is nothing to go on with, and nothing to lose
                    if different := differences(read_json(begun), self._identity):
                        raise OutputError(
                            f"{self.path}: holds an unfinished prediction with another {', '.join(different)}; "
                            "give the same input and options to go on, choose another output, or begin again with --overwrite"
                        )
                    return True
            elif (self.path / MANIFEST).exists():
                raise OutputError(
                    f"{self.path}: holds a finished prediction; choose another output or replace it with --overwrite"
                )
            elif any(self.path.iterdir()):
                raise OutputError(f"{self.path}: is not empty and no prediction; choose another output")
        try:
            self._clear()
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(begun, self._identity)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror or error}); choose another output") from error
        return False

    def _tidy(self) -> None:
        """Remove what only an unfinished prediction needs."""
        for name in (_DONE, _BEGUN):
            (self.path / name).unlink(missing_ok=True)
        for name in (_CONFIDENCE, _UNDECIDED, _BEFORE):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def _clear(self) -> None:
        """Remove an earlier prediction, the mark of being finished first; files that are not ours stay."""
        (self.path / MANIFEST).unlink(missing_ok=True)
        self._tidy()
        for name in (LABELS, PROBABILITIES):
            if (self.path / name).is_dir():
                shutil.rmtree(self.path / name)

    def _read_log(self) -> _Log:
        """Boxes and steps that are done, and the damage met on the way."""
        log = self.path / _DONE
        if not log.exists():
            return _Log([], [], set())
        complete = log.read_bytes().rpartition(b"\n")[0]
        os.truncate(log, len(complete) + bool(complete))  # the last line may be cut off
        read = _Log([], [], set())
        for line in complete.splitlines():
            match json.loads(line):
                case [start, size]:
                    read.done.append(Box(tuple(start), tuple(size)))
                case {"level": level, "box": [start, size], "reason": reason}:
                    read.damage.append(Damage(level, Box(tuple(start), tuple(size)), reason))
                case {"step": step}:
                    read.steps.add(step)
        return read

    def _mark(self, step: str) -> None:
        self._log.write(json.dumps({"step": step}) + "\n")
        self._log.flush()
        self._steps.add(step)

    def _copy_masks(self) -> None:
        """The masks as they are, into an array beside them."""
        chunk, shard = _SHARD[min(len(self.shape), 3)]
        image = self._labels[0]
        layout: dict[str, Any] = {"channels": self.classes, "chunk": chunk, "shard": shard, "overwrite": True}
        copy = ZarrWriter(self.path / _BEFORE, self.shape, image.spacing, image.dtype, **layout)
        reads = [self.read_mask(k) for k in range(len(self.classes))]
        for box in Box.of_shape(self.shape).split(self.align):
            copy.write(box, np.stack([read(box) for read in reads]))

    def _read_before(self, index: int) -> Callable[[Box], np.ndarray]:
        """Reads boxes of a class's mask as `_copy_masks` found it."""
        import zarr

        masks: Any = zarr.open_array(self.path / _BEFORE / "0", mode="r")
        return lambda box: np.asarray(masks[(index, *box.slices)])

    def _write(self, box: Box, probabilities: np.ndarray, damage: Iterable[Damage]) -> None:
        with self._explained():
            if self._kept is not None:
                self._kept.write(box, probabilities)
            elif self._layers:
                self._probabilities.write(box, np.rint(probabilities * 255).astype(np.uint8))
            else:
                self._write_masks(box, probabilities >= self.thresholds.reshape(-1, *[1] * len(self.shape)), probabilities)
            told = [
                {"level": found.level, "box": [found.box.start, found.box.size], "reason": found.reason} for found in damage
            ]
            self._log.write("".join(json.dumps(line) + "\n" for line in (*told, [box.start, box.size])))
            self._log.flush()
        self._count += 1

    def _write_decided(self, kept: Kept, limits: np.ndarray) -> None:
        """Write the masks of all voxels that reach the levels `limits`, (class,)."""
        for box in Box.of_shape(self.shape).split(self.align):
            levels = kept.read(box)
            masks = levels >= limits.reshape(-1, *[1] * len(self.shape))
            self._write_masks(box, masks, levels / np.float32(LEVELS))

    def _write_masks(self, box: Box, masks: np.ndarray, probabilities: np.ndarray) -> None:
        for image, mask in zip(self._labels, masks, strict=True):
            image.write(box, mask.view(np.uint8))
        eighth = np.rint(probabilities * 255).astype(np.uint8)
        self._probabilities.write(box, eighth if self.everywhere else eighth * masks)

    def _wait(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What the disk refuses is said as the user can mend it; what was said before goes on as it is."""
        try:
            yield
        except OSError as error:
            told = self._explain(error)
            if told is error:  # chained to itself, it would be without end
                raise
            raise told from error

    def _explain(self, error: OSError) -> OutputError:
        cause = error
        while isinstance(cause.__cause__, OSError):
            cause = cause.__cause__
        if cause.errno not in (errno.ENOSPC, errno.EDQUOT):
            return error if isinstance(error, OutputError) else OutputError(f"{self.path}: cannot be written ({error})")
        total = len(list(Box.of_shape(self.shape).split(self.align)))
        written = sum(f.stat().st_size for f in self.path.rglob("*") if f.is_file())
        free = shutil.disk_usage(self.path).free
        needed = written / max(1, self._count) * (total - self._count) * 1.35  # the coarser levels are a third
        more = f"about {_megabytes(needed)} more are needed: free them" if self._count else "free space"
        return OutputError(
            f"{self.path}: the disk is full after {self._count} of {total} boxes ({_megabytes(written)}; {_megabytes(free)} "
            f"free); {more} and run the same command again to go on"
        )


def _level0(writer: ZarrWriter) -> Any:
    """The zarr array that `writer` fills."""
    import zarr

    return zarr.open_array(writer.path / "0", mode="r")


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB"
