"""The table of a prediction's cells: where each is, what it measures, and how every stage scores it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

TABLE = "cells.parquet"
STAGES = {"fused": "score", "cell": "cell score", "maps": "map score", "image": "image score"}
"""Stage → how its columns begin: "score: Nucleoplasm" is final, the others are what it was made of."""


def score_columns(scores: Mapping[str, np.ndarray], classes: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of the table from (cell, class) scores by stage."""
    return {
        f"{STAGES[stage]}: {name}": np.ascontiguousarray(values[:, k], np.float32)
        for stage, values in scores.items()
        for k, name in enumerate(classes)
    }


def read_cell_scores(folder: Path, classes: Sequence[str]) -> dict[str, np.ndarray]:
    """One image's cells: "scores STAGE" (cell, class) float32 of each stage, "y" and "x" (cell,) centroids in level-0 pixels."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / TABLE)
    out = {"y": table["centroid_y"].to_numpy(), "x": table["centroid_x"].to_numpy()}
    for stage, prefix in STAGES.items():
        columns = [table[f"{prefix}: {name}"].to_numpy() for name in classes]
        out[f"scores {stage}"] = np.stack(columns, axis=1) if len(table) else np.zeros((0, len(classes)), np.float32)
    return out
