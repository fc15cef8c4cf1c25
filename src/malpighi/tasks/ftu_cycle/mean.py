"""The mean of several networks' probabilities, as a prediction of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box, Spacing
from malpighi.inference.manifest import MANIFEST
from malpighi.inference.store import PredictionStore
from malpighi.reports.runfolder import read_json
from malpighi.tasks.ftu_cycle.facts import open_probabilities


def mean_prediction(parts: Sequence[Path], folder: Path) -> None:
    """Write the mean of finished predictions of one image into `folder`; goes on where it was stopped.

    Args:
        parts: folders with probabilities, on one grid.
        folder: gets masks, by the mean of the thresholds, and probabilities.

    Raises:
        DataError: the predictions are not of one grid.
        OutputError: the folder cannot be written.
    """
    if (folder / MANIFEST).is_file():
        return
    told = [read_json(part / MANIFEST) for part in parts]
    if any(other[key] != told[0][key] for other in told for key in ("shape", "spacing")):
        raise DataError(
            f"{parts[0]} and the others lie on different grids, so there is no mean of them; train them at one spacing"
        )
    spacing = Spacing(tuple(told[0]["spacing"]["values"]), told[0]["spacing"]["unit"])
    with ExitStack() as stack:
        opened = [open_probabilities(part) for part in parts]
        sources = [stack.enter_context(source) for source, _ in opened]
        limits = np.mean([found for _, found in opened], axis=0)
        fingerprint = {"image": told[0]["image"], "members": [other["weights"] for other in told]}
        classes = sources[0].channels
        store = stack.enter_context(
            PredictionStore(
                folder, tuple(told[0]["shape"]), spacing, classes, limits.tolist(), probabilities=True, fingerprint=fingerprint
            )
        )
        for box in Box.of_shape(store.shape).split(store.align):
            if box not in store.done:
                store.add(box, np.mean([source.read(box).astype(np.float32) / 255 for source in sources], axis=0))
        store.finish({"run": [other["run"] for other in told]})
