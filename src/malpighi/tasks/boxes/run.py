"""The detector of a run folder: where it lies, how it is read back."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from malpighi.errors import DataError
from malpighi.tasks.model import WEIGHTS, weights_digest

if TYPE_CHECKING:
    from malpighi.models.detector import Detector
    from malpighi.tasks.run import TrainedRun

FOLDER = "boxes"
"""Within a run: weights.safetensors, metrics.jsonl, last.ckpt of the detector."""


def detector_digest(run: Path) -> str:
    """What tells one run's detector from another's.

    Raises:
        DataError: the run has none yet.
    """
    weights = run / FOLDER / WEIGHTS
    if not weights.is_file():
        raise DataError(f"{weights}: the run has no detector yet; go on with `malpighi train DATA -o {run}`")
    return weights_digest(run / FOLDER)


def open_detector(run: TrainedRun, device: str) -> Detector:
    """A run's detector on `device`, in evaluation mode; the last one is remembered.

    Raises:
        DataError: there is none, or its weights are another detector's.
        DependencyError: torchvision cannot be imported.
    """
    return _opened(run.path, device, detector_digest(run.path))


@lru_cache(maxsize=1)
def _opened(path: Path, device: str, _digest: str) -> Detector:
    from malpighi.models.detector import build_detector
    from malpighi.tasks.run import open_run
    from malpighi.training.checkpoint import load_weights

    run = open_run(path)
    detector = build_detector(run.recipe.boxes, run.inputs.channels, len(run.inputs.classes))
    load_weights(run.path / FOLDER, detector)
    return detector.to(device).eval()
