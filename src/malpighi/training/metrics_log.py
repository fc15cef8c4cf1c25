"""metrics.jsonl: one JSON object a line, appended while training; cut back to the checkpoint when a run goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from malpighi.images.replacing import replacing
from malpighi.training.metrics_file import NAME, read_metrics


class MetricsLog:
    """Writes each row to `metrics.jsonl` and its numbers to TensorBoard files in `run/tensorboard`."""

    def __init__(self, run: Path, first_step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        path = run / NAME
        kept = [row for row in read_metrics(path) if row["step"] <= first_step]
        with replacing(path) as part:  # a run that is killed here still has its lines
            part.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        self._file = path.open("a")
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=first_step + 1 if first_step else None)

    def write(self, step: int, **values: Any) -> None:
        """One row: `step` and the values, nested at will."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in _flat(values):
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and let go."""
        self._file.close()
        self._board.close()


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    out = []
    for key, value in values.items():
        if isinstance(value, dict):
            out += _flat(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            out.append((prefix + key, float(value)))
    return out
