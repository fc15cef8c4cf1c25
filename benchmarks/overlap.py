"""Counting shared voxels and matching objects, block by block.

    python benchmarks/overlap.py [--side 20000] [--rounds 3]

Dice counts: malpighi's on bool and on uint8 with unlabelled parts, against the formula in float32 and int64 sums as it is
commonly written. Pairs of objects: `Intersections` against a histogram of all pairs (`np.unique` on the joint labels). All
work on the same 2048² block, as often as the side needs. Times are wall seconds, medians; only ratios mean something.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from malpighi.metrics.instances import Intersections
from malpighi.metrics.overlap import count

BLOCK = 2048


def disks(seed: int) -> np.ndarray:
    """(y, x) int32: 200 numbered discs."""
    generator = np.random.default_rng(seed)
    labels = np.zeros((BLOCK, BLOCK), np.int32)
    for i, (y, x, radius) in enumerate(np.random.default_rng(0).integers((0, 0, 20), (BLOCK, BLOCK, 60), (200, 3))):
        shift = generator.integers(-5, 6, 2)
        cv2.circle(labels, (int(x + shift[0]), int(y + shift[1])), int(radius), i + 1, -1)
    return labels


def float_dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    p, t = prediction.astype(np.float32), truth.astype(np.float32)
    return float(2 * (p * t).sum() / (p.sum() + t.sum()))


def joint_histogram(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.unique(prediction.astype(np.int64) << 32 | truth, return_counts=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    blocks = round((options.side / BLOCK) ** 2)
    found, true = disks(1), disks(2)
    p, t = found > 0, true > 0
    partly = t.astype(np.uint8)
    partly[: BLOCK // 4] = 255
    jobs: dict[str, dict[str, Callable[[], object]]] = {
        f"Dice counts, {options.side}²": {
            "malpighi, bool": lambda: count(p, t),
            "malpighi, uint8, a quarter unlabelled": lambda: count(p.view(np.uint8), partly),
            "float32 formula": lambda: float_dice(p, t),
            "int64 sums": lambda: (int((p & t).sum()), int(p.sum()), int(t.sum())),
        },
        f"pairs of objects, {options.side}²": {
            "malpighi": lambda: Intersections().add(found, true),
            "np.unique of joint labels": lambda: joint_histogram(found, true),
        },
    }
    for title, engines in jobs.items():
        times: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(options.rounds):
            for name, work in engines.items():
                start = time.perf_counter()
                for _ in range(min(blocks, 10)):
                    work()
                times[name].append((time.perf_counter() - start) * blocks / min(blocks, 10))
        table = Table("engine", "s", "× the first", title=title)
        first = statistics.median(next(iter(times.values())))
        for name, seconds in times.items():
            median = statistics.median(seconds)
            table.add_row(name, f"{median:.2f}", f"{median / first:.1f}")
        Console().print(table)


if __name__ == "__main__":
    main()
