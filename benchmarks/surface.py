"""Surface Dice: malpighi beside DeepMind's package and MONAI, and what it needs for a volume that is not in memory.

    python benchmarks/surface.py [--side 256] [--rounds 3] [--large 2000] [--tolerances 0 1 2] [--tree vessel_tree.nii.gz]

A pair of vessel masks of side³ voxels: branching tubes, or a crop of a real tree, against itself shifted by a voxel with 0.05 %
of the voxels flipped. All engines score the same pair, in turn, in one run; times are wall seconds, medians. Before, a
synthetic volume of large³ voxels is scored that is made box by box: its time, and by how much the process grew. Peers:
`benchmarks/requirements.txt`; one that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from malpighi.geometry import Box
from malpighi.metrics.surface import surface_overlap, surface_overlaps

Mask = np.ndarray


PITCH = 64
"""Voxels after which the synthetic vessels repeat."""


def tubes(side: int) -> Mask:
    """(z, y, x) bool of a lattice of wavy vessels that repeat every `PITCH` voxels: about 4 % of the volume."""
    turn = np.arange(side, dtype=np.float32) * np.float32(2 * np.pi / PITCH)
    z, y, x = np.meshgrid(*(np.arange(side) % PITCH,) * 3, indexing="ij", sparse=True)
    along_x = (z - 20 - 6 * np.sin(turn)) ** 2 + (y - 30 - 6 * np.cos(turn)) ** 2
    along_z = (x - 40 - 5 * np.sin(turn)[:, None, None]) ** 2 + (y - 12 - 5 * np.cos(turn)[:, None, None]) ** 2
    return (along_x < 36) | (along_z < 20)


def pair(side: int, tree: str | None) -> tuple[Mask, Mask]:
    if tree:
        import nibabel

        volume = np.asanyarray(nibabel.load(tree).dataobj) > 0
        middle = [max(0, int(c) - side // 2) for c in (np.mean(axis) for axis in np.nonzero(volume[::4, ::4, ::4]))]
        start = [min(4 * m, n - side) if n > side else 0 for m, n in zip(middle, volume.shape, strict=True)]
        truth = np.ascontiguousarray(volume[tuple(slice(a, a + side) for a in start)])
    else:
        truth = tubes(side)
    flipped = np.random.default_rng(0).random(truth.shape, np.float32) < 0.0005
    return np.roll(truth, 1, 1) ^ flipped, truth


def deepmind(prediction: Mask, truth: Mask, tolerance: float) -> float:
    from surface_distance import metrics

    vars(np)["Inf"] = np.inf  # its release is older than NumPy 2
    found = metrics.compute_surface_distances(truth, prediction, (1, 1, 1))
    return float(metrics.compute_surface_dice_at_tolerance(found, tolerance))


def monai(prediction: Mask, truth: Mask, tolerance: float) -> float:
    import torch
    from monai.metrics import compute_surface_dice

    torch.set_num_threads(2)
    p, t = (torch.from_numpy(mask)[None, None].float() for mask in (prediction, truth))
    return float(compute_surface_dice(p, t, [tolerance], include_background=True, use_subvoxels=True, spacing=(1, 1, 1)))


def compare(prediction: Mask, truth: Mask, rounds: int, tolerances: Sequence[float]) -> None:
    engines: dict[str, Callable[[float], float]] = {
        "malpighi": lambda tolerance: surface_overlap(prediction, truth, None, tolerance).dice,
    }
    if importlib.util.find_spec("surface_distance"):
        engines["DeepMind surface-distance"] = lambda tolerance: deepmind(prediction, truth, tolerance)
    if importlib.util.find_spec("monai"):
        engines["MONAI, sub-voxels"] = lambda tolerance: monai(prediction, truth, tolerance)
    for tolerance in tolerances:
        table = Table(
            "engine", "score", "s", "× the first", title=f"{' × '.join(map(str, truth.shape))}, tolerance {tolerance:g}"
        )
        times: dict[str, list[float]] = {name: [] for name in engines}
        scores = {name: work(tolerance) for name, work in list(engines.items())[:1]}  # compiles
        for _ in range(rounds):
            for name, work in engines.items():
                start = time.perf_counter()
                scores[name] = work(tolerance)
                times[name].append(time.perf_counter() - start)
        first = statistics.median(times["malpighi"])
        for name, seconds in times.items():
            median = statistics.median(seconds)
            table.add_row(name, f"{scores[name]:.8f}", f"{median:.4f}", f"{median / first:.1f}")
        Console().print(table)


def large(side: int, tolerances: Sequence[float]) -> None:
    """Time and growth of the process on a volume of repeated vessels that is made as it is read."""
    process = psutil.Process()
    tile = tubes(6 * PITCH)
    table = Table("tolerance", "score", "s", "grew by MB", title=f"{side}³, {tile.mean():.1%} vessels, made box by box")

    def read(box: Box, shift: int) -> Mask:
        nonlocal most
        most = max(most, process.memory_info().rss)
        start = [a % PITCH for a in box.start]
        start[1] = (start[1] + shift) % PITCH
        return tile[tuple(slice(a, a + n) for a, n in zip(start, box.size, strict=True))].copy()

    for tolerance in tolerances:
        most = before = process.memory_info().rss
        start = time.perf_counter()
        found = surface_overlaps(lambda box: read(box, 1), lambda box: read(box, 0), (side,) * 3, (1, 1, 1), (tolerance,))[0]
        spent = time.perf_counter() - start
        table.add_row(f"{tolerance:g}", f"{found.dice:.6f}", f"{spent:.1f}", f"{(most - before) / 1e6:.0f}")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=int, default=2000, help="side of the large volume; 0 leaves it out")
    parser.add_argument("--tolerances", type=float, nargs="+", default=[0, 1, 2], help="voxels")
    parser.add_argument("--tree", help="NIfTI of a real vessel tree")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.large:
        large(options.large, options.tolerances)
    if options.rounds:
        compare(*pair(options.side, options.tree), options.rounds, options.tolerances)


if __name__ == "__main__":
    main()
