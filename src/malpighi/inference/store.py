"""PredictionStore: the folder that a prediction is written to, shard by shard, so that a killed run can go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from malpighi.errors import OutputError
from malpighi.geometry import Box, Spacing
from malpighi.images.base import Damage
from malpighi.inference.folder import claim, explained, tidy
from malpighi.inference.manifest import MANIFEST, as_json, identity, names_a_folder, write_json
from malpighi.inference.masks import Masks, Read, ReadMask
from malpighi.inference.top import LEVELS
from malpighi.inference.written import WrittenLog


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
        kinds: dict[str, Any] = {"probabilities": probabilities, "top": top, "everywhere": everywhere, "layers": layers}
        resumed = claim(self.path, self._identity, overwrite)
        self._masks = Masks(self.path, shape, spacing, classes, **kinds, resume=resumed)
        self.align, self.everywhere, self.top = self._masks.align, self._masks.everywhere, top
        self._log = WrittenLog(self.path)
        self.done = frozenset(self._log.boxes)
        self._masks_finished = self._decided = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="malpighi-write")
        self._writing: Future[None] | None = None

    @property
    def damage(self) -> list[Damage]:
        """See the class."""
        self._wait()
        return self._log.damage

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
        self._writing = self._writer.submit(self._write, box, probabilities, tuple(damage))

    def decide(self) -> np.ndarray:
        """(class,) float32 probability from which a voxel is of a class. With `top`, it is found and the masks are written here.

        Call it when all boxes were added; `finish_masks` does. Probabilities are then multiples of 1 / `LEVELS`.

        Raises:
            OutputError: boxes are missing, or the folder cannot be written.
        """
        self._wait()
        done, total = self._boxes()
        if done < total:
            raise OutputError(f"{self.path}: {total - done} boxes are not predicted yet; run the same command again to go on")
        kept = self._masks.kept
        if kept is not None and not self._decided:
            limits = np.array(kept.limits(self.top), np.float32)
            self.thresholds = limits / np.float32(LEVELS)
            if "decide" not in self._log.steps:  # or a step after this one has changed the masks already
                with self._explained():
                    self._masks.decide(kept, limits)
                    self._log.mark("decide")
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
        if step in self._log.steps:
            return
        with self._explained():
            if copy and f"before {step}" not in self._log.steps:
                self._masks.copy()
                self._log.mark(f"before {step}")
            work(self._masks.read_copy if copy else self.read_mask)
            self._log.mark(step)

    def finish_masks(self) -> None:
        """Add the coarser levels: masks and probabilities can be read from here on.

        Raises:
            OutputError: boxes are missing, or the folder cannot be written.
        """
        self.decide()
        with self._explained():
            self._masks.finish()
        self._masks_finished = True

    def write_mask(self, index: int, box: Box, mask: np.ndarray) -> None:
        """Replace a box (aligned to `align`) of a class's mask before `finish_masks`: what tidies up after the network.

        Where the store takes layers this is the box's object numbers.

        Raises:
            OutputError: the disk is full or the folder cannot be written.
        """
        self._wait()
        with self._explained():
            self._masks.replace(index, box, mask)

    def read_mask(self, index: int) -> Read:
        """Reads boxes of a class's mask: (*spatial) uint8 of 0 and 1 or uint32 numbers, with all that was added before."""
        self._wait()
        return self._masks.read(index)

    def read_probability(self, index: int) -> Read:
        """Reads boxes of a class's probability, (*spatial) uint8, 255 stands for 1: where its mask was 1 when it was added, else 0;
        everywhere where the store keeps them `everywhere`.
        """
        self._wait()
        return self._masks.read_probability(index)

    def read_layers(self) -> Read:
        """Reads boxes of all layers that were added before: (layer, *spatial) uint8, 255 stands for 1."""
        self._wait()
        return self._masks.read_layers()

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
            tidy(self.path)

    def close(self) -> None:
        """Let the write under way end and close the log. Without `finish`, the folder stays unfinished and can go on."""
        self._writer.shutdown(wait=True)
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- inside --------------------------------------------------------------------------------------------------
    def _write(self, box: Box, probabilities: np.ndarray, damage: Iterable[Damage]) -> None:
        with self._explained():
            self._masks.write(box, probabilities, self.thresholds)
            self._log.add(box, damage)

    def _wait(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _boxes(self) -> tuple[int, int]:
        """How many are written, of how many."""
        return len(self._log.boxes), len(list(Box.of_shape(self.shape).split(self.align)))

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self.path, self._boxes)
