"""Skeleton and graph of a vessel tree: time and peak memory beside scikit-image's skeletonize of the whole volume.

    python benchmarks/skeleton.py TREE.nii.gz [--peers scikit-image]

Each engine runs in a process of its own, so that its peak memory is its own; the mask lies in memory as 8-bit voxels in all of
them and does not count. Compiled loops are compiled before the clock starts. On a shared machine only the ratios mean something.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from malpighi.geometry import Spacing


def read(path: Path) -> np.ndarray:
    import nibabel

    return np.ascontiguousarray(np.asarray(nibabel.load(path).dataobj, np.uint8).T)


def malpighi_skeleton(mask: np.ndarray) -> Callable[[], Any]:
    from malpighi.objects.bits import BitBlocks
    from malpighi.objects.skeleton import skeletonise

    return lambda: skeletonise(BitBlocks(lambda box: mask[box.slices], mask.shape), (1.0, 1.0, 1.0))


def malpighi_graph(mask: np.ndarray) -> Callable[[], Any]:
    from malpighi.objects.graph import build_graph
    from malpighi.objects.vessels import measure_graph

    skeleton = malpighi_skeleton(mask)()
    return lambda: measure_graph(build_graph(skeleton, Spacing.um(1.0, 3))).length


def skimage_skeleton(mask: np.ndarray) -> Callable[[], Any]:
    from skimage.morphology import skeletonize

    return lambda: np.argwhere(skeletonize(mask))


ENGINES: dict[str, Callable[[np.ndarray], Callable[[], Any]]] = {
    "malpighi skeleton and radii, blocks": malpighi_skeleton,
    "malpighi graph, pruned and measured": malpighi_graph,
    "scikit-image skeletonize, whole": skimage_skeleton,
}


def measure(name: str, path: Path, queue: multiprocessing.Queue) -> None:
    warm = np.zeros((24, 24, 24), np.uint8)
    warm[8:16, 8:16, 2:22] = 1
    ENGINES[name](warm)()
    mask = read(path)
    work = ENGINES[name](mask)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter(), time.process_time()
    found = work()
    seconds, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    queue.put((seconds, cpu, peak, len(found), int(np.count_nonzero(mask)), mask.shape))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--peers", nargs="*", default=["scikit-image"])
    options = parser.parse_args()
    out = Table("engine", "s", "CPU s", "CPU × the first", "peak MB more", "voxels or branches")
    context = multiprocessing.get_context("spawn")
    first = 0.0
    for name in [name for name in ENGINES if name.startswith(("malpighi", *options.peers))]:
        queue = context.Queue()
        process = context.Process(target=measure, args=(name, options.tree, queue))
        process.start()
        seconds, cpu, peak, found, filled, shape = queue.get()
        process.join()
        first = first or cpu
        out.add_row(name, f"{seconds:.2f}", f"{cpu:.2f}", f"{cpu / first:.2f}", f"{peak:.0f}", str(found))
        out.title = f"{' × '.join(map(str, shape))}, {filled} voxels of vessel ({100 * filled / np.prod(shape):.2f} %)"
    Console().print(out)


if __name__ == "__main__":
    main()
