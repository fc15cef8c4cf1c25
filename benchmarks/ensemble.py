"""The streamed fit of an ensemble against loading everything.

    python benchmarks/ensemble.py [--images 4] [--members 4] [--side 512]

Images of blurred blobs, each member their truth with noise of its own. "Streamed" is `tasks.ensemble`: histograms and a sample in one
pass, convex fit, exact scores in a second pass. "Naive" holds all probabilities in float32, minimises the same log-loss over all
voxels, and scores 255 thresholds one by one. Peaks are of arrays, by tracemalloc, in a second run of each.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter

from malpighi.inference.ensemble_combine import Combination
from malpighi.inference.ensemble_limits import dice_at, fit_limits, mean_dice
from malpighi.inference.ensemble_search import convex_weights
from malpighi.metrics.overlap import count as overlap
from malpighi.tasks.ensemble.passes import count, recount

BOX = 512


class Image:
    """An image that is made anew each time it is read, as a file would be."""

    def __init__(self, seed: int, members: int, side: int) -> None:
        self.seed, self.members, self.side = seed, members, side

    def whole(self) -> tuple[np.ndarray, np.ndarray]:
        """(member, class, y, x) uint8 levels, (class, y, x) uint8 truth."""
        random = np.random.default_rng(self.seed)
        field = gaussian_filter(random.normal(size=(self.side, self.side)).astype(np.float32), 12)
        truth = (field > np.quantile(field, 0.85)).astype(np.uint8)
        base = gaussian_filter(truth.astype(np.float32), 4) * 160 + 40
        columns = [base + random.normal(0, 25 + 15 * m, truth.shape) for m in range(self.members)]
        return np.clip(columns, 0, 255).astype(np.uint8)[:, None], truth[None]

    def boxes(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Box by box."""
        levels, truth = self.whole()
        for y in range(0, self.side, BOX):
            for x in range(0, self.side, BOX):
                part = (..., slice(y, y + BOX), slice(x, x + BOX))
                yield levels[part], truth[part]


def streamed(images: list[Image]) -> tuple[np.ndarray, int, float]:
    """Weights, level, Dice."""
    found = count(lambda n: nullcontext(images[n]), len(images), images[0].members, 1)
    weights = convex_weights(found.samples)
    wanted = [{"convex": Combination(weights)}] * len(images)
    exact = recount(lambda n: nullcontext(images[n]), wanted, 1)["convex"]
    limits = fit_limits(exact)
    return weights, limits.optima[0].level, mean_dice(dice_at(exact, limits.levels()))


def naive(images: list[Image]) -> tuple[np.ndarray, int, float]:
    """The same of everything at once."""
    held = [each.whole() for each in images]
    truth = np.concatenate([t.ravel() for _, t in held])
    p = (np.concatenate([levels[:, 0].reshape(len(levels), -1).T for levels, _ in held]).astype(np.float32) + 0.5) / 256
    q = np.where(truth[:, None] == 1, p, 1 - p)
    weights, before = np.full(q.shape[1], 1 / q.shape[1]), np.inf
    for _ in range(1000):
        mixed = q @ weights
        loss = -float(np.log(mixed).mean(dtype=np.float64))
        if before - loss < 1e-7:
            break
        before, weights = loss, weights * ((1 / mixed) @ q) / len(q)
        weights /= weights.sum()
    joined = [(Combination(weights).levels(levels)[0], t[0]) for levels, t in held]
    dice = [np.mean([overlap(m >= level, t).dice[0] for m, t in joined]) for level in range(1, 256)]
    return weights, int(np.argmax(dice)) + 1, float(max(dice))


def measured(work: Callable[[], tuple[np.ndarray, int, float]]) -> tuple[float, float, tuple[np.ndarray, int, float]]:
    """Seconds of processor, peak MB, result."""
    start = time.process_time()
    result = work()
    seconds = time.process_time() - start
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return seconds, peak, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--side", type=int, default=512)
    options = parser.parse_args()
    images = [Image(seed, options.members, options.side) for seed in range(options.images)]
    title = f"{options.images} images of {options.side}², {options.members} members"
    table = Table("", "CPU s", "peak MB", "weights", "level", "Dice", title=title)
    for name, work in {"streamed": streamed, "naive": naive}.items():
        seconds, peak, (weights, level, dice) = measured(lambda work=work: work(images))  # type: ignore[misc]
        table.add_row(name, f"{seconds:.1f}", f"{peak:.0f}", " ".join(f"{w:.3f}" for w in weights), str(level), f"{dice:.5f}")
    Console().print(table)


if __name__ == "__main__":
    main()
