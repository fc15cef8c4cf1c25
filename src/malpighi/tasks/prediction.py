"""What `segment` wrote, read back as an annotation of the image: for scoring, pictures and conversion."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from malpighi.annotations.base import Annotation
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.open import open_image
from malpighi.inference.folder import LABELS
from malpighi.inference.manifest import MANIFEST


class Prediction(Annotation):
    """The mask of a prediction folder, on the grid of the image it was made from; its objects, where they are told apart.

    Masks lie at the network's working spacing, which need be no whole multiple of the image's: a voxel asked for takes
    the value of the mask's voxel at its centre.
    """

    def __init__(self, folder: Path) -> None:
        folder = Path(folder)
        try:
            facts = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DataError(
                f"{folder}: not a finished prediction (no {MANIFEST}); give a folder that `malpighi segment` wrote"
            ) from error
        except ValueError as error:
            raise DataError(f"{folder / MANIFEST}: not readable ({error}); predict again with --overwrite") from error
        try:
            image, own = facts["image"], facts["spacing"]
            space = Space.of_shape(image["shape"], Spacing(tuple(image["spacing"]["values"]), image["spacing"]["unit"]))
            super().__init__(str(folder), space, tuple(facts["classes"]))
            self.spacing = Spacing(tuple(own["values"]), own["unit"])
        except (KeyError, TypeError) as error:
            raise DataError(f"{folder / MANIFEST}: not what `malpighi segment` wrote (no {error}); predict again") from error
        self.manifest = facts
        self._masks = [open_image(folder / LABELS / "labels" / name, spacing=self.spacing) for name in self.classes]

    @property
    def has_objects(self) -> bool:
        """Whether the network told objects apart."""
        return bool(self.manifest.get("instances"))

    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        masks = np.concatenate([mask.read_at(box, spacing, pad=0, method="nearest") for mask in self._masks])
        return (masks > 0).view(np.uint8) if self.has_objects else masks

    def _instances(self, box: Box, spacing: Spacing, classes: tuple[str, ...]) -> np.ndarray:
        if not self.has_objects:
            return super()._instances(box, spacing, classes)
        if self.classes[0] not in classes:
            return np.zeros(box.size, np.int32)
        return self._masks[0].read_at(box, spacing, pad=0, method="nearest")[0].astype(np.int32)

    def close(self) -> None:
        """Let go of the masks."""
        for mask in self._masks:
            mask.close()
