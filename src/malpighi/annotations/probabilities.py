"""Probabilities as labels: what a network said of an image, for another network to learn from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.annotations.base import UNLABELLED, Annotation
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.base import Source
from malpighi.images.open import open_image

NAME, BESIDE = "probabilities.ome.zarr", "manifest.json"
"""What a prediction's probabilities are called, and the file beside them that says their spacing and thresholds."""


def holds_probabilities(path: Path) -> bool:
    """Whether labels are, by their name, the probabilities of a prediction."""
    return Path(path).name == NAME


class ProbabilityAnnotation(Annotation):
    """The probabilities that `segment --probabilities` wrote, as labels of the image.

    They lie at the network's working spacing, which need be no whole multiple of the image's: at another spacing they are
    averaged, or interpolated linearly, as an image is.
    """

    def __init__(self, path: Path, space: Space, classes: Sequence[str] = (), sure: float = 0.5, *, soft: bool = True) -> None:
        """Open the probabilities; no voxel is read.

        Args:
            path: OME-Zarr of uint8 or uint16, a channel a class, whose largest value stands for 1.
            space: of the image the labels belong to.
            classes: to take, in this order; one the network did not look for is unlabelled. Empty: all.
            sure: voxels between `1 - sure` and `sure` are unlabelled; 0.5 labels all of them.
            soft: the labels are probabilities; else 0 and 1, by the thresholds that the prediction was made with.

        Raises:
            DataError: not probabilities, none of the classes, or of an image of another size.
        """
        path = Path(path)
        if not path.exists():
            raise DataError(f"{path}: does not exist; `malpighi segment --probabilities` writes one")
        told = _told(path)
        self._source = open_image(path, spacing=_spacing(told))
        try:
            have = self._source.channels
            names = tuple(name for name in classes if name in have) or (() if classes else have)
            if not names:
                raise DataError(f"{path}: holds probabilities of {', '.join(have)}, none of {', '.join(classes)}")
            self._top = _top(self._source)
            _require_cover(self._source, space)
            if not 0.5 <= sure < 1:
                raise DataError(f"{path}: sure {sure}; between 0.5 (every voxel is labelled) and 1")
            super().__init__(str(path), space, names)
        except BaseException:
            self._source.close()
            raise
        self._channels = [have.index(name) for name in names]
        self.soft, self.sure = soft, sure
        limits = {} if soft else told.get("thresholds") or told.get("classes", {})
        self._limits = np.array([float(limits.get(name, 0.5)) for name in names], np.float32)

    def _read(self, box: Box, spacing: Spacing) -> np.ndarray:
        """(class, *spatial) float32 in 0 … 1."""
        stored = self._source.read_at(box, spacing, pad="edge")[self._channels]
        return stored.astype(np.float32) / np.float32(self._top)

    def _unsure(self, found: np.ndarray) -> np.ndarray:
        return (found > np.float32(1 - self.sure)) & (found < np.float32(self.sure))

    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        """A voxel is of a class from probability 0.5 on (from the prediction's threshold, where the labels are not soft)."""
        found = self._read(box, spacing)
        layers = (found >= self._limits.reshape(-1, *[1] * box.rank)).astype(np.uint8)
        layers[self._unsure(found)] = UNLABELLED
        return layers

    def _probabilities(self, box: Box, spacing: Spacing) -> np.ndarray:
        if not self.soft:
            return super()._probabilities(box, spacing)
        found = self._read(box, spacing)
        found[self._unsure(found)] = np.nan
        return found

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()


def _told(path: Path) -> dict[str, Any]:
    """What the prediction's manifest says; {} where the probabilities lie alone."""
    try:
        return dict(json.loads((path.parent / BESIDE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise DataError(f"{path.parent / BESIDE}: not readable ({error}); predict again with --overwrite") from error


def _spacing(told: dict[str, Any]) -> Spacing | None:
    """The spacing of the probabilities: a Zarr in pixels of the image does not say of how many."""
    given = told.get("spacing")
    return Spacing(tuple(given["values"]), given["unit"]) if given else None


def _top(source: Source) -> int:
    if source.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{source.name}: probabilities of {source.dtype}; they are stored as uint8 or uint16, the largest is 1")
    return int(np.iinfo(source.dtype).max)


def _require_cover(source: Source, space: Space) -> None:
    """Refuse probabilities that do not lie over the image."""
    if source.space.rank == space.rank:
        wanted = space.shape_at(source.space.spacing)
        if all(abs(have - want) <= 1 for have, want in zip(source.space.shape, wanted, strict=True)):
            return
    have, whole = (" × ".join(map(str, shape)) for shape in (source.space.shape, space.shape))
    raise DataError(
        f"{source.name}: probabilities of {have} voxels of {source.space.spacing} for an image of {whole} at {space.spacing}; "
        "they belong to another image"
    )
