"""The images of a prediction: a mask a class, and the probabilities they are made of, written box by box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.geometry import Box, Spacing
from malpighi.images.write import ZarrWriter, write_labels_group
from malpighi.inference.folder import BEFORE, CONFIDENCE, LABELS, PROBABILITIES, UNDECIDED
from malpighi.inference.predict import ALIGN
from malpighi.inference.top import LEVELS, Kept

_SHARD: dict[int, tuple[int | tuple[int, ...], int | tuple[int, ...]]] = {
    2: (512, ALIGN[2]),
    3: ((32, 64, 64), ALIGN[3]),
}
"""Chunks and shards by rank; a shard is what `predict` gives away at a time."""

Read = Callable[[Box], np.ndarray]
ReadMask = Callable[[int], Read]
"""Number of a class → reads boxes of its mask, (*spatial)."""


class Masks:
    """Masks and probabilities in a prediction's folder. Arguments are those of `PredictionStore`.

    Attributes:
        align: shape of the boxes that are written.
        everywhere: probabilities are kept outside of masks too.
        kept: where masks are decided when all boxes are written: what decides them.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        spacing: Spacing,
        classes: Sequence[str],
        *,
        probabilities: bool,
        top: float,
        everywhere: bool,
        layers: Sequence[str],
        resume: bool,
    ) -> None:
        self._path, self._shape, self._spacing, self._classes = path, shape, spacing, tuple(classes)
        chunk, shard = _SHARD[min(len(shape), 3)]
        self._layout: dict[str, Any] = {"chunk": chunk, "shard": shard}
        begun: dict[str, Any] = {**self._layout, "resume": resume, "overwrite": not resume}
        dtype: Any = np.uint32 if layers else np.uint8
        self._labels = []
        for name in classes:
            told: dict[str, Any] = {"kind": "labels", "classes": {} if layers else {1: name}}
            self._labels.append(ZarrWriter(path / LABELS / "labels" / name, shape, spacing, dtype, **told, **begun))
        self.align = self._labels[0].shard
        self._keeps, self.everywhere, self._layers = probabilities, probabilities or everywhere, bool(layers)
        place, channels = path / (PROBABILITIES if probabilities else CONFIDENCE), tuple(layers) or self._classes
        self._probabilities = ZarrWriter(place, shape, spacing, np.uint8, channels=channels, **begun)
        kept: dict[str, Any] = {**self._layout, "resume": resume}
        self.kept = Kept(path / UNDECIDED, shape, spacing, classes, **kept) if top else None

    def write(self, box: Box, probabilities: np.ndarray, thresholds: np.ndarray) -> None:
        """Write what a network says of a box.

        Args:
            probabilities: (class, *box.size) float32, or (layer, *box.size).
            thresholds: (class,) float32; not looked at where masks are decided at the end.
        """
        if self.kept is not None:
            self.kept.write(box, probabilities)
        elif self._layers:
            self._probabilities.write(box, _in_8_bits(probabilities))
        else:
            self._write_masks(box, probabilities >= self._each_class(thresholds), probabilities)

    def decide(self, kept: Kept, limits: np.ndarray) -> None:
        """Write the masks of all voxels that were kept and reach the levels `limits`, (class,)."""
        for box in Box.of_shape(self._shape).split(self.align):
            levels = kept.read(box)
            self._write_masks(box, levels >= self._each_class(limits), levels / np.float32(LEVELS))

    def replace(self, index: int, box: Box, mask: np.ndarray) -> None:
        """Write a box of a class's mask, or of object numbers, anew."""
        self._labels[index].write(box, mask.astype(self._labels[index].dtype))

    def read(self, index: int) -> Read:
        """Reads boxes of a class's mask."""
        masks = self._labels[index].level0()
        return lambda box: np.asarray(masks[box.slices])

    def read_probability(self, index: int) -> Read:
        """Reads boxes of a class's probability, 255 stands for 1."""
        probabilities = self._probabilities.level0()
        return lambda box: np.asarray(probabilities[(index, *box.slices)])

    def read_layers(self) -> Read:
        """Reads boxes of all layers, 255 stands for 1."""
        layers = self._probabilities.level0()
        return lambda box: np.asarray(layers[(slice(None), *box.slices)])

    def copy(self) -> None:
        """Keep the masks as they are, in an array beside them."""
        made: dict[str, Any] = {**self._layout, "channels": self._classes, "overwrite": True}
        copy = ZarrWriter(self._path / BEFORE, self._shape, self._spacing, self._labels[0].dtype, **made)
        reads = [self.read(k) for k in range(len(self._classes))]
        for box in Box.of_shape(self._shape).split(self.align):
            copy.write(box, np.stack([read(box) for read in reads]))

    def read_copy(self, index: int) -> Read:
        """Reads boxes of a class's mask as `copy` found it."""
        import zarr

        masks: Any = zarr.open_array(self._path / BEFORE / "0", mode="r")
        return lambda box: np.asarray(masks[(index, *box.slices)])

    def finish(self) -> None:
        """Add the coarser levels and what makes the masks one OME-Zarr."""
        for image in (*self._labels, *([self._probabilities] if self._keeps else [])):
            image.finish()
        write_labels_group(self._path / LABELS, self._classes)

    # -- inside --------------------------------------------------------------------------------------------------
    def _write_masks(self, box: Box, masks: np.ndarray, probabilities: np.ndarray) -> None:
        for image, mask in zip(self._labels, masks, strict=True):
            image.write(box, mask.view(np.uint8))
        eighth = _in_8_bits(probabilities)
        self._probabilities.write(box, eighth if self.everywhere else eighth * masks)

    def _each_class(self, values: np.ndarray) -> np.ndarray:
        """(class, 1, …) beside (class, *spatial)."""
        return values.reshape(-1, *[1] * len(self._shape))


def _in_8_bits(probabilities: np.ndarray) -> np.ndarray:
    return np.rint(probabilities * 255).astype(np.uint8)
